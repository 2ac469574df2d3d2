//! Redis URLs.

use buffer::foreign::Fields;
use buffer_redis::{Connections, Layout, Options, Poll, Server};

use super::{MIB, Parts, no_option, number};
use crate::config::Error;

/// What `host` listens on when the URL says nothing.
const PORT: u16 = 6379;
/// What a buffer may be told in its URL.
const KEYS: [&str; 16] = [
    "list",
    "stream",
    "group",
    "field",
    "shards",
    "events_max",
    "memory_max_mib",
    "lease_ms",
    "member_ms",
    "dead_max",
    "id",
    "key",
    "poll",
    "connections",
    "wait_replicas",
    "timeout_ms",
];

/// Reads the parts of a `redis:` URL and its relatives.
///
/// # Errors
/// If it names no server, not exactly one of a list and a stream, or an option out of bounds.
pub(super) fn options(parts: &Parts<'_>, fields: Fields) -> Result<Options, Error> {
    let server = server(parts)?;
    let value =
        |key: &str| parts.query.iter().find(|(name, _)| *name == key).map(|(_, text)| *text);
    let named = |key: &str| value(key).map(|text| decoded(text, key)).transpose();
    let mut options = match (named("list")?, named("stream")?) {
        (Some(list), None) => Options::list(server, &list, fields),
        (None, Some(stream)) => {
            let group = named("group")?.unwrap_or_else(|| "forebay".to_owned());
            Options::stream(server, &stream, &group, fields)
        }
        _ => {
            let problem = "buffer: a Redis URL names one list or one stream; \
                           write e.g. redis://127.0.0.1:6379/0?list=tx_queue";
            return Err(Error(problem.to_owned()));
        }
    };
    for (key, text) in &parts.query {
        set(&mut options, key, text)?;
    }
    if matches!((&options.layout, options.poll), (Layout::List, Poll::Blocking)) {
        let problem = "buffer: a list is always polled; leave poll out, or use a stream";
        return Err(Error(problem.to_owned()));
    }
    options.validate().map_err(|error| Error(format!("buffer: {error}")))?;
    Ok(options)
}

fn set(options: &mut Options, key: &str, text: &str) -> Result<(), Error> {
    match key {
        "list" | "stream" => {}
        "group" | "field" => match &mut options.layout {
            Layout::Stream { field, .. } if key == "field" => *field = Some(decoded(text, key)?),
            Layout::Stream { .. } => {}
            Layout::List => return Err(Error(format!("buffer: a list has no {key}; streams do"))),
        },
        "shards" => options.shards = small(key, text, buffer_redis::SHARDS_MAX)?,
        "events_max" => options.events_max = number("buffer", key, text, 1)?,
        "memory_max_mib" => {
            options.memory_max_bytes = number("buffer", key, text, 1_u64)? * MIB;
        }
        "lease_ms" => options.lease_ms = number("buffer", key, text, 100)?,
        "member_ms" => options.member_ms = number("buffer", key, text, 100)?,
        "dead_max" => options.dead_max = number("buffer", key, text, 1)?,
        "id" => options.fields.id = decoded(text, key)?,
        "key" => options.fields.key = decoded(text, key)?,
        "poll" => {
            let choices = [("blocking", Poll::Blocking), ("non-blocking", Poll::NonBlocking)];
            options.poll = one_of(key, text, choices)?;
        }
        "connections" => {
            let choices = [("shared", Connections::Shared), ("dedicated", Connections::Dedicated)];
            options.connections = one_of(key, text, choices)?;
        }
        "wait_replicas" => options.wait_replicas = number("buffer", key, text, 0)?,
        "timeout_ms" => options.response_timeout_ms = number("buffer", key, text, 10)?,
        _ => return Err(no_option("buffer", key, &KEYS)),
    }
    Ok(())
}

fn server(parts: &Parts<'_>) -> Result<Server, Error> {
    let invalid = |what: &str| {
        let scheme = parts.scheme;
        Error(format!("buffer: {what}; write e.g. {scheme}://127.0.0.1:{PORT}/0?list=tx_queue"))
    };
    let rest = parts.path.strip_prefix("//").ok_or_else(|| invalid("a Redis URL needs //"))?;
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    let cluster = parts.scheme.ends_with("-cluster");
    let addresses = hosts.split(',').map(address).collect::<Option<Vec<_>>>();
    let addresses =
        addresses.ok_or_else(|| invalid("no server, or no port, that could be read"))?;
    if addresses.len() > 1 && !cluster {
        return Err(invalid("several servers are redis-cluster://"));
    }
    let db = match db {
        "" => 0,
        _ if cluster && db != "0" => return Err(invalid("a cluster has database 0 alone")),
        text => text.parse().map_err(|_| invalid("the database is no number"))?,
    };
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (decoded(user, "user")?, decoded(password, "password")?),
        None => (String::new(), String::new()),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let tls = parts.scheme.starts_with("rediss");
    Ok(Server { addresses, cluster, tls, db, user: given(user), password: given(password) })
}

/// `host`, `host:port` or `[address]:port`.
fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Text with its `%XX` read.
pub(super) fn decoded(text: &str, key: &str) -> Result<String, Error> {
    let wrong = || Error(format!("buffer: {key} holds a % that is not followed by two digits"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok()).ok_or_else(wrong)?;
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

pub(super) fn small(key: &str, text: &str, max: u16) -> Result<u16, Error> {
    let number: u64 = number("buffer", key, text, 1)?;
    let fits = u16::try_from(number).ok().filter(|number| *number <= max);
    fits.ok_or_else(|| Error(format!("buffer: {key} is {number}; it must be 1 to {max}")))
}

pub(super) fn one_of<T>(key: &str, text: &str, choices: [(&str, T); 2]) -> Result<T, Error> {
    let words = choices.each_ref().map(|(word, _)| format!("\"{word}\"")).join(" or ");
    let chosen = choices.into_iter().find(|(word, _)| *word == text);
    chosen
        .map(|(_, choice)| choice)
        .ok_or_else(|| Error(format!("buffer: {key} is \"{text}\"; it must be {words}")))
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::*;

    fn read(url: &str) -> Options {
        match Buffer::parse(url).unwrap() {
            Buffer::Redis(options) => *options,
            other => panic!("{url} is {other:?}"),
        }
    }

    fn refused(url: &str, expect: &str) {
        let error = Buffer::parse(url).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
    }

    #[test]
    fn a_list_url_holds_server_name_and_options() {
        let options =
            read("redis://u:p%40ss@10.0.0.7:6380/3?list=tx_queue&shards=4&lease_ms=5_000");
        let Server { addresses, cluster, tls, db, user, password } = options.server;
        assert_eq!(addresses, [("10.0.0.7".to_owned(), 6380)]);
        assert_eq!((cluster, tls, db), (false, false, 3));
        assert_eq!((user.as_deref(), password.as_deref()), (Some("u"), Some("p@ss")));
        assert!(matches!(options.layout, Layout::List));
        assert_eq!(
            (options.name.as_str(), options.shards, options.lease_ms),
            ("tx_queue", 4, 5_000)
        );
    }

    #[test]
    fn a_stream_url_holds_its_group() {
        let options = read("rediss://h?stream=tx_stream&group=fds&poll=non-blocking");
        assert!(options.server.tls && options.server.addresses[0].1 == PORT);
        let Layout::Stream { group, field } = options.layout else { panic!("no stream") };
        assert_eq!((group.as_str(), field), ("fds", None));
        assert!(matches!(options.poll, Poll::NonBlocking));
    }

    #[test]
    fn a_cluster_url_holds_several_servers() {
        let options = read("redis-cluster://a:1,[::1]:2?list=q&wait_replicas=1");
        assert!(options.server.cluster);
        let expect = [("a".to_owned(), 1), ("::1".to_owned(), 2)];
        assert_eq!((options.server.addresses.as_slice(), options.wait_replicas), (&expect[..], 1));
    }

    #[test]
    fn what_can_not_be_read_says_what_to_write() {
        refused("redis://h/0", "buffer: a Redis URL names one list or one stream; write e.g.");
        refused("redis://h?list=a&stream=b", "buffer: a Redis URL names one list or one stream");
        refused(
            "redis:h?list=a",
            "buffer: a Redis URL needs //; write e.g. redis://127.0.0.1:6379",
        );
        refused("redis://a:1,b:2?list=q", "buffer: several servers are redis-cluster://");
        refused("redis://h:port?list=q", "buffer: no server, or no port, that could be read");
        refused("redis-cluster://h:1/2?list=q", "buffer: a cluster has database 0 alone");
        refused("redis://h?list=q&group=g", "buffer: a list has no group; streams do");
        refused(
            "redis://h?list=q&poll=never",
            "buffer: poll is \"never\"; it must be \"blocking\" or",
        );
        refused("redis://h?list=q&shards=257", "buffer: shards is 257; it must be 1 to 256");
        refused(
            "redis://h?list=q&shard=2",
            "buffer: the URL has no option \"shard\"; there are list,",
        );
    }
}
