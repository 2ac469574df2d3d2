//! What became of a stream's lines, and the answer that says so.
//!
//! Invariant: `accepted`, `rejected` and the blank lines together are all lines before
//! `resume_at_line`, or all lines when there is none.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;

use crate::answer::{self, Fault, Refusal};

/// One rejected line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LineError {
    /// From 1; blank lines count.
    pub(crate) line: u64,
    /// The field at fault, or `event` for the whole line.
    pub(crate) field: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub(crate) problem: String,
}

/// The count so far, in the shape of the answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    accepted: u64,
    rejected: u64,
    errors: Vec<LineError>,
    errors_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_at_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
    #[serde(skip)]
    errors_listed_max: usize,
}

impl Tally {
    /// Nothing yet. Lists at most `errors_listed_max` rejected lines, and counts all.
    pub(crate) fn new(errors_listed_max: usize) -> Self {
        Self { errors_listed_max, ..Self::default() }
    }

    /// `events` lines more are durable.
    pub(crate) fn accept(&mut self, events: usize) {
        self.accepted += events as u64;
    }

    /// One line more is rejected.
    pub(crate) fn reject(&mut self, error: LineError) {
        self.rejected += 1;
        if self.errors.len() < self.errors_listed_max {
            self.errors.push(error);
        } else {
            self.errors_truncated = true;
        }
    }

    /// The answer to a stream that was read to its end.
    pub(crate) fn finish(mut self) -> Response<Body> {
        if self.accepted == 0 && self.rejected > 0 {
            let problem = "every line was rejected; see errors";
            let refusal = Refusal::of_field(StatusCode::BAD_REQUEST, "event", problem);
            self.error = Some(refusal.fault.clone());
            return refusal.with_body(&self);
        }
        answer::json(StatusCode::ACCEPTED, answer::to_bytes(&self))
    }

    /// The answer to a stream that was given up before `resume_at_line`.
    pub(crate) fn refuse(mut self, refusal: &Refusal, resume_at_line: u64) -> Response<Body> {
        self.resume_at_line = Some(resume_at_line);
        self.error = Some(refusal.fault.clone());
        refusal.with_body(&self)
    }
}
