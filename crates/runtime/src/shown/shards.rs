//! Which process holds which shards and leases of a shared buffer.

use std::time::Duration;

use buffer::backend::{Distribution, Member};
use model::units::grouped;
use serde_json::{Value, json};

/// How wide a full bar is, in characters.
const BAR: u64 = 24;
/// Stands where a process would.
const NO_PROCESS: &str = "no process";

/// A line for each process, and one for the shards that no process holds. `name` is the buffer's.
#[must_use]
pub fn lines(name: &str, seen: &Distribution) -> Vec<String> {
    let waiting: u64 = seen.backlog.iter().sum();
    let source = match seen.source {
        0 => String::new(),
        events => format!(", {} not yet routed", grouped(events)),
    };
    let width =
        seen.members.iter().map(|member| member.id.len()).max().unwrap_or(0).max(NO_PROCESS.len());
    let mut lines = vec![
        format!(
            "{name}: {} processes, {} shards, {} events wait{source}",
            seen.members.len(),
            seen.backlog.len(),
            grouped(waiting)
        ),
        String::new(),
        format!("{:<width$}  given up in  leases    leased     waits  shards", "process"),
    ];
    let most = seen.members.iter().map(|member| backlog(seen, member)).max().unwrap_or(0).max(1);
    for member in &seen.members {
        let behind = backlog(seen, member);
        let bar = "█".repeat(usize::try_from(behind * BAR / most).unwrap_or(0));
        lines.push(format!(
            "{:<width$}  {:>9.1} s  {:>6}  {:>8}  {:>8}  {}  {bar}",
            member.id,
            Duration::from_millis(given_up_in_ms(seen, member)).as_secs_f64(),
            member.leases,
            grouped(member.events),
            grouped(behind),
            ranges(&member.shards),
        ));
    }
    let free = free(seen);
    if !free.is_empty() {
        lines.push(format!("{NO_PROCESS:<width$}  {}", ranges(&free)));
    }
    lines
}

/// How long until a member is given up, unless it is heard of again.
fn given_up_in_ms(seen: &Distribution, member: &Member) -> u64 {
    u64::try_from(member.deadline_ms - seen.now_ms).unwrap_or(0)
}

/// The shards that no process holds.
fn free(seen: &Distribution) -> Vec<u16> {
    let held = |shard: &u16| seen.members.iter().any(|member| member.shards.contains(shard));
    let shards = u16::try_from(seen.backlog.len()).expect("shards are counted in 16 bits");
    (0..shards).filter(|shard| !held(shard)).collect()
}

/// Events that wait in a member's shards.
fn backlog(seen: &Distribution, member: &Member) -> u64 {
    let waiting = |shard: &u16| seen.backlog.get(usize::from(*shard)).copied().unwrap_or(0);
    member.shards.iter().map(waiting).sum()
}

/// `0-3 7 9-10`.
fn ranges(shards: &[u16]) -> String {
    let mut shards = shards.to_vec();
    shards.sort_unstable();
    let runs = shards.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

/// The same for a script: an object.
#[must_use]
pub fn json(seen: &Distribution) -> Value {
    let members: Vec<_> = seen
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.id,
                "given_up_in_ms": given_up_in_ms(seen, member),
                "shards": member.shards,
                "leases": member.leases,
                "leased": member.events,
                "waiting": backlog(seen, member),
            })
        })
        .collect();
    json!({
        "members": members,
        "waiting_by_shard": seen.backlog,
        "free_shards": free(seen),
        "not_routed": seen.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, shards: &[u16]) -> Member {
        Member {
            id: id.to_owned(),
            deadline_ms: 10_240,
            shards: shards.to_vec(),
            leases: 2,
            events: 1_500,
        }
    }

    #[test]
    fn each_process_has_a_line_with_its_shards_and_what_waits_in_them() {
        let seen = Distribution {
            now_ms: 1_000,
            members: vec![member("host:7:a1", &[0, 1, 3]), member("b2", &[2])],
            backlog: vec![10, 0, 0, 2, 1],
            source: 7,
        };
        let lines = lines("tx_queue", &seen);
        assert_eq!(lines[0], "tx_queue: 2 processes, 5 shards, 13 events wait, 7 not yet routed");
        assert!(
            lines[3].starts_with("host:7:a1         9.2 s       2     1,500        12  0-1 3"),
            "{}",
            lines[3]
        );
        assert!(lines[3].ends_with(&"█".repeat(24)), "{}", lines[3]);
        assert!(lines[4].ends_with("         0  2  "), "{}", lines[4]);
        assert_eq!(lines[2].find("given up in"), lines[5].find('4'));
        assert_eq!(lines[5], "no process  4");
        assert_eq!(super::json(&seen)["free_shards"], json!([4]));
        assert_eq!(super::json(&seen)["members"][0]["waiting"], 12);
        assert_eq!(super::json(&seen)["members"][0]["given_up_in_ms"], 9_240);
    }

    #[test]
    fn shards_that_follow_each_other_are_drawn_together() {
        assert_eq!(ranges(&[10, 0, 1, 2, 7, 9]), "0-2 7 9-10");
        assert_eq!(ranges(&[]), "");
    }
}
