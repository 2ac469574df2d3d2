//! One query under way, and all who wait for it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::watch;

/// What the store said: the row as JSON with its version, or that there is none.
pub(crate) type Loaded = Option<(Bytes, Option<i64>)>;
/// What came of a query.
pub(crate) type Landing = Result<Loaded, store::Error>;

/// One query.
#[derive(Debug)]
pub(crate) struct Flight {
    landing: watch::Sender<Option<Landing>>,
    /// Something was settled since: what the query saw may be older than that.
    overtaken: AtomicBool,
}

impl Flight {
    pub(crate) fn new() -> Self {
        Self { landing: watch::Sender::new(None), overtaken: AtomicBool::new(false) }
    }

    pub(crate) fn land(&self, landing: Landing) {
        self.landing.send_replace(Some(landing));
    }

    pub(crate) fn has_landed(&self) -> bool {
        self.landing.borrow().is_some()
    }

    pub(crate) fn overtake(&self) {
        self.overtaken.store(true, Ordering::Release);
    }

    pub(crate) fn is_overtaken(&self) -> bool {
        self.overtaken.load(Ordering::Acquire)
    }

    /// Waits for the end of it.
    pub(crate) async fn landed(&self) -> Landing {
        let mut landing = self.landing.subscribe();
        match landing.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().expect("it was waited for"),
            Err(_) => Err(store::Error::Unavailable("the read was not finished".into())),
        }
    }
}
