//! A journal with a key: nothing of an event lies in a file in plain text, a wrong key changes nothing,
//! and a key can be replaced.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, DeadLetters, Envelope, Error};
use buffer_journal::{JournalBuffer, Key, Options, inspect, repair};
use journal::fs::disk::Disk;
use journal::record::HEADER_BYTES;
use journal::segment::{self, SEGMENT_HEADER_BYTES};
use model::Event;
use model::clock::Manual;
use tempfile::TempDir;

const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const B: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// A journal's folder, and a key file beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("buffer")
    }

    /// Options with these keys, the first of which encrypts.
    fn options(&self, keys: &[&str]) -> Options {
        let key = match keys {
            [] => Key::None,
            _ => {
                let path = self.0.path().join("key");
                let _ = fs::remove_file(&path);
                let mut file = fs::OpenOptions::new();
                let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
                std::io::Write::write_all(&mut file, keys.join("\n").as_bytes()).unwrap();
                Key::File(path)
            }
        };
        Options { key, checkpoint_ms: 0, ..Options::new(self.dir()) }
    }

    fn open(&self, keys: &[&str]) -> Result<JournalBuffer, Error> {
        let clock = Arc::new(Manual::at(0));
        JournalBuffer::open(self.options(keys), clock).map(|(journal, _)| journal)
    }

    /// Each file of the journal with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut dirs = vec![self.dir()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    fn holds(&self, text: &str) -> bool {
        let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        self.files().values().any(|bytes| holds(bytes))
    }
}

fn event(n: usize) -> Event {
    let (id, key) = (format!("identity-{n:03}"), format!("4111111111111{n:03}"));
    Event::new(id.as_bytes(), key.as_bytes(), b"{\"payload\":1}").unwrap()
}

async fn offer(journal: &JournalBuffer, numbers: std::ops::Range<usize>) {
    journal.offer(&numbers.map(event).collect::<Vec<_>>()).await.unwrap();
}

async fn lease(journal: &JournalBuffer) -> Vec<Envelope> {
    journal.lease(1000, Duration::ZERO).await.unwrap()
}

async fn bury(journal: &JournalBuffer, count: usize) {
    let leased = journal.lease(count, Duration::ZERO).await.unwrap();
    let burials: Vec<_> = leased.iter().map(|e| (e.receipt, "a reason".to_owned())).collect();
    assert_eq!(journal.bury(&burials).await.unwrap(), count);
}

fn events(leased: &[Envelope]) -> Vec<Event> {
    leased.iter().map(|envelope| envelope.event.clone()).collect()
}

#[tokio::test]
async fn nothing_of_an_event_or_a_dead_letter_is_in_a_file_and_all_of_it_is_read_again() {
    let place = Place::new();
    let journal = place.open(&[A]).unwrap();
    offer(&journal, 0..10).await;
    bury(&journal, 2).await;
    let letters = journal.list(0, 10).await.unwrap();
    assert_eq!(letters[1].event, event(1), "a letter is read while the journal is open");
    drop(journal);
    for text in ["identity-", "4111111111111", "payload", "a reason"] {
        assert!(!place.holds(text), "{text} is in {:?}", place.files().keys());
    }
    let journal = place.open(&[A]).unwrap();
    let leased = lease(&journal).await;
    assert_eq!(events(&leased), (2..10).map(event).collect::<Vec<_>>());
    let receipts: Vec<_> = leased.iter().map(|envelope| envelope.receipt).collect();
    journal.release(&receipts, Duration::ZERO).await.unwrap();
    assert_eq!(events(&lease(&journal).await).len(), 8, "they are read a second time");
    assert_eq!(journal.list(0, 10).await.unwrap(), letters);
    assert_eq!(journal.replay(&[letters[0].seq]).await.unwrap(), 1);
    assert_eq!(events(&lease(&journal).await), [event(0)]);
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_an_error_that_changes_nothing() {
    for dead_only in [false, true] {
        let place = Place::new();
        let journal = place.open(&[A]).unwrap();
        offer(&journal, 0..5).await;
        bury(&journal, if dead_only { 5 } else { 1 }).await;
        drop(journal);
        let before = place.files();
        for (keys, expect) in [
            (&[][..], "no key is given; name its key file"),
            (&[B][..], "which is not among the keys given; add that key"),
        ] {
            let options = place.options(keys);
            let disk: Arc<dyn journal::fs::Fs> = Arc::new(Disk);
            let refusals = [
                ("open", place.open(keys).err()),
                ("repair", repair(&disk, &options).err()),
                ("verify", inspect::verify(&options, |_, _| {}).err()),
                ("events", inspect::events(&options, |_, _, _, _| true).err()),
                ("dead", inspect::dead(&options).err()),
            ];
            for (what, refused) in refusals {
                let refused = refused.unwrap_or_else(|| panic!("{what} did not need the key"));
                let said = refused.to_string();
                assert!(
                    matches!(refused, Error::Open(_)) && said.contains(expect),
                    "{what}: {said}"
                );
                assert!(!said.contains(&A[..8]) && !said.contains(&B[..8]), "{what}: {said}");
            }
            assert_eq!(place.files(), before, "dead only: {dead_only}, {expect}");
        }
        assert_eq!(lease(&place.open(&[A]).unwrap()).await.len(), if dead_only { 0 } else { 4 });
    }
}

#[test]
fn a_key_that_is_none_is_an_error_before_the_folder_is_made() {
    let place = Place::new();
    let refused = place.open(&["not a key"]).err().unwrap().to_string();
    assert!(refused.contains("line 1 is no key"), "{refused}");
    let key = Key::Variable("FOREBAY_TEST_VARIABLE_THAT_IS_NOT_SET".to_owned());
    let options = Options { key, ..Options::new(place.dir()) };
    let refused = JournalBuffer::open(options, Arc::new(Manual::at(0))).err().unwrap().to_string();
    assert!(refused.contains("it holds no key"), "{refused}");
    assert!(!place.dir().exists());
}

fn keys_of(place: &Place, keys: &[&str]) -> Vec<Option<String>> {
    let stat = inspect::verify(&place.options(keys), |_, _| {}).unwrap();
    stat.segments.iter().map(|segment| segment.key.map(|key| key.to_string())).collect()
}

#[tokio::test]
async fn a_new_key_encrypts_what_is_new_and_the_old_one_goes_once_nothing_needs_it() {
    let place = Place::new();
    for (keys, numbers) in [(&[][..], 0..3), (&[A], 3..6), (&[B, A], 6..9)] {
        offer(&place.open(keys).unwrap(), numbers).await;
    }
    let used = keys_of(&place, &[B, A]);
    assert_eq!((used.len(), &used[0]), (3, &None), "what was plain stays as it is: {used:?}");
    assert!(used[1].is_some() && used[2].is_some() && used[1] != used[2], "{used:?}");
    assert!(place.holds("identity-002") && !place.holds("identity-003"));
    assert!(place.open(&[B]).is_err(), "the old key is needed");

    let journal = place.open(&[B, A]).unwrap();
    let leased = lease(&journal).await;
    assert_eq!(events(&leased), (0..9).map(event).collect::<Vec<_>>());
    let receipts: Vec<_> = leased[..6].iter().map(|envelope| envelope.receipt).collect();
    journal.ack(&receipts).await.unwrap();
    drop(journal);
    assert_eq!(keys_of(&place, &[B]), [used[2].clone()]);
    assert_eq!(events(&lease(&place.open(&[B]).unwrap()).await), [event(6), event(7), event(8)]);
}

/// The nonces in a journal, in the order of its records.
fn nonces(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let Some(base) = segment::base(&path) else { continue };
        let file = journal::fs::Fs::open(&Disk, &path, false).unwrap();
        segment::scan(&*file, base, 0, |_, _, body| found.push(body[8..32].to_vec())).unwrap();
    }
    found
}

#[tokio::test]
async fn no_nonce_is_used_twice_by_restarts_copies_and_restored_folders() {
    let place = Place::new();
    offer(&place.open(&[A]).unwrap(), 0..10).await;
    let (copies, mut all) = (tempfile::tempdir().unwrap(), nonces(&place.dir()));
    for n in 0..3 {
        let copy = copies.path().join(n.to_string());
        fs::create_dir(&copy).unwrap();
        for (path, bytes) in place.files() {
            if path.parent() == Some(&place.dir()) {
                fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
            }
        }
        let options = Options { dir: copy.clone(), ..place.options(&[A]) };
        let (journal, _) = JournalBuffer::open(options, Arc::new(Manual::at(0))).unwrap();
        // The same events under the same numbers in each copy.
        offer(&journal, 10..30).await;
        for n in 30..40 {
            offer(&journal, n..n + 1).await;
        }
        all.extend(nonces(&copy).split_off(10));
    }
    assert_eq!(all.len(), 10 + 3 * 30);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[tokio::test]
async fn a_record_that_was_altered_is_never_served_though_its_checksum_holds() {
    // The kind, the number of the key's bytes, the time, the nonce, the content and the tag.
    let record = HEADER_BYTES + 8 + 24 + event(0).as_bytes().len() + 16;
    for at in [10, 29, 20, HEADER_BYTES + 8, HEADER_BYTES + 40, record - 1] {
        let place = Place::new();
        offer(&place.open(&[A]).unwrap(), 0..3).await;
        let path = segment::path(&place.dir(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let start = usize::try_from(SEGMENT_HEADER_BYTES).unwrap() + record;
        let second = &mut bytes[start..start + record];
        second[at] ^= 2;
        let crc = crc32fast::hash(&second[4..]);
        second[..4].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let leased = lease(&place.open(&[A]).unwrap()).await;
        assert_eq!(events(&leased), [event(0), event(2)], "byte {at}");
    }
}

#[tokio::test]
async fn damage_is_found_and_repaired_among_encrypted_records() {
    let place = Place::new();
    offer(&place.open(&[A]).unwrap(), 0..9).await;
    let path = segment::path(&place.dir(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let stat = inspect::verify(&place.options(&[A]), |_, _| {}).unwrap();
    assert_eq!((stat.missing, stat.pending), (1, 8));
    let disk: Arc<dyn journal::fs::Fs> = Arc::new(Disk);
    let repaired = repair(&disk, &place.options(&[A])).unwrap();
    assert_eq!((repaired.events.rewritten, repaired.events.records), (1, 8));
    assert_eq!(lease(&place.open(&[A]).unwrap()).await.len(), 8);
    assert!(!place.holds("identity-"), "quarantine/ holds encrypted bytes");
}
