//! `journal:PATH?sync=…`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::{Disk, Each, Held, Opened, Opening, Progress, Reading, Report, Stop};
use buffer::{DeadLetter, Depth, Error, Identity, Location};
use journal::Sync;
use journal::fs::disk::{Disk as Files, file_system};
use model::url::{self, MIB, Url};
use tokio::task::block_in_place;

use crate::inspect::{self, Stat};
use crate::options::{Key, Options};
use crate::{JournalBuffer, erase, recovery, report};

/// The variable that holds the keys of each journal whose URL names no key file.
const KEYS: &str = "FOREBAY_JOURNAL_KEY";
/// Largest size of a segment, in MiB.
const SEGMENT_MIB_MAX: u64 = 2_048;
/// What a buffer may be told in its URL.
const OPTIONS: [&str; 8] = [
    "sync",
    "key_file",
    "segment_mib",
    "size_max_mib",
    "free_min_mib",
    "events_max",
    "lease_ms",
    "dead_max",
];

/// The journal as a backend.
pub struct Backend;

impl buffer::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["journal"]
    }

    fn variables(&self) -> &'static [&'static str] {
        &[KEYS]
    }

    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(options(url, reading)?))
    }
}

fn options(url: &Url<'_>, reading: &Reading<'_>) -> Result<Options, url::Error> {
    let mut options = Options::new(url.path()?);
    let mib = |option, text| Ok(url.number(option, text, 1_u64)? * MIB);
    for (option, text) in url.options() {
        match option {
            "sync" => {
                let choices = [("always", Sync::Always), ("os", Sync::Os)];
                options.sync = url.one_of(option, text, choices)?;
            }
            "key_file" if text.is_empty() => {
                return Err(url.error("key_file is empty; name a file of keys"));
            }
            "key_file" => options.key = Key::File(PathBuf::from(text)),
            "segment_mib" => options.segment_bytes = mib(option, text)?,
            "size_max_mib" => options.bytes_max = mib(option, text)?,
            "free_min_mib" => options.free_min_bytes = mib(option, text)?,
            "events_max" => options.events_max = url.number(option, text, 1)?,
            "lease_ms" => options.lease_ms = url.number(option, text, 100)?,
            "dead_max" => options.dead_max = url.number(option, text, 1)?,
            _ => return Err(url.no_option(option, &OPTIONS)),
        }
    }
    if options.key == Key::None && (reading.variable)(KEYS).is_some() {
        options.key = Key::Variable(KEYS.to_owned());
    }
    if options.segment_bytes > MIB * SEGMENT_MIB_MAX {
        return Err(url.error(format!("segment_mib is at most {SEGMENT_MIB_MAX}")));
    }
    Ok(options)
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "journal"
    }

    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn place(&self) -> String {
        format!("the journal {}", self.dir.display())
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

    fn folder(&self) -> Option<&Path> {
        Some(&self.dir)
    }

    fn accepted(&self, events: &str) -> String {
        let dir = self.dir.display();
        match self.sync {
            Sync::Always => format!(
                "Accepted {events} survive kill -9 and power loss: journal {dir}, sync=always, group \
                 commit."
            ),
            Sync::Os => format!(
                "POWER LOSS LOSES ACCEPTED {}: journal {dir}, sync=os. They survive kill -9 of this \
                 process, but not a power cut or a crash of the system; set sync=always for that.",
                events.to_uppercase()
            ),
        }
    }

    fn survives(&self) -> String {
        let dir = self.dir.display();
        match self.sync {
            Sync::Always => format!("kill -9 and power loss (journal {dir}, sync=always)"),
            Sync::Os => format!("kill -9, NOT POWER LOSS (journal {dir}, sync=os)"),
        }
    }

    fn holds(&self, event: &str) -> String {
        let (dir, seconds) = (self.dir.display(), self.settled_ms_max() / 1000);
        let until = format!(
            "until {seconds} s after it, and all before it, are settled, and dead letters until they \
             are dropped"
        );
        let keys = match &self.key {
            Key::None => {
                return format!("the journal {dir} holds each {event} in plain text {until}");
            }
            Key::File(path) => format!("the keys in {}", path.display()),
            Key::Variable(name) => format!("the keys in {name}"),
        };
        format!(
            "the journal {dir} holds each {event} encrypted, with {keys}, {until} (what was accepted \
             without a key is in plain text until then)"
        )
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        let options = beside_store(self, &opening.disk);
        // Recovering a large backlog takes a while, in which other tasks must run.
        let opened = block_in_place(|| JournalBuffer::open(options, opening.clock.clone()));
        let (buffer, found) = opened?;
        Ok(Opened { found: found.sentences(), ..Opened::new(buffer) })
    }

    fn validate(&self) -> Result<(), Error> {
        self.key.read().map(drop)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let Stat { pending, dead, oldest_accepted_ms, .. } = look(self)?;
        Ok(Depth { ready: pending, leased: 0, dead, oldest_accepted_ms })
    }

    async fn stat(&self) -> Result<Report, Error> {
        Ok(report::stat(&self.dir, &look(self)?))
    }

    async fn pending(&self, each: Each<'_>) -> Result<(), Error> {
        is_there(self)?;
        block_in_place(|| {
            inspect::events(self, |seq, accepted_at_ms, done, event| {
                done || each(Held { seq, accepted_at_ms, event: event.clone() })
            })
        })
    }

    async fn dead(&self, _: Stop<'_>) -> Result<Vec<DeadLetter>, Error> {
        is_there(self)?;
        block_in_place(|| inspect::dead(self))
    }

    async fn verify(&self, progress: Progress<'_>) -> Result<Report, Error> {
        is_there(self)?;
        let stat = block_in_place(|| inspect::verify(self, progress))?;
        Ok(report::verified(&self.dir, &stat))
    }

    async fn repair(&self) -> Result<Report, Error> {
        is_there(self)?;
        let fs: Arc<dyn journal::fs::Fs> = Arc::new(Files);
        let repaired = block_in_place(|| recovery::repair(&fs, self))?;
        Ok(report::repaired(repaired))
    }

    async fn erase(&self) -> Result<(), Error> {
        is_there(self)?;
        erase::erase(self).await
    }

    fn in_folder(&self, folder: &Path) -> Option<Arc<dyn Location>> {
        Some(Arc::new(Self { dir: folder.to_owned(), ..self.clone() }))
    }
}

fn look(options: &Options) -> Result<Stat, Error> {
    is_there(options)?;
    block_in_place(|| inspect::verify(options, |_, _| {}))
}

fn is_there(options: &Options) -> Result<(), Error> {
    if options.dir.is_dir() {
        return Ok(());
    }
    let dir = options.dir.display();
    Err(Error::Open(format!(
        "there is no journal in {dir} yet; `forebay serve` or `forebay demo` makes one"
    )))
}

/// The journal as it is opened: on the file system of a store it leaves room for the store to settle what the
/// buffers there hold, whichever process or verb writes to it.
fn beside_store(options: &Options, disk: &Disk) -> Options {
    let Some(store) = &disk.store else { return options.clone() };
    let Some(here) = file_system(&options.dir) else { return options.clone() };
    if Some(here) != file_system(store) {
        return options.clone();
    }
    let mut folders: BTreeSet<&Path> = disk.buffers.iter().map(PathBuf::as_path).collect();
    folders.insert(&options.dir);
    let beside = folders.into_iter().filter(|folder| file_system(folder) == Some(here)).count();
    options.clone().beside_store(here.bytes, beside as u64)
}

#[cfg(test)]
mod tests {
    use buffer::conformance;
    use buffer::foreign::Fields;

    use super::*;

    fn read_with(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Options, String> {
        let url = Url::split(buffer::backend::ROLE, url, "").unwrap();
        let reading = Reading { fields: &Fields::named("i", "k"), variable };
        options(&url, &reading).map_err(|error| error.to_string())
    }

    fn read(url: &str) -> Result<Options, String> {
        read_with(url, &|_| None)
    }

    #[test]
    fn a_url_holds_path_and_options() {
        let url =
            "journal:./data/b?sync=os&segment_mib=8&free_min_mib=2&lease_ms=5_000&key_file=./k";
        let expect = Options {
            sync: Sync::Os,
            free_min_bytes: 2 << 20,
            segment_bytes: 8 << 20,
            lease_ms: 5_000,
            key: Key::File("./k".into()),
            ..Options::new("./data/b")
        };
        assert_eq!(read(url).unwrap(), expect);
        assert_eq!(read("journal:///srv/b").unwrap().dir, PathBuf::from("/srv/b"));
    }

    #[test]
    fn keys_come_from_the_environment_where_the_url_names_no_file() {
        let set = |name: &str| (name == KEYS).then(|| "a key".to_owned());
        let key = |url: &str| read_with(url, &set).unwrap().key;
        assert_eq!(key("journal:b"), Key::Variable(KEYS.to_owned()));
        assert_eq!(key("journal:b?key_file=k"), Key::File("k".into()));
        assert_eq!(read("journal:b").unwrap().key, Key::None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |url: &str, expect: &str| assert_eq!(read(url).unwrap_err(), expect);
        let expect = "buffer: sync is \"never\"; it must be \"always\" or \"os\"";
        refused("journal:x?sync=never", expect);
        let expect = "buffer: segment_mib is \"0\"; it must be a whole number of at least 1";
        refused("journal:x?segment_mib=0", expect);
        refused("journal:x?segment_mib=2049", "buffer: segment_mib is at most 2048");
        let expect = "buffer: journal: names no path; write e.g. journal:./data/buffer";
        refused("journal:?sync=os", expect);
        refused("journal:x?key_file=", "buffer: key_file is empty; name a file of keys");
        assert!(read("journal:x?segment_mib=99999999999999999999").is_err());
    }

    #[test]
    fn what_is_not_survived_is_said_loudly() {
        let check = |url: &str, expect: &str| {
            let got = read(url).unwrap().accepted("payments");
            assert!(got.starts_with(expect), "{got}");
        };
        check("journal:./b", "Accepted payments survive kill -9 and power loss: journal ./b, sync");
        check("journal:./b?sync=os", "POWER LOSS LOSES ACCEPTED PAYMENTS: journal ./b, sync=os.");
    }

    #[test]
    fn a_buffer_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
        let identity = |url: &str| read(url).unwrap().identity();
        conformance::spelled(
            &identity,
            &["journal:./data/b", "journal:data/../data//b/?sync=os&lease_ms=500"],
            &["journal:./data/c"],
        );
        assert!(identity("journal:./data/b").overlaps(&identity("journal:./data/b/dead")));
    }
}
