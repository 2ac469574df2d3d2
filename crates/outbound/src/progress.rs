//! How far an attempt has come, seen from its body: the connection asks for it after it wrote the head.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

/// Bytes of a body that are given out at once: the connection asks for more when it has room.
const PART_BYTES: usize = 64 << 10;

/// A part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for a connection. No byte of the body was given out, so that no service can act on it.
    Connect,
    /// The request is being written.
    Send,
    /// All of it was handed to the connection, and the answer is awaited.
    Wait,
}

/// How long each phase took, as far as the attempt came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// Waiting for a place and for a connection.
    pub connect: Duration,
    /// Handing the request over.
    pub send: Duration,
    /// Until the last byte of the answer.
    pub wait: Duration,
}

impl Took {
    /// All phases together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.connect + self.send + self.wait
    }
}

/// Shared by an attempt and its body.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<Marks>>);

#[derive(Debug)]
struct Marks {
    began: Instant,
    sending: Option<Instant>,
    waiting: Option<Instant>,
    status: Option<StatusCode>,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        let marks = Marks { began: Instant::now(), sending: None, waiting: None, status: None };
        Self(Arc::new(Mutex::new(marks)))
    }

    pub(crate) fn look(&self) -> (Phase, Took, Option<StatusCode>) {
        let now = Instant::now();
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sending = marks.sending.unwrap_or(now);
        let waiting = marks.waiting.unwrap_or(now);
        let phase = match (marks.sending, marks.waiting) {
            (None, _) => Phase::Connect,
            (Some(_), None) => Phase::Send,
            (Some(_), Some(_)) => Phase::Wait,
        };
        let took = Took {
            connect: sending.saturating_duration_since(marks.began),
            send: waiting.saturating_duration_since(sending),
            wait: now.saturating_duration_since(waiting),
        };
        (phase, took, marks.status)
    }

    /// The head of an answer came.
    pub(crate) fn mark_answered(&self, status: StatusCode) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).status = Some(status);
    }

    /// From here on the service may get the request.
    pub(crate) fn mark_sending(&self) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.sending.get_or_insert_with(Instant::now);
    }

    /// The connection failed before anything was written.
    pub(crate) fn mark_unsent(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sending = None;
    }

    fn mark_waiting(&self) {
        self.mark_sending();
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.waiting.get_or_insert_with(Instant::now);
    }
}

/// A body that marks when it is asked for.
#[derive(Debug)]
pub(crate) struct Marked {
    bytes: Bytes,
    progress: Progress,
}

impl Marked {
    pub(crate) fn new(bytes: Bytes, progress: Progress) -> Self {
        Self { bytes, progress }
    }
}

impl Body for Marked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.bytes.len().min(PART_BYTES);
        let part = self.bytes.split_to(part);
        if self.bytes.is_empty() {
            self.progress.mark_waiting();
        } else {
            self.progress.mark_sending();
        }
        Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
