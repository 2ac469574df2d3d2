//! A stream of events, one on each line, taken as it arrives.
//!
//! Lines are read into a batch; a batch is offered when it is full, when the stream pauses, and at
//! the end. The answer waits for the end of the stream, but what it counts was durable before.
//! Nothing is read while a batch is being offered: a slow buffer slows the client down.

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::http::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use model::Event;
use tokio::time::{Instant, timeout};

use crate::answer::Refusal;
use crate::door::{Bad, Door, NotTaken};
use crate::lines::{Line, Lines};
use crate::shell::Shell;
use crate::tally::{LineError, Tally};

/// Takes all lines of `body`.
pub(crate) async fn take(shell: &Shell, door: &Door, body: Body) -> Response<Body> {
    let Ok(_permit) = shell.streams.try_acquire() else {
        let problem = "too many streams at once; try again later";
        return Refusal::unavailable(problem).closing().into_response();
    };
    let mut intake = Intake::new(shell, door);
    match intake.run(body).await {
        Ok(()) => intake.tally.finish(),
        Err(refusal) => intake.give_up(&refusal.closing()),
    }
}

/// One stream on its way in.
struct Intake<'a> {
    shell: &'a Shell,
    door: &'a Door,
    lines: Lines,
    batch: Batch,
    /// What is settled about the lines before the batch.
    tally: Tally,
}

/// Lines that have been read, and that nothing is settled about yet.
#[derive(Default)]
struct Batch {
    /// The good ones.
    events: Vec<Event>,
    /// The number of each of `events`.
    numbers: Vec<u64>,
    /// The bytes of `events`.
    bytes: usize,
    /// The bad ones, which may lie anywhere among the good ones.
    errors: Vec<LineError>,
}

/// What came of waiting for more of a stream.
enum Next {
    Chunk(Bytes),
    Pause,
    End,
}

impl<'a> Intake<'a> {
    fn new(shell: &'a Shell, door: &'a Door) -> Self {
        Self {
            shell,
            door,
            lines: Lines::new(shell.options.event_bytes_max),
            batch: Batch::default(),
            tally: Tally::new(shell.options.errors_listed_max),
        }
    }

    async fn run(&mut self, body: Body) -> Result<(), Refusal> {
        let options = &self.shell.options;
        let too_large = || Refusal::too_large("the stream", options.ndjson_bytes_max);
        if body.size_hint().lower() > options.ndjson_bytes_max {
            return Err(too_large());
        }
        let started = Instant::now();
        let mut data = body.into_data_stream();
        let mut bytes = 0;
        loop {
            match self.next(&mut data, started).await? {
                Next::Chunk(chunk) => {
                    bytes += chunk.len() as u64;
                    if bytes > options.ndjson_bytes_max {
                        return Err(too_large());
                    }
                    self.read(chunk).await?;
                }
                Next::Pause => self.flush().await?,
                Next::End => break,
            }
        }
        if let Some(line) = self.lines.finish() {
            self.take(line);
        }
        self.flush().await
    }

    /// Waits for more: briefly while there are lines to offer, else as long as a stream may pause.
    async fn next(&self, data: &mut BodyDataStream, started: Instant) -> Result<Next, Refusal> {
        let options = &self.shell.options;
        let left = options.request_timeout.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Refusal::overdue());
        }
        let idle = self.batch.is_empty();
        let wait = if idle { options.body_idle_timeout } else { options.batch_linger };
        match timeout(wait.min(left), data.next()).await {
            Ok(Some(Ok(chunk))) => Ok(Next::Chunk(chunk)),
            Ok(Some(Err(_))) => Err(Refusal::broken()),
            Ok(None) => Ok(Next::End),
            Err(_) if wait > left => Err(Refusal::overdue()),
            Err(_) if idle => Err(Refusal::stalled()),
            Err(_) => Ok(Next::Pause),
        }
    }

    async fn read(&mut self, mut chunk: Bytes) -> Result<(), Refusal> {
        let options = &self.shell.options;
        while let Some(line) = self.lines.next(&mut chunk) {
            self.take(line);
            let lines = self.batch.events.len() + self.batch.errors.len();
            if lines >= options.batch_lines_max || self.batch.bytes >= options.batch_bytes_max {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Puts one line into the batch.
    fn take(&mut self, line: Line) {
        let Some(json) = line.bytes else {
            let bytes_max = self.shell.options.event_bytes_max;
            let problem = format!("is more than {bytes_max} bytes; send a smaller event");
            let field = "event".into();
            self.batch.errors.push(LineError { line: line.number, field, problem });
            return;
        };
        match self.door.read(&json, None, self.shell.clock.now_ms()) {
            Ok(event) => {
                self.batch.bytes += event.as_bytes().len();
                self.batch.events.push(event);
                self.batch.numbers.push(line.number);
            }
            Err(Bad { field, problem }) => {
                self.batch.errors.push(LineError { line: line.number, field, problem });
            }
        }
    }

    /// Offers the batch, in pieces if it is more than the buffer takes at once, in order. After a
    /// refusal the batch begins with the first line that was not accepted.
    async fn flush(&mut self) -> Result<(), Refusal> {
        let mut offered = 0;
        let mut piece = self.batch.events.len();
        while offered < self.batch.events.len() {
            let end = self.batch.events.len().min(offered + piece);
            let wait = self.shell.options.offer_timeout;
            match self.door.offer(&self.batch.events[offered..end], wait).await {
                Ok(()) => {
                    self.door.taken.accepted.increment((end - offered) as u64);
                    self.tally.accept(end - offered);
                    offered = end;
                }
                Err(NotTaken::Buffer(buffer::Error::TooMany { .. })) if piece > 1 => piece /= 2,
                Err(NotTaken::Buffer(buffer::Error::TooMany { .. })) => {
                    let line = self.batch.numbers[offered];
                    let problem = "is larger than the buffer takes; send a smaller event".into();
                    self.batch.errors.push(LineError { line, field: "event".into(), problem });
                    offered += 1;
                }
                Err(not_taken) => {
                    let left = self.batch.events.len() - offered;
                    self.batch.numbers.drain(..offered);
                    return Err(self.door.refuse(&self.shell.readiness, not_taken, left));
                }
            }
        }
        self.settle_errors(u64::MAX);
        self.batch.clear();
        Ok(())
    }

    /// The bad lines before `end` are settled; the others are forgotten.
    fn settle_errors(&mut self, end: u64) {
        let mut errors = std::mem::take(&mut self.batch.errors);
        // Only lines that were too large for the buffer are out of order.
        errors.sort_by_key(|error| error.line);
        for error in errors.into_iter().take_while(|error| error.line < end) {
            self.door.taken.rejected.increment(1);
            self.tally.reject(error);
        }
    }

    fn give_up(mut self, refusal: &Refusal) -> Response<Body> {
        let resume_at_line = self.batch.numbers.first().copied().unwrap_or(self.lines.number());
        self.settle_errors(resume_at_line);
        self.tally.refuse(refusal, resume_at_line)
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.errors.is_empty()
    }

    fn clear(&mut self) {
        self.events.clear();
        self.numbers.clear();
        self.bytes = 0;
        self.errors.clear();
    }
}
