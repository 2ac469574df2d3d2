//! The server's bounds, each with its unit.

use std::time::Duration;

/// Every bound of the server. With the defaults, all requests together hold at most about 300 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The longest event, in bytes, alone or as a line; at most [`model::event::PAYLOAD_BYTES_MAX`].
    pub event_bytes_max: usize,
    /// The longest stream in one request, in bytes.
    pub ndjson_bytes_max: u64,
    /// Most lines of a stream that are offered together.
    pub batch_lines_max: usize,
    /// Most bytes of a stream that are offered together (one event more may come on top).
    pub batch_bytes_max: usize,
    /// How long lines wait for more of a stream that has paused before they are offered.
    pub batch_linger: Duration,
    /// Most rejected lines that one answer lists; all are counted.
    pub errors_listed_max: usize,
    /// Most streams at once; one more is answered 503.
    pub streams_max: usize,
    /// Most connections at once; one more is answered 503 and closed.
    pub connections_max: usize,
    /// How long a request's head may take to arrive, and how long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long one event may take to arrive, and how long a stream may pause.
    pub body_idle_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection is cut.
    pub answer_stall_timeout: Duration,
    /// How long to wait for the buffer before answering 503.
    pub offer_timeout: Duration,
    /// How long a stream may take as a whole.
    pub request_timeout: Duration,
    /// How long connections are still taken after the stop signal, while `/ready` says 503 and
    /// events are refused: as long as a load balancer needs to notice.
    pub drain_delay: Duration,
    /// How long requests in flight have to finish, once connections are no longer taken.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_bytes_max: model::event::PAYLOAD_BYTES_MAX,
            ndjson_bytes_max: 256 * 1024 * 1024,
            batch_lines_max: 1000,
            batch_bytes_max: 1024 * 1024,
            batch_linger: Duration::from_millis(50),
            errors_listed_max: 100,
            streams_max: 64,
            connections_max: 1024,
            header_read_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            answer_stall_timeout: Duration::from_secs(30),
            offer_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(600),
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(10),
        }
    }
}
