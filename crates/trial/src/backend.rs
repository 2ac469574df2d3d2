//! `folder:PATH?events_max=…`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::{Each, Opened, Opening, Reading};
use buffer::{Depth, Error, Identity, Location};
use model::url::{self, Url};

use crate::file;
use crate::folder_buffer::{FolderBuffer, unavailable};
use crate::options::Options;

/// What a buffer may be told in its URL.
const OPTIONS: [&str; 3] = ["events_max", "dead_max", "lease_ms"];

/// A folder as a backend.
pub struct Backend;

impl buffer::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["folder"]
    }

    fn parse(&self, url: &Url<'_>, _: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        let folder = url.path()?;
        let mut options = Options { folder, events_max: 10_000, dead_max: 1_000, lease_ms: 30_000 };
        for (option, text) in url.options() {
            match option {
                "events_max" => options.events_max = url.number(option, text, 1)?,
                "dead_max" => options.dead_max = url.number(option, text, 1)?,
                "lease_ms" => options.lease_ms = url.number(option, text, 100)?,
                _ => return Err(url.no_option(option, &OPTIONS)),
            }
        }
        Ok(Arc::new(options))
    }
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "folder"
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn place(&self) -> String {
        format!("the folder {}", self.folder.display())
    }

    fn identity(&self) -> Identity {
        Identity::in_folder("folder", &self.folder, &[])
    }

    fn lease_ms(&self) -> u64 {
        self.lease_ms.unsigned_abs()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn accepted(&self, events: &str) -> String {
        format!("FOR TESTS ALONE: accepted {events} lie in {}.", self.place())
    }

    fn survives(&self) -> String {
        format!("the end of this process ({})", self.place())
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        Ok(Opened::new(FolderBuffer::open(self, opening.clock.clone()).await?))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let numbers = file::numbers(&self.folder).map_err(unavailable)?;
        let oldest = numbers.first().map(|first| file::read(&self.folder, *first)).transpose();
        let oldest_accepted_ms =
            oldest.map_err(unavailable)?.flatten().map(|one| one.accepted_at_ms);
        Ok(Depth { ready: numbers.len() as u64, oldest_accepted_ms, ..Depth::default() })
    }

    async fn pending(&self, each: Each<'_>) -> Result<(), Error> {
        for number in file::numbers(&self.folder).map_err(unavailable)? {
            let held = file::read(&self.folder, number).map_err(unavailable)?;
            if held.is_some_and(|held| !each(held)) {
                break;
            }
        }
        Ok(())
    }

    async fn purge(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.folder).map_err(unavailable)
    }
}
