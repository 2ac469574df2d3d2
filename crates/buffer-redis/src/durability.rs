//! Whether this Redis may be called durable, and what keeps it from accepting anything.

use buffer::Error;

use crate::failure::{Failure, is_unknown_script};
use crate::options::{Layout, Options};
use crate::place::Place;
use crate::rights;
use crate::script::STANDING;

const ALWAYS: &str = "a restart, a crash and a power cut of Redis (appendfsync always)";
const EVERYSEC: &str = "a restart or a crash of Redis; a power cut of its machine costs the last \
                        second or two (appendfsync everysec)";
const SYSTEM: &str = "a restart or a crash of Redis; a power cut of its machine costs what the \
                      system had not yet written (appendfsync no)";
const REWRITING: &str = "a restart or a crash of Redis; a power cut of its machine during a rewrite of the \
                         append-only file costs what the system had not yet written \
                         (no-appendfsync-on-rewrite yes)";
const UNTOLD: &str = "a restart of Redis as far as its append-only file goes (it does not say how \
                      often it syncs)";
const NOTHING: &str = "no restart of Redis that can be relied on: see `config check`";
pub(crate) const UNKNOWN: &str = "whatever Redis survives: it could not be asked yet";

/// What this Redis promises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistence {
    /// Whether it writes an append-only file; none if it would not say.
    pub aof: Option<bool>,
    /// Its `appendfsync`; none if it would not say.
    pub fsync: Option<String>,
    /// Whether it syncs nothing while it rewrites that file; none if it would not say.
    pub unsynced_rewrites: Option<bool>,
    /// Its `maxmemory`, in bytes; 0 is none.
    pub maxmemory_bytes: u64,
    /// Its `maxmemory-policy`; none if it would not say.
    pub policy: Option<String>,
    /// What is wrong and how to mend it, one sentence each.
    pub problems: Vec<String>,
    /// What an accepted event survives, in plain words.
    pub survives: String,
}

/// What an accepted event survives, by what was found.
pub(crate) fn words(found: &Persistence) -> &'static str {
    if !found.problems.is_empty() {
        return NOTHING;
    }
    match found.fsync.as_deref() {
        Some("always" | "everysec") if found.unsynced_rewrites == Some(true) => REWRITING,
        Some("always") => ALWAYS,
        Some("everysec") => EVERYSEC,
        Some("no") => SYSTEM,
        _ => UNTOLD,
    }
}

/// Asks the node that holds the buffer.
pub(crate) async fn read(place: &Place) -> Result<Persistence, Failure> {
    let (_, maxmemory_bytes, policy, aof): (u64, u64, String, String) =
        place.call(&place.rest, &place.scripts.memory, |_| {}).await?;
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    let unsynced = setting(place, "no-appendfsync-on-rewrite").await;
    let mut found = Persistence {
        aof: told(aof).map(|enabled| enabled == "1"),
        fsync: setting(place, "appendfsync").await,
        unsynced_rewrites: unsynced.map(|unsynced| unsynced == "yes"),
        maxmemory_bytes,
        policy: told(policy),
        ..Persistence::default()
    };
    found.problems = problems(&found);
    found.survives = words(&found).to_owned();
    Ok(found)
}

/// A setting, unless CONFIG is forbidden. The command follows a script on the node of the buffer.
async fn setting(place: &Place, name: &str) -> Option<String> {
    let mut pipe = redis::pipe();
    pipe.add_command(place.script(false, &place.scripts.memory))
        .ignore()
        .cmd("CONFIG")
        .arg("GET")
        .arg(name);
    match place.rest.run_all::<(Vec<String>,)>(&pipe).await {
        Ok((pair,)) => pair.into_iter().nth(1),
        Err(error) => {
            if !is_unknown_script(&error) {
                tracing::debug!(%error, name, "redis does not tell this setting");
            }
            None
        }
    }
}

/// What was found where the buffer lies.
struct Standing {
    /// Of what type the key of this name is; `none` if there is none.
    kind: String,
    /// The layout of the buffer that was made there; empty if none was.
    layout: String,
    /// Host and port of the server this one is a replica of; empty if it is of none.
    master: String,
    /// How many replicas are connected; none if it would not say.
    replicas: Option<u32>,
}

/// What keeps offers from being accepted or settled though Redis answers, and how to mend it.
pub(crate) async fn obstacles(place: &Place) -> Result<Vec<String>, Error> {
    rights::check(place).await.map_err(Failure::at_open)?;
    let mut ask = redis::cmd("EVAL");
    ask.arg(STANDING).arg(1).arg(&place.options.name);
    let (kind, layout, master, replicas): (String, String, String, String) =
        place.rest.run(&ask).await.map_err(|error| Failure::from(error).at_open())?;
    let found = Standing { kind, layout, master, replicas: replicas.parse().ok() };
    Ok(in_the_way(&found, &place.options))
}

fn in_the_way(found: &Standing, options: &Options) -> Vec<String> {
    let (name, Standing { kind, layout, master, .. }) = (&options.name, found);
    let (wanted, other) = match options.layout {
        Layout::List => ("list", "stream"),
        Layout::Stream { .. } => ("stream", "list"),
    };
    let mut sentences = Vec::new();
    if layout == other || kind == other {
        sentences.push(format!(
            "{name} is a {other} in Redis, and a {wanted} is configured: write ?{other}={name} in \
             the buffer's URL, or take another name"
        ));
    } else if ![wanted, "none", ""].contains(&kind.as_str()) {
        sentences.push(format!(
            "{name} is a {kind} in Redis, and neither a list nor a stream: take another name in \
             the buffer's URL"
        ));
    }
    let (wait, connected) = (options.wait_replicas, found.replicas);
    if !master.is_empty() {
        // One that may be written to is no better: what it took is gone when it syncs again.
        sentences.push(format!(
            "this Redis is a replica of {master} and keeps no offers: name {master} in the \
             buffer's URL"
        ));
    } else if let Some(connected) = connected
        && connected < wait
    {
        sentences.push(format!(
            "wait_replicas={wait}, but Redis has only {connected} connected, so no offer counts as \
             accepted: connect as many, or lower wait_replicas in the buffer's URL"
        ));
    }
    sentences
}

fn problems(found: &Persistence) -> Vec<String> {
    let mut problems = Vec::new();
    match found.aof {
        Some(true) => {}
        Some(false) => problems.push(
            "appendonly is no: a restart of Redis would lose accepted events; set it with \
             `CONFIG SET appendonly yes`, and `appendonly yes` in redis.conf"
                .to_owned(),
        ),
        None => problems.push(
            "Redis does not say whether it writes an append-only file; see that it does".to_owned(),
        ),
    }
    match found.policy.as_deref() {
        Some("noeviction") => {}
        Some(policy) if policy.starts_with("volatile-") => {
            // Our keys never expire, so none of them is ever chosen.
        }
        Some(policy) => problems.push(format!(
            "maxmemory-policy is {policy}: Redis would delete accepted events when it is full; set \
             it with `CONFIG SET maxmemory-policy noeviction`, and the same in redis.conf"
        )),
        None => problems
            .push("Redis does not say its maxmemory-policy; see that it is noeviction".to_owned()),
    }
    problems
}

#[cfg(test)]
mod tests {
    use buffer::foreign::Fields;

    use super::*;
    use crate::Server;

    fn options(stream: bool, wait_replicas: u32) -> Options {
        let server = Server::plain("127.0.0.1:6379");
        let options = match stream {
            true => Options::stream(server, "n", "g", Fields::named("id", "key")),
            false => Options::list(server, "n", Fields::named("id", "key")),
        };
        Options { wait_replicas, ..options }
    }

    #[test]
    fn what_keeps_offers_from_being_accepted_is_told_with_how_to_mend_it() {
        let check = |(stream, wait): (bool, u32), found: [&str; 4], expect: &[&str]| {
            let [kind, layout, master, replicas] = found.map(str::to_owned);
            let found = Standing { kind, layout, master, replicas: replicas.parse().ok() };
            let got = in_the_way(&found, &options(stream, wait));
            assert_eq!(got.len(), expect.len(), "{got:?}");
            let says = |(got, expect): (&String, &&str)| got.contains(*expect);
            assert!(got.iter().zip(expect).all(says), "{got:?}");
        };
        let (list, stream) = ((false, 0), (true, 0));
        check(list, ["none", "", "", "0"], &[]);
        check(list, ["list", "list", "", "0"], &[]);
        check(stream, ["stream", "", "", "0"], &[]);
        check(stream, ["list", "", "", "0"], &["write ?list=n"]);
        // Whatever was pushed has been taken, so that only the buffer's own keys tell.
        check(stream, ["none", "list", "", "0"], &["write ?list=n"]);
        check(list, ["stream", "", "", "0"], &["write ?stream=n"]);
        check(list, ["hash", "", "", "0"], &["n is a hash"]);
        check(list, ["none", "", "m:1", "0"], &["name m:1"]);
        check((false, 2), ["none", "", "", "1"], &["only 1 connected"]);
        check((false, 2), ["none", "", "", "2"], &[]);
        // One that does not tell is taken at its word.
        check((false, 2), ["", "", "", ""], &[]);
        check((true, 1), ["list", "", "m:1", "0"], &["write ?list=n", "name m:1"]);
    }
}
