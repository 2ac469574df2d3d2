//! Dead letters in a log of their own: buried ones and, later, notes of which were dropped. On a full disk
//! the log's checkpoint says which were dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buffer::{DeadLetter, Error};
use journal::checkpoint::{Checkpoint, RANGES_MAX};
use journal::fs::Fs;
use journal::{Entry, Log, Record, Recovery};
use model::Event;

use crate::failure::{RETRY_AFTER, error_of};

const BURIED: u8 = 2;
const DROPPED: u8 = 3;
/// A replay begins: from which number of the events' log on they will be, and which letters.
const BEGUN: u8 = 4;
/// Reasons are cut to this many bytes.
const REASON_BYTES_MAX: usize = 4096;
const FIXED_BYTES: usize = 8 + 8 + 4 + 2;
/// Bytes of letters appended at once: far below a segment.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// Numbers named by one note.
const DROPPED_AT_ONCE: usize = 4096;

/// The dead letters of one journal.
pub(crate) struct Dead {
    log: Log,
    /// Where each letter lies: offset and bytes of its record.
    letters: Mutex<BTreeMap<u64, (u32, u32)>>,
    letters_max: usize,
    /// As it is on the medium.
    checkpoint: Mutex<Checkpoint>,
}

/// What opening the dead letters found.
pub(crate) struct Found {
    /// As of any log; `missing` counts no letter that was dropped.
    pub(crate) recovery: Recovery,
    /// Numbers, in the journal, of the events that are buried here: the process may have died before
    /// its checkpoint said that they are done.
    pub(crate) buried: Vec<u64>,
    /// Letters that a replay was about to offer when the process ended.
    pub(crate) begun: Vec<Begun>,
}

/// A letter that may be an event again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) letter: u64,
    /// Its event has this number or a higher one.
    pub(crate) from: u64,
}

/// What is to be buried.
pub(crate) struct Burial {
    /// The event's number in the journal.
    pub(crate) source: u64,
    pub(crate) reason: String,
    pub(crate) accepted_at_ms: i64,
    pub(crate) attempts: u32,
    pub(crate) event: Event,
}

impl Dead {
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        options: journal::Options,
        letters_max: usize,
    ) -> Result<(Self, Found), journal::Error> {
        let (log, mut recovery) = Log::open(fs, options)?;
        let (mut letters, mut buried, mut dropped) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut begun = BTreeMap::new();
        let mut reader = log.reader(recovery.checkpoint.floor);
        while let Some(record) = reader.take()? {
            note(&mut letters, &record);
            buried.extend(source(&record));
            dropped.extend(dropped_by(&record));
            begun.extend(begun_by(&record));
        }
        retain_undone(&mut letters, &recovery.checkpoint);
        let begun = begun.into_iter().filter(|(letter, _)| letters.contains_key(letter));
        let begun = begun.map(|(letter, from)| Begun { letter, from }).collect();
        recovery.missing = undone(&recovery.checkpoint, &dropped, &recovery.gaps);
        let checkpoint = Mutex::new(recovery.checkpoint.clone());
        let dead = Self { log, letters: Mutex::new(letters), letters_max, checkpoint };
        Ok((dead, Found { recovery, buried, begun }))
    }

    pub(crate) fn len(&self) -> usize {
        self.letters().len()
    }

    /// The number of the next record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.log.usage().next_seq
    }

    /// Buries all of these durably, or none as far as the caller may count on.
    pub(crate) async fn bury(&self, burials: &[Burial], now_ms: i64) -> Result<(), Error> {
        if self.len() + burials.len() > self.letters_max {
            return Err(Error::Full {
                bound: format!("dead_max = {} dead letters", self.letters_max),
                retry_after: RETRY_AFTER,
            });
        }
        let bodies: Vec<Vec<u8>> = burials.iter().map(Burial::encode).collect();
        let mut rest = &bodies[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|body| {
                bytes += body.len();
                bytes <= APPEND_BYTES_MAX
            });
            let (some, others) = rest.split_at(fit.count().max(1));
            let first = self.append(some, now_ms).await?;
            self.learn(first, some.len())?;
            rest = others;
        }
        Ok(())
    }

    async fn append(&self, bodies: &[Vec<u8>], now_ms: i64) -> Result<u64, Error> {
        let entries: Vec<Entry<'_>> = bodies
            .iter()
            .map(|body| Entry { kind: BURIED, at_ms: now_ms, id_len: 0, key_len: 0, body })
            .collect();
        self.log.append(&entries).await.map_err(|e| error_of(&e))
    }

    fn learn(&self, first: u64, count: usize) -> Result<(), Error> {
        // Their places are learned by reading back: the log alone knows where it put them.
        let mut reader = self.log.reader(first);
        for _ in 0..count {
            if let Some(record) = reader.take().map_err(|e| error_of(&e))? {
                note(&mut self.letters(), &record);
            }
        }
        Ok(())
    }

    pub(crate) fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let places: Vec<(u64, (u32, u32))> =
            self.letters().range(from..).take(max).map(|(seq, place)| (*seq, *place)).collect();
        places.into_iter().map(|(seq, place)| self.read(seq, place)).collect()
    }

    pub(crate) fn get(&self, seqs: &[u64]) -> Result<Vec<DeadLetter>, Error> {
        let places: Vec<_> = {
            let letters = self.letters();
            seqs.iter().filter_map(|seq| Some((*seq, *letters.get(seq)?))).collect()
        };
        places.into_iter().map(|(seq, place)| self.read(seq, place)).collect()
    }

    /// Notes durably that these are about to be offered, as events numbered `from` or higher. The latest note
    /// of a letter counts.
    pub(crate) async fn begin(&self, seqs: &[u64], from: u64, now_ms: i64) -> Result<(), Error> {
        let numbers = std::iter::once(&from).chain(seqs);
        let body: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        let entry = Entry { kind: BEGUN, at_ms: now_ms, id_len: 0, key_len: 0, body: &body };
        self.log.append(&[entry]).await.map(|_| ()).map_err(|e| error_of(&e))
    }

    /// Forgets these durably. Their space is given back by [`Dead::trim`].
    pub(crate) async fn forget(&self, seqs: &[u64], now_ms: i64) -> Result<usize, Error> {
        let mut known: Vec<u64> = {
            let letters = self.letters();
            seqs.iter().copied().filter(|seq| letters.contains_key(seq)).collect()
        };
        known.sort_unstable();
        known.dedup();
        for some in known.chunks(DROPPED_AT_ONCE) {
            self.note_dropped(some, now_ms).await?;
            let mut letters = self.letters();
            for seq in some {
                letters.remove(seq);
            }
        }
        Ok(known.len())
    }

    /// Writes durably that these are dropped: into the log, or on a full disk into the checkpoint, which
    /// needs no more space.
    async fn note_dropped(&self, seqs: &[u64], now_ms: i64) -> Result<(), Error> {
        let body: Vec<u8> = seqs.iter().flat_map(|seq| seq.to_le_bytes()).collect();
        let entry = Entry { kind: DROPPED, at_ms: now_ms, id_len: 0, key_len: 0, body: &body };
        let full = match self.log.append(&[entry]).await {
            Err(full @ journal::Error::Full(_)) => full,
            other => return other.map(|_| ()).map_err(|e| error_of(&e)),
        };
        let next_seq = self.log.usage().next_seq;
        self.write(|checkpoint| {
            checkpoint.mark(seqs.iter().map(|seq| (*seq, seq + 1)));
            checkpoint.next_seq = next_seq;
            if checkpoint.done.len() > RANGES_MAX { Err(error_of(&full)) } else { Ok(()) }
        })
    }

    /// Refuses further burials, and notes that the log ends here.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.log.close();
        let (next_seq, closed) = (self.log.usage().next_seq, self.log.failure().is_none());
        self.write(|checkpoint| {
            (checkpoint.next_seq, checkpoint.closed) = (next_seq, closed);
            Ok(())
        })
    }

    /// Makes durable how many letters there are, so that losing one is noticed. To be called before
    /// the journal's checkpoint says that the events buried here are done: an event whose letter is
    /// lost before that comes again.
    pub(crate) fn promise(&self) -> Result<(), Error> {
        let next_seq = self.log.usage().next_seq;
        if self.checkpoint().next_seq == next_seq {
            return Ok(());
        }
        self.write(|checkpoint| {
            checkpoint.next_seq = next_seq;
            Ok(())
        })
    }

    /// Removes segments without letters, also the one that is written to. To be called once the
    /// journal's checkpoint says that the events buried there are done: their records here are what
    /// says so until then.
    pub(crate) async fn trim(&self) -> Result<(), Error> {
        // Closed already is as good.
        let _ = self.log.roll().await;
        let next_seq = self.log.usage().next_seq;
        let floor = self.letters().keys().next().copied().unwrap_or(next_seq);
        self.write(|checkpoint| {
            checkpoint.done.retain(|(_, end)| *end > floor);
            (checkpoint.floor, checkpoint.next_seq) = (floor, next_seq);
            Ok(())
        })?;
        self.log.remove_below(floor).map(|_| ()).map_err(|e| error_of(&e))
    }

    /// Writes the checkpoint, changed. After an error of `change` it stands as it was.
    fn write(
        &self,
        change: impl FnOnce(&mut Checkpoint) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut checkpoint = self.checkpoint();
        let mut changed = checkpoint.clone();
        changed.closed = false;
        change(&mut changed)?;
        self.log.write_checkpoint(&changed).map_err(|e| error_of(&e))?;
        *checkpoint = changed;
        Ok(())
    }

    fn checkpoint(&self) -> MutexGuard<'_, Checkpoint> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, seq: u64, (offset, bytes): (u32, u32)) -> Result<DeadLetter, Error> {
        let record = self.log.read_one(seq, offset, bytes).map_err(|e| error_of(&e))?;
        let letter = record.as_ref().and_then(decode);
        letter.ok_or_else(|| Error::Corrupt(format!("dead letter {seq} is damaged")))
    }

    fn letters(&self) -> MutexGuard<'_, BTreeMap<u64, (u32, u32)>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a record of the dead log into the index.
pub(crate) fn note(letters: &mut BTreeMap<u64, (u32, u32)>, record: &Record) {
    match record.kind {
        BURIED => {
            letters.insert(record.seq, (record.offset, record.bytes));
        }
        DROPPED => {
            for seq in record.body.as_chunks::<8>().0 {
                letters.remove(&u64::from_le_bytes(*seq));
            }
        }
        _ => {}
    }
}

/// Takes the letters out of the index that the checkpoint marks as dropped.
pub(crate) fn retain_undone(letters: &mut BTreeMap<u64, (u32, u32)>, checkpoint: &Checkpoint) {
    letters.retain(|seq, _| checkpoint.undone(*seq, seq + 1) > 0);
}

/// The letters that a record says were dropped.
pub(crate) fn dropped_by(record: &Record) -> impl Iterator<Item = u64> {
    let notes = if record.kind == DROPPED { record.body.as_chunks::<8>().0 } else { &[] };
    notes.iter().map(|seq| u64::from_le_bytes(*seq))
}

/// The letters that a record says a replay was about to offer, each with the least number of its event.
fn begun_by(record: &Record) -> Vec<(u64, u64)> {
    let numbers = if record.kind == BEGUN { record.body.as_chunks::<8>().0 } else { &[] };
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    let from = numbers.next().unwrap_or_default();
    numbers.map(|letter| (letter, from)).collect()
}

/// How many numbers in `gaps` are neither done nor those of letters that were dropped.
pub(crate) fn undone(checkpoint: &Checkpoint, dropped: &[u64], gaps: &[(u64, u64)]) -> u64 {
    if gaps.is_empty() {
        return 0;
    }
    let mut checkpoint = checkpoint.clone();
    checkpoint.mark(dropped.iter().map(|seq| (*seq, seq + 1)));
    gaps.iter().map(|(from, to)| checkpoint.undone(*from, *to)).sum()
}

/// Which event of the journal a record buries, if it buries one.
pub(crate) fn source(record: &Record) -> Option<u64> {
    let body = (record.kind == BURIED).then_some(&record.body)?;
    Some(u64::from_le_bytes(*body.first_chunk()?))
}

/// The letter a record holds, if it holds one.
pub(crate) fn decode(record: &Record) -> Option<DeadLetter> {
    let body = (record.kind == BURIED).then_some(&record.body)?;
    let accepted_at_ms = i64::from_le_bytes(*body.get(8..)?.first_chunk()?);
    let attempts = u32::from_le_bytes(*body.get(16..)?.first_chunk()?);
    let reason_len = usize::from(u16::from_le_bytes(*body.get(20..)?.first_chunk()?));
    let rest = FIXED_BYTES + reason_len;
    let reason = String::from_utf8_lossy(body.get(FIXED_BYTES..rest)?).into_owned();
    let (id_len, key_len) = (*body.get(rest)?, *body.get(rest + 1)?);
    let parts = body.slice(rest + 2..);
    let event = Event::from_parts(parts, usize::from(id_len), usize::from(key_len)).ok()?;
    Some(DeadLetter {
        seq: record.seq,
        reason,
        buried_at_ms: record.at_ms,
        accepted_at_ms,
        attempts,
        event,
    })
}

impl Burial {
    fn encode(&self) -> Vec<u8> {
        let mut end = self.reason.len().min(REASON_BYTES_MAX);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &self.reason.as_bytes()[..end];
        let event = self.event.as_bytes();
        let mut body = Vec::with_capacity(FIXED_BYTES + reason.len() + 2 + event.len());
        body.extend_from_slice(&self.source.to_le_bytes());
        body.extend_from_slice(&self.accepted_at_ms.to_le_bytes());
        body.extend_from_slice(&self.attempts.to_le_bytes());
        let reason_len = u16::try_from(reason.len()).expect("cut to REASON_BYTES_MAX");
        body.extend_from_slice(&reason_len.to_le_bytes());
        body.extend_from_slice(reason);
        for part in [self.event.id(), self.event.key()] {
            body.push(u8::try_from(part.len()).expect("bounded by the event"));
        }
        body.extend_from_slice(event);
        body
    }
}
