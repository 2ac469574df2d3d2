//! Room for offers: measured anew where what is known of it is too old.

use std::time::Instant;

use buffer::Error;

use crate::lag::full;
use crate::shared::Shared;

impl Shared {
    /// Makes room for `count` events, to be [confirmed](crate::lag::Lag::confirmed) once they are written.
    pub(crate) async fn reserve(&self, count: usize) -> Result<(), Error> {
        let (wide, max) = (count as u64, self.options.events_max as u64);
        loop {
            match self.lag.reserve(wide, max) {
                Some(true) => return Ok(()),
                Some(false) => {
                    return Err(full(format!("events_max = {max} events")));
                }
                None => self.measure().await?,
            }
        }
    }

    async fn measure(&self) -> Result<(), Error> {
        let before = Instant::now();
        let _measuring = self.lag.measuring.lock().await;
        // What is on its way now may or may not be among what is found: it is counted twice rather
        // than not at all, until the next time.
        let Some(offered) = self.lag.offered(before) else { return Ok(()) };
        let found = self.backlog().await?;
        self.lag.measured(found.ready + found.leased + offered);
        Ok(())
    }
}
