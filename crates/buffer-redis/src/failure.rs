//! What Redis refuses or fails at, in the words of the contract.

use buffer::Error;
use redis::{ErrorKind, RedisError};

use crate::rights;

const DENIED: &str =
    "redis: it asks for another user or password: give them in REDIS_PASSWORD or the URL";

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// We are no longer a member, or the shard is no longer ours.
    Fenced,
    /// The buffer's own keys are gone: it has to be opened anew.
    Lost,
    /// A bound is reached.
    Full,
    /// It could never fit.
    TooMany(usize),
    /// Redis has no memory left for it.
    Memory,
    /// Redis asks for another user or password.
    Denied,
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// In the words of the contract, where no better answer is known.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Other(error) => error,
            Self::Memory => full("the maxmemory of Redis".to_owned()),
            // Of a Redis that let us in before: somebody changes passwords, or it was replaced, and whoever
            // gave up now would stay away once that is mended.
            Self::Denied => Error::Unavailable(DENIED.to_owned()),
            Self::Full => full("a bound of the buffer".to_owned()),
            Self::TooMany(got) => Error::TooMany { got, max: 0 },
            Self::Fenced => Error::Unavailable(
                "another process took this one's shards over; it joins again".to_owned(),
            ),
            Self::Lost => Error::Unavailable(
                "the buffer's keys are gone from Redis: flushed, or on their way to another master"
                    .to_owned(),
            ),
        }
    }

    /// The same for whoever opens, to whom another password is an error of the settings.
    pub(crate) fn at_open(self) -> Error {
        match self {
            Self::Denied => Error::Open(DENIED.to_owned()),
            failure => failure.error(),
        }
    }
}

/// A refusal that names the bound.
pub(crate) fn full(bound: String) -> Error {
    Error::Full { bound, retry_after: std::time::Duration::from_secs(1) }
}

/// Whether the reply may have been lost on its way, or never came: the connection is in doubt.
pub(crate) fn breaks(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound | ErrorKind::Parse | ErrorKind::Client
    ) || error.is_timeout()
        || error.is_connection_dropped()
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code().unwrap_or_default() {
            "FENCED" => return Self::Fenced,
            "LOST" => return Self::Lost,
            "FULL" => return Self::Full,
            "TOOMANY" => {
                let got = error.detail().and_then(|n| n.trim().parse().ok()).unwrap_or(0);
                return Self::TooMany(got);
            }
            "OOM" => return Self::Memory,
            _ => {}
        }
        let text = error.to_string();
        // An error inside a script is told with the script's name around it.
        if text.contains("OOM command not allowed") {
            return Self::Memory;
        }
        let denied = |code: &&str| error.code() == Some(*code) || text.contains(*code);
        if ["NOAUTH", "WRONGPASS"].iter().any(denied)
            || error.kind() == ErrorKind::AuthenticationFailed
        {
            return Self::Denied;
        }
        Self::Other(other(&error, &text))
    }
}

/// What a person has to mend.
pub(crate) fn open_error(why: &str) -> Error {
    Error::Open(format!("redis: {why}"))
}

fn other(error: &RedisError, text: &str) -> Error {
    let has = |codes: &[&str]| {
        codes.iter().any(|code| error.code() == Some(*code) || text.contains(code))
    };
    match error.code().unwrap_or_default() {
        "SHARDS" | "LAYOUT" | "FORMAT" => return Error::Open(mismatch(error)),
        _ => {}
    }
    if has(&["WRONGTYPE"]) {
        return Error::Open(
            "redis: a key of this buffer holds something else: name another list or stream, or \
             say ?stream= for a stream and ?list= for a list"
                .to_owned(),
        );
    }
    if let Some(what) = rights::forbidden(error) {
        return open_error(&format!(
            "the user may not use {what}; `forebay config check` prints the line that allows it"
        ));
    }
    if has(&["unknown command", "Unknown Redis command"]) {
        return Error::Open(format!("redis: this server is too old (6.2 is needed): {text}"));
    }
    if error.kind() == ErrorKind::InvalidClientConfig {
        return Error::Open(format!("redis: {text}"));
    }
    Error::Unavailable(format!("redis: {text}"))
}

fn mismatch(error: &RedisError) -> String {
    let stored = error.detail().unwrap_or_default().trim().to_owned();
    match error.code().unwrap_or_default() {
        "SHARDS" => format!(
            "redis: this buffer has {stored} shards: open it with shards={stored}, or drain it, \
             delete its keys and open it anew"
        ),
        "LAYOUT" => format!("redis: this buffer is a {stored}: open it with ?{stored}="),
        _ => format!("redis: this buffer has format {stored}, which this version can't read"),
    }
}
