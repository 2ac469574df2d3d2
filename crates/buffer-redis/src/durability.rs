//! Whether this Redis may be called durable, and what it says of itself.

use buffer::Error;

use crate::failure::Failure;
use crate::inspect::Durability;
use crate::shared::{Shared, is_unknown_script};

const ALWAYS: &str = "a restart, a crash and a power cut of Redis (appendfsync always)";
const EVERYSEC: &str = "a restart or a crash of Redis; a power cut of its machine costs the last \
                        second or two (appendfsync everysec)";
const SYSTEM: &str = "a restart or a crash of Redis; a power cut of its machine costs what the \
                      system had not yet written (appendfsync no)";
const UNTOLD: &str = "a restart of Redis as far as its append-only file goes (it does not say how \
                      often it syncs)";
const NOTHING: &str = "no restart of Redis that can be relied on: see `config check`";
pub(crate) const UNKNOWN: &str = "whatever Redis survives: it could not be asked yet";

/// What an accepted event survives, by what was found.
pub(crate) fn words(found: &Durability) -> &'static str {
    if !found.problems.is_empty() {
        return NOTHING;
    }
    match found.fsync.as_deref() {
        Some("always") => ALWAYS,
        Some("everysec") => EVERYSEC,
        Some("no") => SYSTEM,
        _ => UNTOLD,
    }
}

/// Asks the node that holds the buffer.
pub(crate) async fn read(shared: &Shared) -> Result<Durability, Error> {
    let (_, maxmemory_bytes, policy, aof): (u64, u64, String, String) =
        shared.call(&shared.rest, &shared.scripts.memory, |_| {}).await.map_err(Failure::error)?;
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut found = Durability {
        aof: told(aof).map(|enabled| enabled == "1"),
        fsync: fsync(shared).await,
        maxmemory_bytes,
        policy: told(policy),
        ..Durability::default()
    };
    found.problems = problems(&found);
    found.survives = words(&found).to_owned();
    Ok(found)
}

/// `appendfsync`, unless CONFIG is forbidden. It follows a script on the node of the buffer.
async fn fsync(shared: &Shared) -> Option<String> {
    let mut pipe = redis::pipe();
    pipe.add_command(shared.scripts.memory.call(false, &shared.options.name, &shared.group))
        .ignore()
        .cmd("CONFIG")
        .arg("GET")
        .arg("appendfsync");
    match shared.rest.run_all::<(Vec<String>,)>(&pipe).await {
        Ok((pair,)) => pair.into_iter().nth(1),
        Err(error) => {
            if !is_unknown_script(&error) {
                tracing::debug!(%error, "redis does not tell its appendfsync");
            }
            None
        }
    }
}

fn problems(found: &Durability) -> Vec<String> {
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
