//! Invariants: each one in ARCHITECTURE.md names a test that holds it, and that test exists.
//!
//! An entry opens with `**I<number>**` and goes on to the next entry, an empty line or a heading.
//! A test is named as a path in backticks, such as `journal::recovery::torn_tail_is_cut`: the last
//! part is the function, and some part before it is the crate, folder or file it lies in.

use std::collections::{BTreeMap, BTreeSet};

use super::code;
use super::finding::Finding;
use super::rust;
use super::tree::Tree;

const PATH: &str = "ARCHITECTURE.md";

/// A name of this many words or more is a sentence, and so is meant as a test's.
const SENTENCE_WORDS: usize = 3;

/// One invariant: its number as written, its line, its whole text.
struct Entry {
    number: String,
    line: usize,
    text: String,
}

/// Checks every entry.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(PATH) else { return Vec::new() };
    let entries = entries(&file.text);
    if entries.is_empty() {
        return vec![Finding::new(PATH, 1, "number the invariants: `**I1** …`")];
    }
    let tests = tests(tree);
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for entry in entries {
        let mut say = |advice: String| findings.push(Finding::new(PATH, entry.line, advice));
        if !seen.insert(entry.number.clone()) {
            say(format!("{} is there twice: renumber one", entry.number));
        }
        let mut held = false;
        for path in paths(&entry.text) {
            if names_test(&tests, path) {
                held = true;
            } else if path.rsplit("::").next().is_some_and(is_sentence) {
                say(format!("{}: there is no test `{path}`: correct the name", entry.number));
            }
        }
        if !held {
            say(format!("{}: name the test that holds it, as `crate::file::test`", entry.number));
        }
    }
    findings
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(number) = number(line) {
            entries.push(Entry { number, line: index + 1, text: line.into() });
            open = true;
        } else if line.trim().is_empty() || line.starts_with('#') {
            open = false;
        } else if open && let Some(entry) = entries.last_mut() {
            entry.text.push('\n');
            entry.text.push_str(line);
        }
    }
    entries
}

/// The `I<number>` that an entry's first line opens with.
fn number(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("**I")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let closed = rest[digits.len()..].starts_with("**");
    (closed && !digits.is_empty()).then(|| format!("I{digits}"))
}

/// Paths in backticks: those with a `::`.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.trim().trim_end_matches("()"))
        .filter(|code| code.contains("::") && !code.contains(char::is_whitespace))
}

fn is_sentence(name: &str) -> bool {
    name.split('_').filter(|word| !word.is_empty()).count() >= SENTENCE_WORDS
}

/// Every test function, with the files that hold one of its name.
fn tests(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in tree.files().iter().filter(|file| file.is_rust()) {
        let masked = rust::mask(&file.text);
        let lines = rust::test_lines(&masked);
        // A conformance suite's tests are plain functions, which each backend's tests call.
        let whole = code::is_test_file(&file.path) || file.path.contains("conformance");
        for (name, line, _) in rust::functions(&masked) {
            if whole || lines[line - 1] {
                tests.entry(name.into()).or_default().push(file.path.clone());
            }
        }
    }
    tests
}

fn names_test(tests: &BTreeMap<String, Vec<String>>, path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let Some((name, places)) = parts.split_last() else { return false };
    let plain = |part: &str| part.trim_end_matches(".rs").replace('-', "_");
    let lies_there = |file: &String| {
        let mut parts = file.split('/').map(plain);
        parts.any(|part| places.iter().any(|place| plain(place) == part))
    };
    tests.get(*name).is_some_and(|files| files.iter().any(lies_there))
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    const CODE: &str = "fn parse() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    \
                        fn torn_tail_is_cut() {}\n}\n";

    fn found(text: &str) -> Vec<String> {
        shown(&check(&Tree::of(&[
            ("ARCHITECTURE.md", text),
            ("crates/log-book/src/recovery.rs", CODE),
        ])))
    }

    #[test]
    fn an_entry_that_names_its_test_is_let_be() {
        assert!(found("- **I1** Cut. `log_book::recovery::torn_tail_is_cut`\n").is_empty());
        assert!(found("| **I1** | cut | `recovery::tests::torn_tail_is_cut` |\n").is_empty());
        assert!(found("**I7** Cut,\n  see `log-book::torn_tail_is_cut`.\n\nMore.\n").is_empty());
        assert!(found("**I1** `Log::parse` `recovery::torn_tail_is_cut`\n").is_empty());
    }

    #[test]
    fn an_entry_without_a_test_is_found() {
        assert!(found("**I1** Cut.\n")[0].contains("I1: name the test"));
        assert!(found("**I1** Cut.\n\n`recovery::torn_tail_is_cut`\n")[0].contains("I1: name"));
    }

    #[test]
    fn a_function_that_is_no_test_holds_nothing() {
        assert!(found("**I1** Cut. `recovery::parse`\n")[0].contains("I1: name the test"));
    }

    #[test]
    fn a_test_that_does_not_exist_is_found_beside_one_that_does() {
        let text = "**I2** `recovery::torn_tail_is_cut` `recovery::torn_tail_is_kept`\n";
        let found = found(text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("no test `recovery::torn_tail_is_kept`"), "{found:?}");
    }

    #[test]
    fn a_test_named_in_the_wrong_place_is_found() {
        assert_eq!(found("**I1** `engine::lanes::torn_tail_is_cut`\n").len(), 2);
    }

    #[test]
    fn a_number_used_twice_and_no_numbers_at_all_are_found() {
        let entry = "**I1** `recovery::torn_tail_is_cut`\n";
        assert!(found(&format!("{entry}{entry}"))[0].contains("twice"));
        assert!(found("# House\n")[0].contains("number the invariants"));
    }
}
