//! Buffer and store URLs: which backend, where, and how it is kept.
//!
//! `journal:PATH?key=value&…`. The path is taken as it is written, up to the first `?`.
//! `redis://[user[:password]@]host[:port][/db]?list=NAME` or `?stream=NAME`, and
//! `redis-cluster://host:port,host:port?…`; with a trailing `s` (`rediss:`) over TLS.
//! `kafka://host:port,host:port/TOPIC?group=NAME`.
//! `sqs://HOST/ACCOUNT/QUEUE?region=…`, and `sqs+http:` for a local server.

mod kafka;
mod redis;
mod sqs;

use std::path::PathBuf;

use buffer::foreign::Fields;
use buffer::{Identity, memory};
use buffer_journal::Key;
use model::payment;

use crate::config::Error;

/// One mebibyte, in bytes.
const MIB: u64 = 1 << 20;
/// The variable that holds the keys of each journal whose URL names no key file.
pub(crate) const JOURNAL_KEY: &str = "FOREBAY_JOURNAL_KEY";
/// Backends that are planned and not built in.
const LATER: [&str; 1] = ["mysql"];
/// What is built in, as a clause.
const BUFFERS: &str = "journal:, redis:, redis-cluster:, kafka:, sqs: and memory: are";
const STORES: &str = "sqlite: and postgres: are";

/// Which buffer.
#[derive(Debug, Clone)]
pub(crate) enum Buffer {
    Journal(buffer_journal::Options),
    Memory(memory::Options),
    Redis(Box<buffer_redis::Options>),
    Kafka(Box<buffer_kafka::Options>),
    Sqs(Box<buffer_sqs::Options>),
}

/// Which store.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(store_sqlite::Options),
    Postgres(Box<store_postgres::Options>),
}

/// A URL in its parts.
struct Parts<'a> {
    scheme: &'a str,
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
}

impl Buffer {
    /// Reads the URL of a buffer of payments, as [`Buffer::parse_with`] does.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        Self::parse_with(url, Fields::named(payment::ID_FIELD, payment::KEY_FIELD))
    }

    /// Reads a buffer URL. `fields` hold the id and key of events of other producers, unless the URL names others.
    ///
    /// # Errors
    /// If the backend is not built in, or an option is unknown or out of bounds.
    pub(crate) fn parse_with(url: &str, fields: Fields) -> Result<Self, Error> {
        let parts = split("buffer", url, BUFFERS)?;
        match parts.scheme {
            "journal" => parts.journal().map(Self::Journal),
            "memory" => parts.memory().map(Self::Memory),
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" => {
                redis::options(&parts, fields).map(|options| Self::Redis(Box::new(options)))
            }
            "kafka" => kafka::options(&parts, fields).map(|options| Self::Kafka(Box::new(options))),
            "sqs" | "sqs+http" => {
                sqs::options(&parts, fields).map(|options| Self::Sqs(Box::new(options)))
            }
            other => Err(unknown("buffer", other, BUFFERS)),
        }
    }

    /// Whether several processes may settle from it at once.
    pub(crate) fn shared(&self) -> bool {
        matches!(self, Self::Redis(_) | Self::Kafka(_) | Self::Sqs(_))
    }

    /// Which buffer it is, whatever its spelling and its options.
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Journal(options) => options.identity(),
            Self::Memory(options) => options.identity(),
            Self::Redis(options) => options.identity(),
            Self::Kafka(options) => options.identity(),
            Self::Sqs(options) => options.identity(),
        }
    }

    /// What it is, as its kind is called.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Journal(_) => "journal",
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
            Self::Kafka(_) => "kafka",
            Self::Sqs(_) => "sqs",
        }
    }

    /// How long its leases last, in milliseconds.
    pub(crate) fn lease_ms(&self) -> u64 {
        let lease_ms = match self {
            Self::Journal(options) => options.lease_ms,
            Self::Memory(options) => options.lease_ms,
            Self::Redis(options) => options.lease_ms,
            Self::Kafka(options) => options.lease_ms,
            Self::Sqs(options) => options.visibility_ms,
        };
        u64::try_from(lease_ms).expect("a URL holds no negative lease")
    }
}

impl Store {
    /// What it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Reads a store URL.
    ///
    /// # Errors
    /// If the backend is not built in, or an option is unknown or out of bounds.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let parts = split("store", url, STORES)?;
        match parts.scheme {
            "sqlite" => parts.sqlite().map(Self::Sqlite),
            "postgres" | "postgresql" => {
                let options = store_postgres::Options::from_url(url);
                let options = options.map_err(|problem| Error(format!("store: {problem}")))?;
                Ok(Self::Postgres(Box::new(options)))
            }
            other => Err(unknown("store", other, STORES)),
        }
    }
}

impl Parts<'_> {
    fn sqlite(&self) -> Result<store_sqlite::Options, Error> {
        let mut options = store_sqlite::Options::at(self.path_for("store")?);
        for (key, text) in &self.query {
            match *key {
                "busy_timeout_ms" => options.busy_timeout_ms = number("store", key, text, 1)?,
                _ => return Err(no_option("store", key, &["busy_timeout_ms"])),
            }
        }
        Ok(options)
    }

    fn path_for(&self, key: &str) -> Result<PathBuf, Error> {
        if self.path.is_empty() {
            let scheme = self.scheme;
            return Err(Error(format!(
                "{key}: {scheme}: names no path; write e.g. {scheme}:./data/{key}"
            )));
        }
        // `journal:///srv/x` is the habit of other URLs, and means /srv/x here as well.
        Ok(PathBuf::from(self.path.strip_prefix("//").unwrap_or(self.path)))
    }

    fn journal(&self) -> Result<buffer_journal::Options, Error> {
        const KEYS: [&str; 8] = [
            "sync",
            "key_file",
            "segment_mib",
            "size_max_mib",
            "free_min_mib",
            "events_max",
            "lease_ms",
            "dead_max",
        ];
        let mut options = buffer_journal::Options::new(self.path_for("buffer")?);
        for (key, text) in &self.query {
            match *key {
                "sync" => options.sync = sync(text)?,
                "key_file" if text.is_empty() => {
                    let problem = "buffer: key_file is empty; name a file of keys";
                    return Err(Error(problem.to_owned()));
                }
                "key_file" => options.key = Key::File(PathBuf::from(text)),
                "segment_mib" => options.segment_bytes = number("buffer", key, text, 1_u64)? * MIB,
                "size_max_mib" => options.bytes_max = number("buffer", key, text, 1_u64)? * MIB,
                "free_min_mib" => {
                    options.free_min_bytes = number("buffer", key, text, 1_u64)? * MIB;
                }
                "events_max" => options.events_max = number("buffer", key, text, 1)?,
                "lease_ms" => options.lease_ms = number("buffer", key, text, 100)?,
                "dead_max" => options.dead_max = number("buffer", key, text, 1)?,
                _ => return Err(no_option("buffer", key, &KEYS)),
            }
        }
        if options.key == Key::None && std::env::var_os(JOURNAL_KEY).is_some() {
            options.key = Key::Variable(JOURNAL_KEY.to_owned());
        }
        if options.segment_bytes > MIB * 2048 {
            return Err(Error("buffer: segment_mib is at most 2048".to_owned()));
        }
        Ok(options)
    }

    fn memory(&self) -> Result<memory::Options, Error> {
        const KEYS: [&str; 4] = ["capacity", "size_max_mib", "lease_ms", "dead_max"];
        if !self.path.is_empty() {
            let problem = "buffer: memory: takes no path; write memory: or memory:?capacity=100000";
            return Err(Error(problem.to_owned()));
        }
        let mut options = memory::Options::default();
        for (key, text) in &self.query {
            match *key {
                "capacity" => options.events_max = number("buffer", key, text, 1)?,
                "size_max_mib" => {
                    let bytes = number("buffer", key, text, 1_u64)? * MIB;
                    options.bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
                }
                "lease_ms" => options.lease_ms = number("buffer", key, text, 100)?,
                "dead_max" => options.dead_max = number("buffer", key, text, 1)?,
                _ => return Err(no_option("buffer", key, &KEYS)),
            }
        }
        Ok(options)
    }
}

/// The URL with its secrets hidden: `redis://user:***@host/0`, `kafka://host/t?sasl.password=***`.
pub(crate) fn redacted(url: &str) -> String {
    let (login, rest) = match login_end(url) {
        Some(end) => (without_password(&url[..end]), &url[end..]),
        None => (String::new(), url),
    };
    let Some((place, query)) = rest.split_once('?') else { return login + rest };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    format!("{login}{place}?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "jaas", "key.pem"].iter().any(|word| name.contains(word))
}

/// `scheme://user:***` of `scheme://user:password`.
fn without_password(login: &str) -> String {
    let (scheme, login) = login.split_once("://").expect("a login stands behind ://");
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***"),
        None => format!("{scheme}://{login}"),
    }
}

/// Where the login of a URL ends: at the last `@` of its place. A password may hold an unencoded `/`,
/// `?` or `@`, and then no part of it may be shown, nor be taken for a host.
fn login_end(url: &str) -> Option<usize> {
    let start = url.find("://")? + "://".len();
    let rest = &url[start..];
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().filter(|authority| !authority.is_empty())?;
    if let Some(at) = place.rfind('@') {
        return Some(start + at);
    }
    // An @ behind the ? belongs to an option, unless what is before the ? can be no host and port, or
    // no option has begun.
    let at = query.rfind('@')?;
    let no_option = !query[..at].contains('=');
    let no_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']') && port.parse::<u16>().is_err());
    (no_option || no_port).then_some(start + place.len() + "?".len() + at)
}

fn split<'a>(key: &str, url: &'a str, built_in: &str) -> Result<Parts<'a>, Error> {
    let Some((scheme, rest)) = url.split_once(':') else {
        let shown = redacted(url);
        return Err(Error(format!("{key}: \"{shown}\" names no backend; {built_in} built in")));
    };
    let login = login_end(url).and_then(|end| Some(url[..end].split_once("://")?.1));
    if login.is_some_and(|login| login.contains(['/', '?'])) {
        let problem = "cannot read the URL: its login holds an unencoded character; percent-encode it \
                       (/ is %2F, ? is %3F, @ is %40)";
        return Err(Error(format!("{key}: {problem}")));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    Ok(Parts { scheme, path, query })
}

fn unknown(key: &str, scheme: &str, built_in: &str) -> Error {
    Error(if LATER.contains(&scheme) {
        format!("{key}: {scheme}: is not built into this version yet; {built_in}")
    } else {
        format!("{key}: there is no backend {scheme}: ; {built_in} built in")
    })
}

fn no_option(key: &str, option: &str, known: &[&str]) -> Error {
    let known = known.join(", ");
    Error(format!("{key}: the URL has no option \"{option}\"; there are {known}"))
}

fn sync(text: &str) -> Result<buffer_journal::Sync, Error> {
    match text {
        "always" => Ok(buffer_journal::Sync::Always),
        "os" => Ok(buffer_journal::Sync::Os),
        _ => Err(Error(format!("buffer: sync is \"{text}\"; it must be \"always\" or \"os\""))),
    }
}

/// Reads a whole number of at least `min` and at most a million million, so that a unit times it
/// still fits.
fn number<T>(key: &str, option: &str, text: &str, min: T) -> Result<T, Error>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + TryInto<u64> + Copy,
{
    let fits = |n: &T| *n >= min && (*n).try_into().is_ok_and(|n: u64| n <= 1_000_000_000_000);
    text.replace('_', "").parse().ok().filter(fits).ok_or_else(|| {
        Error(format!("{key}: {option} is \"{text}\"; it must be a whole number of at least {min}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(got: Result<impl std::fmt::Debug, Error>, expect: &str) {
        assert_eq!(got.unwrap_err().to_string(), expect);
    }

    #[test]
    fn a_journal_url_holds_its_path_and_options() {
        let url =
            "journal:./data/b?sync=os&segment_mib=8&free_min_mib=2&lease_ms=5_000&key_file=./k";
        let Buffer::Journal(options) = Buffer::parse(url).unwrap() else { panic!("no journal") };
        let expect = buffer_journal::Options {
            sync: buffer_journal::Sync::Os,
            free_min_bytes: 2 << 20,
            segment_bytes: 8 << 20,
            lease_ms: 5_000,
            key: Key::File("./k".into()),
            ..buffer_journal::Options::new("./data/b")
        };
        assert_eq!(options, expect);
        let Buffer::Journal(options) = Buffer::parse("journal:///srv/b").unwrap() else {
            panic!("no journal")
        };
        assert_eq!(options.dir, PathBuf::from("/srv/b"));
    }

    #[test]
    fn a_memory_url_holds_its_capacity() {
        let Buffer::Memory(options) = Buffer::parse("memory:?capacity=10").unwrap() else {
            panic!("no memory")
        };
        assert_eq!(options.events_max, 10);
    }

    #[test]
    fn a_backend_that_is_not_built_in_says_which_are() {
        let expect = "store: mysql: is not built into this version yet; sqlite: and postgres: are";
        refused(Store::parse("mysql://u:p@h/db"), expect);
        let expect = "buffer: there is no backend jurnal: ; \
                      journal:, redis:, redis-cluster:, kafka:, sqs: and memory: are built in";
        refused(Buffer::parse("jurnal:x"), expect);
        let expect = "store: \"data.db\" names no backend; sqlite: and postgres: are built in";
        refused(Store::parse("data.db"), expect);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let expect = "buffer: sync is \"never\"; it must be \"always\" or \"os\"";
        refused(Buffer::parse("journal:x?sync=never"), expect);
        let expect = "buffer: segment_mib is \"0\"; it must be a whole number of at least 1";
        refused(Buffer::parse("journal:x?segment_mib=0"), expect);
        let expect = "buffer: the URL has no option \"cap\"; \
                      there are capacity, size_max_mib, lease_ms, dead_max";
        refused(Buffer::parse("memory:?cap=1"), expect);
        let expect = "buffer: journal: names no path; write e.g. journal:./data/buffer";
        refused(Buffer::parse("journal:?sync=os"), expect);
        assert!(Buffer::parse("journal:x?segment_mib=99999999999999999999").is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(redacted("redis://u:s3cret@h:1/0?a=b"), "redis://u:***@h:1/0?a=b");
        assert_eq!(redacted("postgres://u:p@ss@h"), "postgres://u:***@h");
        assert_eq!(redacted("postgres://u@h/db"), "postgres://u@h/db");
        assert_eq!(redacted("journal:./a@b:c"), "journal:./a@b:c");
        assert_eq!(redacted("journal:///srv/a:b@c?sync=os"), "journal:///srv/a:b@c?sync=os");
        assert_eq!(redacted("kafka://h:1/t?sasl.username=a@b"), "kafka://h:1/t?sasl.username=a@b");
        assert_eq!(
            redacted("kafka://[::1]/t?sasl.username=a@b"),
            "kafka://[::1]/t?sasl.username=a@b"
        );
        assert_eq!(
            redacted("kafka://h/t?ssl.key.password=a@b"),
            "kafka://h/t?ssl.key.password=***"
        );
        assert_eq!(redacted("memory:?"), "memory:?");
    }

    #[test]
    fn no_part_of_an_unencoded_password_is_shown_or_taken_for_a_host() {
        let logins = ["postgres://app:p@ss/w0rd@h", "redis://app:p/w0rd@h", "kafka://app:p?w0rd@h"];
        for login in logins.into_iter().chain(["rediss://app:p/w0?rd@h", "postgres://a:7?w0rd@h"]) {
            let scheme = login.split_once(':').unwrap().0;
            let user = if login.contains("app") { "app" } else { "a" };
            let url = format!("{login}:1/shop?list=q");
            assert_eq!(redacted(&url), format!("{scheme}://{user}:***@h:1/shop?list=q"));
            let expect = ": cannot read the URL: its login holds an unencoded character; \
                          percent-encode it (/ is %2F, ? is %3F, @ is %40)";
            match scheme {
                "postgres" => refused(Store::parse(&url), &format!("store{expect}")),
                _ => refused(Buffer::parse(&url), &format!("buffer{expect}")),
            }
        }
    }
}
