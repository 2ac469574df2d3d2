//! What Redis refuses or fails at, in the words of the contract.

use buffer::Error;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::options::Server;

/// Of a connection that was let in, or that sent no AUTH.
const DENIED: &str = "cannot log in: Redis asks for another user or password; give them in REDIS_PASSWORD or \
                      the URL";
/// What the client makes of a refused AUTH. A cluster's client hands on the text alone.
const AUTH_REFUSED: &str = "Password authentication failed";
/// What Redis answers without AUTH. Of a refused SELECT, the client hands on the text alone.
const AUTH_REQUIRED: &str = "Authentication required";

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// We are no longer a member, or the shard is no longer ours.
    Fenced,
    /// The buffer's own keys are gone: it has to be opened anew.
    Lost,
    /// The buffer was erased; the key that says so.
    Erased(String),
    /// A bound is reached.
    Full,
    /// It could never fit.
    TooMany(usize),
    /// Redis has no memory left for it.
    Memory,
    /// Redis asks for another user or password; why, and what to do.
    Denied(String),
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
            Self::Denied(why) => Error::Unavailable(format!("redis: {why}")),
            Self::Full => full("a bound of the buffer".to_owned()),
            Self::TooMany(got) => Error::TooMany { got, max: 0 },
            Self::Fenced => Error::Unavailable(
                "another process took this one's shards over; it joins again".to_owned(),
            ),
            Self::Erased(key) => open_error(&format!(
                "cannot open the buffer: it was erased; to make it anew, run DEL \"{key}\" in redis-cli, or \
                 take another name"
            )),
            Self::Lost => Error::Unavailable(
                "the buffer's keys are gone from Redis: flushed, or on their way to another master"
                    .to_owned(),
            ),
        }
    }

    /// The same for whoever opens, to whom another password is an error of the settings.
    pub(crate) fn at_open(self) -> Error {
        match self {
            Self::Denied(why) => open_error(&why),
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
            "ERASED" => return Self::Erased(error.detail().unwrap_or_default().trim().to_owned()),
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
        if is_denied(&error) {
            let named = error.kind() == ErrorKind::AuthenticationFailed;
            let why = error.detail().filter(|_| named).unwrap_or(DENIED);
            return Self::Denied(why.to_owned());
        }
        Self::Other(other(&error, &text))
    }
}

/// Whether Redis asks for another user or password.
pub(crate) fn is_denied(error: &RedisError) -> bool {
    let text = error.to_string();
    let says = |part: &&str| error.code() == Some(*part) || text.contains(*part);
    error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS", AUTH_REFUSED, AUTH_REQUIRED].iter().any(says)
}

/// What Redis refuses in an error of a script or of a command.
pub(crate) fn forbidden(error: &RedisError) -> Option<String> {
    let text = format!("{error} {}", error.detail().unwrap_or_default());
    let denied = [
        "NOPERM",
        "ACL failure",
        "can't run this command",
        "can't access at least one",
        // Of the commands that the client itself sends, it hands on the text without the code.
        "no permissions to",
    ];
    let refused = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm);
    if !refused && !denied.iter().any(|part| text.contains(part)) {
        return None;
    }
    let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
    Some(match command {
        Some((command, _)) => format!("the command {}", command.to_lowercase()),
        None if text.contains("key") => "one of its keys".to_owned(),
        None => "one of its commands".to_owned(),
    })
}

/// Whether Redis does not know the script that it was to run by its hash.
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Why Redis refused to let this user in, and what to do.
pub(crate) fn login_refused(server: &Server) -> String {
    match (&server.user, &server.password) {
        (Some(user), None) => format!(
            "cannot log in as the user {user} without a password: Redis does not know the user, has disabled \
             it, or wants its password; give the password in REDIS_PASSWORD or the URL"
        ),
        (Some(user), Some(_)) => format!(
            "cannot log in as the user {user}: Redis does not know the user, has disabled it, or refuses the \
             password; give the right ones in REDIS_PASSWORD or the URL"
        ),
        (None, Some(_)) => {
            "cannot log in: Redis refuses the password; give the right one in REDIS_PASSWORD \
                            or the URL"
                .to_owned()
        }
        (None, None) => DENIED.to_owned(),
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
    if let Some(what) = forbidden(error) {
        return open_error(&format!(
            "the user may not use {what}; `forebay config check` prints the line that allows it"
        ));
    }
    if has(&["unknown command", "Unknown Redis command"]) {
        return Error::Open(format!("redis: this server is too old (6.2 is needed): {text}"));
    }
    let detail = error.detail().unwrap_or_default();
    if ["DB index is out of range", "SELECT is not allowed"]
        .iter()
        .any(|part| detail.contains(part))
    {
        return open_error(&format!(
            "cannot select the database: {detail}; name a database of this Redis in the URL"
        ));
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
