//! Leftovers and misplaced code: what must not be in a finished file.

use super::finding::Finding;
use super::rust;
use super::tree::{File, Tree};

/// Checks every Rust file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files().iter().filter(|file| file.is_rust()).flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let masked = rust::mask(&file.text);
    let mut findings = leftovers(file, &masked);
    let front = file.path.ends_with("/lib.rs") || file.path.ends_with("/mod.rs");
    if front && !is_test_file(&file.path) {
        findings.extend(front_page(file, &masked));
    }
    findings
}

/// Whether a whole file is tests: it lies with them, or is named as them.
pub(super) fn is_test_file(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let folder = parts.iter().rev().skip(1).any(|part| ["tests", "benches"].contains(part));
    folder || parts.last() == Some(&"tests.rs")
}

fn leftovers(file: &File, masked: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tests = rust::test_lines(masked);
    let whole = is_test_file(&file.path);
    for (index, line) in masked.lines().enumerate() {
        let mut say = |advice| findings.push(Finding::new(&file.path, index + 1, advice));
        if line.contains("#[ignore") {
            say("an ignored test holds nothing: make it run, or remove it");
        }
        if whole || tests[index] {
            continue;
        }
        if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
            say("say why it holds with `expect(\"…\")`, or return the error");
        }
        if line.contains("todo!(") || line.contains("unimplemented!(") {
            say("write what is missing, or take the promise out");
        }
    }
    findings
}

/// `lib.rs` and `mod.rs` are read first, so they explain and export, and do nothing.
fn front_page(file: &File, masked: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = file.lines().map(|(_, line)| line).find(|line| !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        let advice = "open with a `//!` doc: what it is for, and what it deliberately does not do";
        findings.push(Finding::new(&file.path, 1, advice));
    }
    let tests = rust::test_lines(masked);
    for (name, line, body) in rust::functions(masked) {
        if body && !tests[line - 1] {
            let advice = format!("move `{name}` to a file of its own: this one holds no logic");
            findings.push(Finding::new(&file.path, line, advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        shown(&check(&Tree::of(&[(path, text)])))
    }

    #[test]
    fn a_finished_file_is_let_be() {
        let text = "// never .unwrap()\nfn a() { b().expect(\"todo!() is text\"); }\n\
                    #[cfg(test)]\nmod tests {\n    fn c() { d().unwrap(); }\n}\n";
        assert!(found("crates/a/src/lease.rs", text).is_empty());
        assert!(found("crates/a/tests/crash.rs", "fn a() { b().unwrap(); }\n").is_empty());
    }

    #[test]
    fn leftovers_are_found_outside_tests() {
        let text = "fn a() {\n    b().unwrap();\n    todo!()\n}\n";
        let found = found("crates/a/src/lease.rs", text);
        assert!(found[0].starts_with("crates/a/src/lease.rs:2: say why"), "{found:?}");
        assert!(found[1].starts_with("crates/a/src/lease.rs:3: write what"), "{found:?}");
    }

    #[test]
    fn an_ignored_test_is_found_wherever_it_is() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n";
        assert_eq!(found("crates/a/tests/crash.rs", text).len(), 1);
    }

    #[test]
    fn a_front_page_without_a_doc_or_with_logic_is_found() {
        let text = "//! What it is for.\npub trait T { fn a(&self); }\n\
                    #[cfg(test)]\nmod tests { fn b() {} }\n";
        assert!(found("crates/a/src/lib.rs", text).is_empty());
        assert!(found("crates/a/src/lib.rs", "pub mod b;\n")[0].contains("open with a `//!` doc"));
        let found = found("crates/a/src/b/mod.rs", "//! B.\n\nfn c() -> u8 {\n    1\n}\n");
        assert!(found[0].starts_with("crates/a/src/b/mod.rs:3: move `c`"), "{found:?}");
    }
}
