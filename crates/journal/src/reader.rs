//! Reading durable records in order, a chunk at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::fs::{File, read_full_at};
use crate::record::{self, Decoded, HEADER_BYTES, Header, Record};
use crate::segment::{self, CHUNK_BYTES, SEGMENT_HEADER_BYTES};
use crate::shared::Shared;
use crate::{Error, encryption};

/// Chunks whose memory is kept to be used again.
const SPENT_MAX: usize = 8;

/// A place in the log. Holds at most `SPENT_MAX` chunks of 128 KiB besides what it handed out.
pub struct Reader {
    log: Arc<Shared>,
    /// Records numbered below are passed over.
    seq: u64,
    base: u64,
    offset: u64,
    /// What was read at `offset` and not handed out.
    chunk: Bytes,
    /// A byte of each of the last chunks: when it is the only one left, its memory is free to be
    /// read into again, which spares the kernel zeroing new pages.
    spent: VecDeque<Bytes>,
    /// Bytes passed over because they hold no record.
    damaged_bytes: u64,
}

/// Where the reader may read now.
struct Window {
    file: Arc<dyn File>,
    end: u64,
    /// One past the last number before `end`.
    next_seq: u64,
}

impl Reader {
    pub(crate) fn new(log: Arc<Shared>, seq: u64) -> Self {
        let base = {
            let catalog = log.catalog();
            catalog.segments.range(..=seq).next_back().map_or(0, |(base, _)| *base)
        };
        let offset = SEGMENT_HEADER_BYTES;
        let (chunk, spent) = (Bytes::new(), VecDeque::new());
        Self { log, seq, base, offset, chunk, spent, damaged_bytes: 0 }
    }

    /// The number of the next record, or lower if numbers are missing there.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes passed over so far because they held no record.
    #[must_use]
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    /// The next record; `None` at the end of what is durable.
    ///
    /// # Errors
    /// If the medium can't be read.
    #[inline]
    pub fn take(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let header = match record::decode(&self.chunk) {
                Decoded::Record(header) if header.seq >= self.seq => header,
                _ => match self.front()? {
                    Some(header) => header,
                    None => return Ok(None),
                },
            };
            let total = header.total();
            let offset = u32::try_from(self.offset).expect("segments are shorter than 4 GiB");
            let body = self.chunk.slice(HEADER_BYTES..total);
            // Where the key is missing, the reader stays here.
            let body = encryption::decrypt(self.log.options.keys.as_deref(), &header, body)?;
            self.seq = header.seq + 1;
            self.advance(total);
            match body {
                Some(body) => return Ok(Some(Record::new(&header, offset, body))),
                None => self.altered(header.seq, total),
            }
        }
    }

    /// Passes over a record that its key does not vouch for, though its checksum holds.
    fn altered(&mut self, seq: u64, bytes: usize) {
        tracing::error!(seq, "an encrypted record was altered; it is passed over");
        metrics::counter!("journal_damaged_bytes_total").increment(bytes as u64);
        self.damaged_bytes += bytes as u64;
    }

    /// The next record's header, without taking it.
    ///
    /// # Errors
    /// If the medium can't be read.
    pub fn front(&mut self) -> Result<Option<Header>, Error> {
        loop {
            let needed = match record::decode(&self.chunk) {
                Decoded::Record(header) if header.seq >= self.seq => return Ok(Some(header)),
                Decoded::Record(header) => {
                    self.advance(header.total());
                    continue;
                }
                Decoded::Short(needed) => needed,
                Decoded::Bad => 0,
            };
            let Some(window) = self.window() else { return Ok(None) };
            if needed > self.chunk.len() && self.refill(&window)? {
                continue;
            }
            self.skip(&window)?;
        }
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        bytes::Buf::advance(&mut self.chunk, bytes);
        self.offset += bytes as u64;
    }

    /// The readable rest of this segment, or of the next one; `None` at the end of the log.
    fn window(&mut self) -> Option<Window> {
        let catalog = self.log.catalog();
        for (base, segment) in catalog.segments.range(self.base..) {
            if *base != self.base {
                self.base = *base;
                self.offset = SEGMENT_HEADER_BYTES;
                self.chunk = Bytes::new();
            }
            if self.offset < segment.end {
                let (file, end, next_seq) = (segment.file.clone(), segment.end, segment.next_seq);
                return Some(Window { file, end, next_seq });
            }
        }
        None
    }

    /// Reads on from `offset`. False when that brings nothing new.
    fn refill(&mut self, window: &Window) -> Result<bool, Error> {
        let left = usize::try_from(window.end - self.offset).unwrap_or(usize::MAX);
        let most = left.min(CHUNK_BYTES);
        if most <= self.chunk.len() {
            return Ok(false);
        }
        let mut chunk = self.memory(most);
        read_full_at(&*window.file, &mut chunk, most, self.offset)
            .map_err(|e| Error::io(format!("read segment {}", self.base), &e))?;
        let more = chunk.len() > self.chunk.len();
        let whole = chunk.capacity() == CHUNK_BYTES;
        self.chunk = Bytes::from(chunk);
        if whole && self.spent.len() < SPENT_MAX {
            self.spent.push_back(self.chunk.slice(..1));
        }
        Ok(more)
    }

    /// Memory for a chunk: that of the oldest one spent, if nobody reads in it any more.
    fn memory(&mut self, bytes: usize) -> Vec<u8> {
        if bytes < CHUNK_BYTES / 2 {
            return Vec::with_capacity(bytes);
        }
        match self.spent.pop_front() {
            Some(spent) if spent.is_unique() => {
                let mut memory = Vec::from(spent);
                memory.clear();
                memory
            }
            Some(spent) => {
                self.spent.push_back(spent);
                Vec::with_capacity(CHUNK_BYTES)
            }
            None => Vec::with_capacity(CHUNK_BYTES),
        }
    }

    /// Passes over bytes that are no record.
    fn skip(&mut self, window: &Window) -> Result<(), Error> {
        let resync = segment::resync(&*window.file, self.offset, window.end, self.seq)
            .map_err(|e| Error::io(format!("read segment {}", self.base), &e))?;
        let to = match resync.next {
            Some((offset, _)) => offset,
            None => {
                self.seq = self.seq.max(window.next_seq);
                window.end
            }
        };
        tracing::error!(
            segment = self.base,
            from = self.offset,
            to,
            "damaged bytes are passed over; `forebay buffer verify` tells more"
        );
        metrics::counter!("journal_damaged_bytes_total").increment(to - self.offset);
        self.damaged_bytes += to - self.offset;
        self.offset = to;
        self.chunk = Bytes::new();
        Ok(())
    }
}

impl Record {
    #[inline]
    /// A record that was found with this header at `offset` of its segment, and holds `body`.
    #[must_use]
    pub fn new(header: &Header, offset: u32, body: Bytes) -> Self {
        Self {
            seq: header.seq,
            kind: header.kind,
            at_ms: header.at_ms,
            id_len: header.id_len,
            key_len: header.key_len,
            offset,
            bytes: u32::try_from(header.total()).unwrap_or(u32::MAX),
            body,
        }
    }
}
