//! `memory:?capacity=…`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use model::url::{self, MIB, Url};

use super::{Memory, Options};
use crate::backend::{Location, Opened, Opening, Reading};
use crate::{Error, Identity, backend};

/// What a buffer may be told in its URL.
const OPTIONS: [&str; 4] = ["capacity", "size_max_mib", "lease_ms", "dead_max"];

/// The backend in memory.
pub struct Backend;

impl backend::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn parse(&self, url: &Url<'_>, _: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(options(url)?))
    }
}

fn options(url: &Url<'_>) -> Result<Options, url::Error> {
    if !url.place().is_empty() {
        let problem = "memory: takes no path; write memory: or memory:?capacity=100000";
        return Err(url.error(problem));
    }
    let mut options = Options::default();
    for (option, text) in url.options() {
        match option {
            "capacity" => options.events_max = url.number(option, text, 1)?,
            "size_max_mib" => {
                let bytes = url.number(option, text, 1_u64)? * MIB;
                options.bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
            }
            "lease_ms" => options.lease_ms = url.number(option, text, 100)?,
            "dead_max" => options.dead_max = url.number(option, text, 1)?,
            _ => return Err(url.no_option(option, &OPTIONS)),
        }
    }
    Ok(options)
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn name(&self) -> String {
        "memory:".to_owned()
    }

    fn place(&self) -> String {
        "memory:".to_owned()
    }

    fn identity(&self) -> Identity {
        self.identity()
    }

    fn lease_ms(&self) -> u64 {
        self.lease_ms.unsigned_abs()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn accepted(&self, events: &str) -> String {
        format!(
            "NOTHING SURVIVES: memory: holds up to {} accepted {events} in this process alone, and they \
             are gone when it ends; use journal: to keep them.",
            self.events_max
        )
    }

    fn survives(&self) -> String {
        "NOTHING (memory:)".to_owned()
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        Ok(Opened::new(Memory::new(self.clone(), opening.clock.clone())))
    }

    fn in_folder(&self, _: &Path) -> Option<Arc<dyn Location>> {
        Some(Arc::new(self.clone()))
    }

    fn refusal(&self) -> String {
        "a memory: buffer cannot be inspected from another process; use any other buffer".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Options, String> {
        let url = Url::split(backend::ROLE, url, "").unwrap();
        options(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_holds_the_bounds() {
        let options = read("memory:?capacity=10&size_max_mib=2&lease_ms=500&dead_max=7").unwrap();
        let expect = Options { events_max: 10, bytes_max: 2 << 20, lease_ms: 500, dead_max: 7 };
        assert_eq!(options, expect);
        assert!(Location::accepted(&options, "payments").starts_with(
            "NOTHING SURVIVES: memory: holds up to 10 accepted payments in this process alone"
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let expect = "buffer: the URL has no option \"cap\"; \
                      there are capacity, size_max_mib, lease_ms, dead_max";
        assert_eq!(read("memory:?cap=1").unwrap_err(), expect);
        assert!(read("memory:./x").unwrap_err().contains("takes no path"));
        assert!(read("memory:?capacity=0").unwrap_err().contains("at least 1"));
    }
}
