//! What a user of Redis must be allowed, and what it is not.
//!
//! The commands are read from the scripts, so that none is forgotten. Redis 7 says within a script what its
//! user may do; an older one says so only when a step is refused.

use std::collections::BTreeSet;

use crate::failure::{Failure, forbidden, open_error};
use crate::options::{Layout, Options};
use crate::place::Place;
use crate::script::{STANDING, Scripts};

/// Commands outside of scripts, for every buffer.
const DIRECT: [&str; 3] = ["EVAL", "EVALSHA", "XRANGE"];
/// Commands that name no key right behind them: the check tells nothing of keys by them.
const KEYLESS: [&str; 13] = [
    "ASKING",
    "CLUSTER|SLOTS",
    "EVAL",
    "EVALSHA",
    "EXEC",
    "INFO",
    "MULTI",
    "PING",
    "SELECT",
    "TIME",
    "WAIT",
    "XREAD",
    "XREADGROUP",
];
/// Commands whose refusal is no obstacle: what they tell is then unknown, or polled, and who erases is told.
const OPTIONAL: [&str; 5] = ["INFO", "SET", "TYPE", "XINFO|CONSUMERS", "XREAD"];
/// Commands of which one subcommand is meant.
const CONTAINERS: [&str; 2] = ["XGROUP", "XINFO"];
/// Which of the commands in ARGV[3] are refused on the source (ARGV[1]), and which on a key beside it (ARGV[2]).
/// They are one argument: Redis cuts off a client without a password that sends more than ten.
const REFUSED: &str = r"
local check = redis.acl_check_cmd
local function refused(key)
  local names = {}
  for command in string.gmatch(ARGV[3], '%S+') do
    local name, second = string.match(command, '^([^|]+)|?(.*)$')
    if second == '' then second = key end
    local known, allowed = pcall(check, name, second, key, key, key)
    if known and not allowed then names[#names + 1] = command end
  end
  return names
end
if not check then return { {}, {} } end
return { refused(ARGV[1]), refused(ARGV[2]) }";

/// The line for `redis-cli` that gives this buffer's user every right it needs. The password is not in it.
#[must_use]
pub fn line(options: &Options) -> String {
    let user = options.server.user.as_deref().unwrap_or("default");
    let commands = commands(options);
    let rights = patterns(options).map(|pattern| quoted(&format!("~{pattern}")));
    let rights =
        rights.into_iter().chain(commands.iter().map(|c| format!("+{}", c.to_lowercase())));
    format!("ACL SETUSER {} on {}", quoted(user), rights.collect::<Vec<_>>().join(" "))
}

/// Says at once which right is missing.
///
/// # Errors
/// [`buffer::Error::Open`] with the missing rights and the line that gives them.
pub(crate) async fn check(place: &Place) -> Result<(), Failure> {
    let options = &place.options;
    let commands = commands(options);
    let mut ask = redis::cmd("EVAL");
    ask.arg(REFUSED);
    // On a cluster the key leads to the node.
    if options.server.cluster {
        ask.arg(1).arg(&options.name)
    } else {
        ask.arg(0)
    };
    let names = commands.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    ask.arg(&options.name).arg(beside(options)).arg(names);
    let (source, beside): (BTreeSet<String>, BTreeSet<String>) = match place.rest.run(&ask).await {
        Ok(refused) => refused,
        Err(error) => {
            return Err(match forbidden(&error) {
                Some(what) => Failure::Other(open_error(&missing(options, &what))),
                None => error.into(),
            });
        }
    };
    let what = named(options, &commands, &source, &beside);
    if what.is_empty() {
        Ok(())
    } else {
        Err(Failure::Other(open_error(&missing(options, &what.join(", ")))))
    }
}

fn missing(options: &Options, what: &str) -> String {
    let user = options.server.user.as_deref().unwrap_or("default");
    let wider = match options.name.contains(unwritable) {
        true => " (each ? also stands for any other character: a pattern cannot hold white space)",
        false => "",
    };
    format!(
        "cannot use the buffer: the user {user} has no right to {what}; run in redis-cli, on each \
         node{wider}: {}",
        line(options)
    )
}

/// What is missing, from what is refused on each of two keys.
fn named(
    options: &Options,
    commands: &BTreeSet<String>,
    source: &BTreeSet<String>,
    beside: &BTreeSet<String>,
) -> Vec<String> {
    let keyless = |name: &&String| KEYLESS.contains(&name.as_str());
    let none_of = |refused: &BTreeSet<String>| {
        commands.iter().filter(|name| !keyless(name)).all(|name| refused.contains(name))
    };
    let [name, others] = patterns(options).map(|pattern| format!("the keys {pattern}"));
    let mut what = Vec::new();
    // A command that is refused on both keys is refused itself, unless all are.
    let nothing = none_of(source) && none_of(beside);
    if nothing || source.difference(beside).next().is_some() {
        what.push(name);
    }
    if nothing || beside.difference(source).next().is_some() {
        what.push(others);
    }
    let needed = |name: &&String| !OPTIONAL.contains(&name.as_str());
    let both = source.intersection(beside).filter(needed);
    let both = both.filter(|name| !nothing || keyless(name));
    what.extend(both.map(|name| format!("the command {}", name.to_lowercase())));
    what
}

/// Of the source, and of all that lies beside it.
fn patterns(options: &Options) -> [String; 2] {
    let name = escaped(&options.name);
    [name.clone(), format!("{{{name}}}:*")]
}

fn beside(options: &Options) -> String {
    format!("{{{}}}:meta", options.name)
}

/// A name in a pattern, standing for itself alone but for what a pattern cannot hold.
fn escaped(name: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            _ if unwritable(c) => pattern.push('?'),
            _ if special(c) => pattern.extend(['\\', c]),
            _ => pattern.push(c),
        }
    }
    pattern
}

/// What Redis refuses in a pattern, quoted or not: white space of C, and NUL.
fn unwritable(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r' | '\0')
}

/// As redis-cli reads an argument.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    if argument.chars().all(plain) {
        return argument.to_owned();
    }
    let mut text = String::from("\"");
    for c in argument.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            _ if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

/// All that this buffer runs, in upper case; a subcommand behind `|`.
fn commands(options: &Options) -> BTreeSet<String> {
    let mut commands: BTreeSet<String> = DIRECT.map(str::to_owned).into();
    commands.extend(Scripts::of(&options.layout).codes(&options.layout).flat_map(in_script));
    commands.extend(in_script(STANDING));
    let mut also = |names: &[&str]| commands.extend(names.iter().map(|name| (*name).to_owned()));
    // Dead letters that are dropped.
    also(&["XDEL"]);
    match options.layout {
        Layout::List => also(&["LPUSH", "MULTI", "EXEC"]),
        Layout::Stream { .. } => also(&["XREAD"]),
    }
    if options.wait_replicas > 0 {
        also(&["WAIT"]);
    }
    if options.server.db > 0 {
        also(&["SELECT"]);
    }
    if options.server.cluster {
        also(&["CLUSTER|SLOTS", "ASKING", "PING"]);
    }
    commands
}

/// The commands of a script: the first text of a call, in capitals.
fn in_script(code: &str) -> Vec<String> {
    let calls = ["call('", "each_chunk('", "of_group('"];
    let starts = calls.iter().flat_map(|call| code.match_indices(call));
    let named = starts.filter_map(|(at, call)| {
        let rest = &code[at + call.len()..];
        let (name, rest) = rest.split_once('\'')?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        if !CONTAINERS.contains(&name) {
            return Some(name.to_owned());
        }
        let (_, second) = rest.split_once('\'')?;
        Some(format!("{name}|{}", second.split_once('\'')?.0))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use buffer::foreign::Fields;

    use super::*;
    use crate::Server;

    fn options() -> Options {
        let server = Server { user: Some("worker".to_owned()), ..Server::plain("127.0.0.1:6379") };
        Options::stream(server, "tx_stream", "fds", Fields::named("id", "key"))
    }

    #[test]
    fn the_line_names_the_source_what_lies_beside_it_and_every_command() {
        let stream = line(&options());
        let begins = "ACL SETUSER worker on ~tx_stream ~{tx_stream}:* +eval +evalsha +exists ";
        assert!(stream.starts_with(begins), "{stream}");
        for right in [" +xgroup|create ", " +xgroup|delconsumer ", " +xreadgroup", " +xtrim"] {
            assert!(stream.contains(right), "{right}: {stream}");
        }
        let list =
            Options::list(Server::plain("127.0.0.1:6379"), "a*b c", Fields::named("id", "key"));
        let list = line(&Options { wait_replicas: 1, ..list });
        let begins = r#"ACL SETUSER default on "~a\\*b?c" "~{a\\*b?c}:*" +eval "#;
        assert!(list.starts_with(begins), "{list}");
        assert!(list.contains(" +lmove ") && list.contains(" +wait") && !list.contains("xgroup"));
    }

    #[test]
    fn a_missing_key_is_told_from_a_missing_command() {
        let all = commands(&options());
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let keyed = all.iter().filter(|name| !KEYLESS.contains(&name.as_str())).cloned().collect();
        let check = |source: &BTreeSet<String>, beside: &BTreeSet<String>, expect: &[&str]| {
            assert_eq!(named(&options(), &all, source, beside), expect);
        };
        let (name, others) = ("the keys tx_stream", "the keys {tx_stream}:*");
        let none = BTreeSet::new();
        check(&none, &none, &[]);
        check(&none, &keyed, &[others]);
        check(&keyed, &none, &[name]);
        check(&keyed, &keyed, &[name, others]);
        let claim = set(&["XCLAIM", "INFO"]);
        check(&claim, &claim, &["the command xclaim"]);
        check(&claim, &keyed.union(&claim).cloned().collect(), &[others, "the command xclaim"]);
    }

    #[test]
    fn the_lines_in_the_documentation_are_those_that_are_printed() {
        let docs = include_str!("../../../docs/scaling-out.md");
        let server = Server { user: Some("worker".to_owned()), ..Server::plain("127.0.0.1:6379") };
        let list = Options::list(server.clone(), "tx_queue", Fields::named("id", "key"));
        for options in
            [list, Options::stream(server, "tx_stream", "forebay", Fields::named("id", "key"))]
        {
            // Broken where the page is full.
            let written = docs.split_whitespace().collect::<Vec<_>>().join(" ");
            let line = line(&options);
            assert!(written.contains(&format!("{line} ```")), "{line}");
        }
    }
}
