//! When a buffer may be erased: it holds nothing, and nobody has it.
//!
//! A backend's `erase` removes what the backend made and leaves a mark. Whoever opens the buffer later, or still has it
//! open, is refused by that mark instead of making the buffer anew, empty.

use crate::Error;

/// How many processes a refusal names.
const NAMED_MAX: usize = 8;

/// What is in the way of erasing a buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// Events that wait to be leased.
    pub ready: u64,
    /// Events under a lease.
    pub leased: u64,
    /// Events that were released with a delay.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Processes that lease from it.
    pub members: Vec<String>,
}

/// Why `what` (as "the list tx_queue") may not be erased, and what to do; none if nothing is in the way.
#[must_use]
pub fn refusal(what: &str, found: &Obstacles) -> Option<Error> {
    let Obstacles { ready, leased, delayed, dead, members } = found;
    let (mut why, mut mend) = (Vec::new(), Vec::new());
    if ready + leased + delayed > 0 {
        why.push(format!("it holds events ({ready} ready, {leased} leased, {delayed} delayed)"));
        mend.push("let a worker settle the events".to_owned());
    }
    if *dead > 0 {
        why.push(format!("it holds {dead} dead letters"));
        mend.push("replay or drop the dead letters with `forebay dead`".to_owned());
    }
    if !members.is_empty() {
        let named = members.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>();
        why.push(format!("{} processes lease from it ({})", members.len(), named.join(", ")));
        mend.push("stop these processes".to_owned());
    }
    let (why, mend) = (why.join(", and "), mend.join(", "));
    (!why.is_empty()).then(|| Error::Held(format!("cannot erase {what}: {why}; {mend}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_all_that_is_in_the_way_and_what_to_do() {
        let check = |found: Obstacles, expect: Option<&str>| {
            let refused = refusal("the list q", &found).map(|error| error.to_string());
            assert_eq!(refused.as_deref(), expect);
        };
        check(Obstacles::default(), None);
        check(
            Obstacles { ready: 1, leased: 2, ..Obstacles::default() },
            Some(
                "cannot erase the list q: it holds events (1 ready, 2 leased, 0 delayed); \
                 let a worker settle the events",
            ),
        );
        let members = vec!["a:1".to_owned(), "b:2".to_owned()];
        check(
            Obstacles { dead: 3, members, ..Obstacles::default() },
            Some(
                "cannot erase the list q: it holds 3 dead letters, and 2 processes lease from it (a:1, b:2); \
                 replay or drop the dead letters with `forebay dead`, stop these processes",
            ),
        );
    }
}
