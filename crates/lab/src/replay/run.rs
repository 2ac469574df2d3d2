//! The replay itself.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::clock::EpochMs;
use model::{Class, Classify};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file::{self, Format, Opened, Seen, hex};
use super::map::Map;
use super::reader::{self, BATCHES_AHEAD_MAX, Batch, Reading};
use super::rejects::Rejects;
use super::state::{Place, State};
use crate::pace::PAUSE_MIN;
use crate::sink::{Fate, Offered, Sink};

/// How long to wait after a failure before trying again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(250);

/// How to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The data directory: how far the replay came is kept in `replay/` under it.
    pub data: PathBuf,
    /// Where the events go, as the user wrote it. A replay goes on only to the same target.
    pub target: String,
    /// Start over, whatever was done before.
    pub restart: bool,
    /// What the records are written in; by the file's name when `None`.
    pub format: Option<Format>,
    /// The most records offered at once.
    pub batch_max: usize,
    /// How long the sink may refuse or fail, without a break, before the replay gives up.
    pub patience: Duration,
}

impl Options {
    /// Goes on where it was, in batches of 1,000, and gives up after a minute of refusals.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, target: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            target: target.into(),
            restart: false,
            format: None,
            batch_max: 1_000,
            patience: Duration::from_secs(60),
        }
    }
}

/// Where a replay began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the beginning: nothing was done before, or the file, map or target is another.
    Fresh,
    /// Behind so many records.
    Resumed(u64),
    /// At the end: everything was offered before, and nothing was now.
    AlreadyFinished,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records done, those of earlier runs among them.
    pub records: u64,
    /// Bytes of the file read, as they lie on the disk.
    pub bytes: u64,
    /// Bytes of the file; 0 where they are not known.
    pub bytes_total: u64,
    /// Events accepted in this run.
    pub accepted: u64,
    /// Records rejected in all runs.
    pub rejected: u64,
    /// Whether the sink refuses just now, and the replay waits for it.
    pub waiting: bool,
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Where it began.
    pub start: Start,
    /// Whether the file is done.
    pub finished: bool,
    /// Records done in this run: accepted or rejected.
    pub records: u64,
    /// Events accepted in this run.
    pub accepted: u64,
    /// Refusals that were answered by waiting, in this run, counted in events.
    pub refused: u64,
    /// Records done in all runs.
    pub records_total: u64,
    /// Events accepted in all runs.
    pub accepted_total: u64,
    /// Records rejected in all runs, by reason.
    pub rejects: Rejects,
}

/// Where the records come from.
enum Source {
    File(PathBuf),
    /// Read once, by the first run. How far it came is not kept: nothing tells the next input from it.
    Piped(Mutex<Option<Box<dyn Read + Send>>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Piped(_) => f.write_str("Piped"),
        }
    }
}

/// Records to be replayed.
#[derive(Debug)]
pub struct Replay {
    source: Source,
    format: Format,
    map: Option<Map>,
    map_sha256: String,
    options: Options,
}

impl Replay {
    /// Prepares `file` with the TOML of a map, if there is one. Nothing is offered yet.
    ///
    /// # Errors
    /// If the file is not there, its format can't be told, or the map can't be used.
    pub fn new(file: &Path, map: Option<&str>, options: Options) -> anyhow::Result<Self> {
        let absolute = file.canonicalize();
        let absolute = absolute.with_context(|| format!("{} can't be opened", file.display()))?;
        let Some(format) = options.format.or_else(|| Format::of(&absolute)) else {
            bail!(
                "{} is neither .csv nor .ndjson (also with .gz) by its name; say which it is",
                file.display()
            );
        };
        Self::of(Source::File(absolute), format, map, options)
    }

    /// The same of what `input` holds, which a run reads once and always from its beginning.
    ///
    /// # Errors
    /// If the options name no format, or the map can't be used.
    pub fn piped(
        input: impl Read + Send + 'static,
        map: Option<&str>,
        options: Options,
    ) -> anyhow::Result<Self> {
        let Some(format) = options.format else {
            bail!(
                "cannot replay standard input: its format is unknown; give --format csv or ndjson"
            );
        };
        Self::of(Source::Piped(Mutex::new(Some(Box::new(input)))), format, map, options)
    }

    fn of(
        source: Source,
        format: Format,
        map: Option<&str>,
        options: Options,
    ) -> anyhow::Result<Self> {
        let map_sha256 = hex(&Sha256::digest(map.unwrap_or_default()));
        let map = map.map(Map::parse).transpose()?;
        Ok(Self { source, format, map, map_sha256, options })
    }

    /// Offers the file's payments to `sink`, in the order of the file, until its end or until
    /// `stop`. `created_at` is held against `now_ms`. `progress` is called after each batch and
    /// each time the sink refuses. The sink is finished before the file counts as done.
    ///
    /// # Errors
    /// If the file can't be read (to its end), or the sink fails or refuses for longer than the
    /// patience. Running again goes on behind what was accepted.
    pub async fn run(
        &self,
        sink: &mut dyn Sink,
        now_ms: EpochMs,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> anyhow::Result<Summary> {
        let Opened { bytes, reader: input, position } = self.open()?;
        let place = self.place();
        let (start, state) = self.start(place.as_ref(), bytes).await?;
        if start == Start::AlreadyFinished {
            return Ok(summary(start, &state));
        }
        let reading = Reading {
            input,
            position: position.clone(),
            map: None,
            skip: state.records,
            batch_max: self.options.batch_max,
            now_ms,
        };
        let (mut batches, reader) = self.read(reading)?;
        let mut feed = Feed {
            sink,
            stop,
            patience: self.options.patience,
            progress: Progress { bytes_total: bytes, ..Progress::default() },
            report: progress,
            summary: summary(start, &state),
            state,
        };
        while let Some(batch) = next(&mut batches, stop).await {
            if !feed.offer(batch).await? {
                break;
            }
            place.as_ref().map_or(Ok(()), |place| place.save(&feed.state))?;
        }
        drop(batches);
        // A reader that waits for more input would keep a stopped replay waiting, too.
        if !stop.is_cancelled() {
            reader.await.context("the reader of the file panicked")??;
        }
        if !stop.is_cancelled() {
            feed.sink.finish().await?;
            feed.state.finished = true;
            // With what came behind the last record.
            feed.state.seen = position.seen();
            place.map_or(Ok(()), |place| place.save(&feed.state))?;
        }
        let Feed { state, summary: Summary { records, accepted, refused, .. }, .. } = feed;
        Ok(Summary { records, accepted, refused, ..summary(start, &state) })
    }

    /// Where to begin. What was read of the file before is read and digested again: a file that was
    /// corrected there is another file, and starts over.
    async fn start(
        &self,
        place: Option<&Place>,
        file_bytes: u64,
    ) -> anyhow::Result<(Start, State)> {
        let file = match &self.source {
            Source::File(path) => path.clone(),
            Source::Piped(_) => PathBuf::new(),
        };
        let fresh = State {
            file: file.clone(),
            file_bytes,
            seen: Seen::default(),
            map_sha256: self.map_sha256.clone(),
            target: self.options.target.clone(),
            records: 0,
            accepted: 0,
            rejects: Rejects::default(),
            finished: false,
        };
        let known = place.and_then(Place::load).filter(|state| {
            !self.options.restart
                && state.file_bytes == fresh.file_bytes
                && state.map_sha256 == fresh.map_sha256
                && state.target == fresh.target
        });
        let Some(state) = known else { return Ok((Start::Fresh, fresh)) };
        let (read, seen) = (file.clone(), state.seen.clone());
        let same = tokio::task::spawn_blocking(move || seen.begins(&read));
        let same = same.await.context("the reader of the file panicked")?;
        let same = same.with_context(|| format!("{} can't be read", file.display()))?;
        Ok(match state.records {
            _ if !same => (Start::Fresh, fresh),
            _ if state.finished => (Start::AlreadyFinished, state),
            0 => (Start::Fresh, state),
            records => (Start::Resumed(records), state),
        })
    }

    fn open(&self) -> anyhow::Result<Opened> {
        match &self.source {
            Source::File(path) => file::open(path),
            Source::Piped(input) => {
                let input = input.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(file::piped(input.context("standard input was read already")?))
            }
        }
    }

    /// Where it is kept how far it came; nowhere for what is read once.
    fn place(&self) -> Option<Place> {
        match &self.source {
            Source::File(path) => Some(Place::new(&self.options.data, path)),
            Source::Piped(_) => None,
        }
    }

    /// Reads in a thread of its own, so that unpacking goes on while a batch is made durable.
    fn read(
        &self,
        reading: Reading<'static>,
    ) -> anyhow::Result<(mpsc::Receiver<Batch>, oneshot::Receiver<anyhow::Result<()>>)> {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD_MAX);
        let (ended, reader) = oneshot::channel();
        let (map, format) = (self.map.clone(), self.format);
        // None of the runtime's threads: that would not end before an input that waits does.
        let thread = std::thread::Builder::new().name("replay-reader".into()).spawn(move || {
            let reading = Reading { map: map.as_ref(), ..reading };
            let mut emit = |batch| sender.blocking_send(batch).is_ok();
            let _ = ended.send(match format {
                Format::Csv => reader::csv(reading, &mut emit),
                Format::Ndjson => reader::ndjson(reading, &mut emit),
            });
        });
        thread.context("cannot start the thread that reads")?;
        Ok((batches, reader))
    }
}

fn summary(start: Start, state: &State) -> Summary {
    Summary {
        start,
        finished: state.finished,
        records: 0,
        accepted: 0,
        refused: 0,
        records_total: state.records,
        accepted_total: state.accepted,
        rejects: state.rejects.clone(),
    }
}

async fn next(batches: &mut mpsc::Receiver<Batch>, stop: &CancellationToken) -> Option<Batch> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        batch = batches.recv() => batch,
    }
}

/// Offers batches and keeps count.
struct Feed<'a> {
    sink: &'a mut dyn Sink,
    stop: &'a CancellationToken,
    patience: Duration,
    progress: Progress,
    report: &'a mut (dyn FnMut(&Progress) + Send),
    state: State,
    summary: Summary,
}

impl Feed<'_> {
    /// Offers a batch until nothing of it is refused; `false` when stopped before that.
    async fn offer(&mut self, mut batch: Batch) -> anyhow::Result<bool> {
        let mut accepted = 0;
        let mut idle_since = Instant::now();
        while !batch.events.is_empty() {
            let pause = match self.sink.offer(&batch.events).await {
                Ok(answer) => {
                    if answer.accepted + answer.rejected > 0 {
                        idle_since = Instant::now();
                    }
                    accepted += answer.accepted as u64;
                    self.summary.refused += answer.refused as u64;
                    keep_refused(&mut batch, &answer);
                    if batch.events.is_empty() {
                        break;
                    }
                    if idle_since.elapsed() >= self.patience {
                        bail!(
                            "there was no room for {} s, {} records were done; settle what is \
                             held, then run again to go on from there",
                            self.patience.as_secs(),
                            self.state.records
                        );
                    }
                    answer.retry_after.unwrap_or(PAUSE_MIN).max(PAUSE_MIN)
                }
                Err(error) => {
                    let waited = idle_since.elapsed() >= self.patience;
                    if error.class() != Class::Retryable || waited {
                        let done = self.state.records;
                        return Err(anyhow::Error::new(error).context(format!(
                            "the replay ended after {done} records; run it again to go on"
                        )));
                    }
                    PAUSE_AFTER_FAILURE
                }
            };
            (self.report)(&Progress { waiting: true, ..self.progress });
            tokio::select! {
                () = tokio::time::sleep(pause.min(self.patience)) => {}
                () = self.stop.cancelled() => return Ok(false),
            }
        }
        self.done(&batch, accepted);
        Ok(true)
    }

    fn done(&mut self, batch: &Batch, accepted: u64) {
        for (line, reason) in &batch.rejects {
            self.state.rejects.add(reason, *line);
        }
        self.summary.records += batch.records - self.state.records;
        self.summary.accepted += accepted;
        self.state.records = batch.records;
        self.state.seen = batch.seen.clone();
        self.state.accepted += accepted;
        self.progress.records = batch.records;
        self.progress.bytes = batch.seen.bytes;
        self.progress.accepted = self.summary.accepted;
        self.progress.rejected = self.state.rejects.total();
        (self.report)(&self.progress);
    }
}

/// Takes out of `batch` what the answer settles one way or the other.
fn keep_refused(batch: &mut Batch, answer: &Offered) {
    let fates = answer.fates();
    let unlisted = answer.rejected.saturating_sub(answer.rejections.len());
    for rejection in &answer.rejections {
        let line = batch.lines.get(rejection.index).copied().unwrap_or_default();
        batch.rejects.push((line, rejection.problem.clone()));
    }
    let line = batch.lines.first().copied().unwrap_or_default();
    let cut = || (line, "rejected by the server without saying why".to_owned());
    batch.rejects.extend(std::iter::repeat_with(cut).take(unlisted));
    let mut refused = fates.iter().map(|&fate| fate == Fate::Refused);
    batch.events.retain(|_| refused.next() == Some(true));
    let mut refused = fates.iter().map(|&fate| fate == Fate::Refused);
    batch.lines.retain(|_| refused.next() == Some(true));
}
