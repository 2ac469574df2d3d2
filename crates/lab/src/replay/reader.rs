//! A file's records as batches of events.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

use anyhow::{Context as _, bail};
use model::clock::EpochMs;
use model::{Event, Payment};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::apply::Apply;
use super::file::{Position, Seen};
use super::lines::{Line, Lines};
use super::map::Map;
use super::records::{ENDS, RECORD_BYTES_MAX, Record, Records};

/// How many batches are read ahead of the one being offered.
pub const BATCHES_AHEAD_MAX: usize = 2;
/// Past this many bytes of payload a batch is full (1 MiB).
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What a column may hold besides text.
const NOT_TEXT: &str = "must be text or a number";
const NOT_UTF8: &str = "must be UTF-8";

/// Some records of a file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    /// The line of each event.
    pub(super) lines: Vec<u64>,
    /// Line and reason of each record that is no payment.
    pub(super) rejects: Vec<(u64, String)>,
    /// Records of the file up to and with this batch.
    pub(super) records: u64,
    /// What of the file was read up to and with this batch.
    pub(super) seen: Seen,
}

/// What to read, and how.
pub(super) struct Reading<'a> {
    pub(super) input: Box<dyn BufRead + Send>,
    pub(super) position: Position,
    pub(super) map: Option<&'a Map>,
    /// Records to pass over: they are done.
    pub(super) skip: u64,
    pub(super) batch_max: usize,
    pub(super) now_ms: EpochMs,
}

/// Reads NDJSON to its end, or until `emit` says that nobody wants more.
pub(super) fn ndjson(
    reading: Reading<'_>,
    emit: &mut dyn FnMut(Batch) -> bool,
) -> anyhow::Result<()> {
    let Reading { input, position, map, skip, batch_max, now_ms } = reading;
    let mut apply = map.map(Apply::new);
    let mut lines = Lines::new(input, RECORD_BYTES_MAX);
    let mut batching = Batching::new(batch_max, skip, position);
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return batching.cut_short(error.into(), emit),
        };
        let made = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => continue,
            _ if batching.skips() => continue,
            Line::Overlong => Err(format!("the line is longer than {RECORD_BYTES_MAX} bytes")),
            Line::Whole(line) => match &mut apply {
                None => Payment::to_event(line, now_ms).map_err(|reject| reject.to_string()),
                Some(apply) => mapped_line(apply, line, now_ms),
            },
        };
        if !batching.add(lines.number(), made, emit) {
            return Ok(());
        }
    }
    batching.finish(emit);
    Ok(())
}

/// Reads CSV to its end, or until `emit` says that nobody wants more.
pub(super) fn csv(reading: Reading<'_>, emit: &mut dyn FnMut(Batch) -> bool) -> anyhow::Result<()> {
    let Reading { input, position, map, skip, batch_max, now_ms } = reading;
    let by_name = Map::default();
    let map = map.unwrap_or(&by_name);
    let mut apply = Apply::new(map);
    let mut records = Records::new(input, map.delimiter);
    let names: Vec<String> = match records.next().context("the header can't be read")? {
        None => Vec::new(),
        Some((_, Ok(header))) => header_names(header)?,
        Some((line, Err(problem))) => bail!("line {line}, the header: {problem}"),
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    map.check_columns(&names).map_err(anyhow::Error::msg)?;
    // A name that is there twice is none of the map's.
    let at: HashMap<&str, usize> = names.iter().enumerate().map(|(at, &name)| (name, at)).collect();
    let mut batching = Batching::new(batch_max, skip, position);
    loop {
        let (line, record) = match records.next() {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => return batching.cut_short(error.into(), emit),
        };
        if batching.skips() {
            continue;
        }
        let made = record.and_then(|record| {
            let value = |name: &str| {
                // Checked above: every column of the map is in the header.
                let text = std::str::from_utf8(record.get(at[name]));
                Ok(Cow::Borrowed(text.map_err(|_| NOT_UTF8.to_owned())?))
            };
            apply.event(value, now_ms).map_err(|reject| reject.to_string())
        });
        if !batching.add(line, made, emit) {
            return Ok(());
        }
    }
    batching.finish(emit);
    Ok(())
}

fn header_names(header: &Record) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::with_capacity(header.len());
    for at in 0..header.len() {
        let name = std::str::from_utf8(header.get(at));
        let name = name.map_err(|_| anyhow::anyhow!("the header: {NOT_UTF8}"))?.trim();
        if name.contains('\r') {
            bail!("line 1 holds a carriage return: {ENDS}");
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn mapped_line(apply: &mut Apply<'_>, line: &[u8], now_ms: EpochMs) -> Result<Event, String> {
    let Object(fields) = serde_json::from_slice(model::event::without_mark(line))
        .map_err(|_| "event: must be a JSON object".to_owned())?;
    let value = |name: &str| {
        let raw = match fields.get(name) {
            Some(Field::Once(raw)) => Some(raw.get()),
            Some(Field::Twice) => return Err(format!("{name} is given twice; give it once")),
            None => None,
        };
        match raw.map(|raw| (raw.as_bytes()[0], raw)) {
            None | Some((b'n', _)) => Err(format!("needs {name}, which the line does not have")),
            Some((b'"', raw)) => {
                let text = serde_json::from_str::<String>(raw).map_err(|_| NOT_TEXT.to_owned())?;
                Ok(Cow::Owned(text))
            }
            Some((b'{' | b'[', _)) => Err(NOT_TEXT.to_owned()),
            // A number as it is written: its digits are not put through floating point.
            Some((_, raw)) => Ok(Cow::Borrowed(raw)),
        }
    };
    apply.event(value, now_ms).map_err(|reject| reject.to_string())
}

/// The fields of a JSON object. A name that is given twice is refused only if the map uses it.
struct Object<'a>(HashMap<Cow<'a, str>, Field<'a>>);

enum Field<'a> {
    Once(&'a RawValue),
    Twice,
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = HashMap::new();
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value()?;
            fields
                .entry(name)
                .and_modify(|field| *field = Field::Twice)
                .or_insert(Field::Once(value));
        }
        Ok(Object(fields))
    }
}

/// A field's name, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Puts records into batches.
struct Batching {
    batch: Batch,
    batch_max: usize,
    bytes: usize,
    records: u64,
    skip: u64,
    position: Position,
}

impl Batching {
    fn new(batch_max: usize, skip: u64, position: Position) -> Self {
        Self {
            batch: Batch::default(),
            batch_max: batch_max.max(1),
            bytes: 0,
            records: 0,
            skip,
            position,
        }
    }

    /// Whether the record at hand is to be passed over; counts it if so.
    fn skips(&mut self) -> bool {
        let skips = self.records < self.skip;
        self.records += u64::from(skips);
        skips
    }

    /// Takes a record; `false` when nobody wants more.
    fn add(
        &mut self,
        line: u64,
        made: Result<Event, String>,
        emit: &mut dyn FnMut(Batch) -> bool,
    ) -> bool {
        self.records += 1;
        match made {
            Ok(event) => {
                self.bytes += event.as_bytes().len();
                self.batch.events.push(event);
                self.batch.lines.push(line);
            }
            Err(reason) => self.batch.rejects.push((line, reason)),
        }
        let held = self.batch.events.len() + self.batch.rejects.len();
        if held >= self.batch_max || self.bytes >= BATCH_BYTES_MAX {
            return self.finish(emit);
        }
        true
    }

    /// Hands on what was read before the file could not be read further.
    fn cut_short(
        &mut self,
        error: anyhow::Error,
        emit: &mut dyn FnMut(Batch) -> bool,
    ) -> anyhow::Result<()> {
        self.finish(emit);
        Err(error.context("the file can't be read to its end; what came before was offered"))
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Batch) -> bool) -> bool {
        self.bytes = 0;
        if self.batch.events.is_empty() && self.batch.rejects.is_empty() {
            return true;
        }
        let batch = std::mem::take(&mut self.batch);
        emit(Batch { records: self.records, seen: self.position.seen(), ..batch })
    }
}
