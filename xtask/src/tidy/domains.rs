//! What a domain costs: its crate, files of its own name elsewhere, and one line in the list of domains.
//!
//! A crate that implements the engine's handler is a domain. Each file outside of it that names it must bear a
//! name of the domain: its keys, its routes, its verb. Tests, manifests and `crates/lab`, whose traffic and
//! audits are of payments, may name any.

use std::collections::BTreeSet;
use std::path::Path;

use super::backends::lies_in;
use super::code::is_test_file;
use super::finding::Finding;
use super::rust;
use super::tree::{File, Tree};

/// The list of domains.
const LIST: &str = "crates/forebay/src/domains.rs";
/// Other names of a domain, which its files elsewhere may bear.
const NAMES: &[(&str, &[&str])] =
    &[("fraud", &["payments"]), ("table", &["tables", "written_behind", "write_behind"])];
/// Files that named a domain before there was a list, each with what it would take to free them of it.
const EARLIER: &[(&str, &str)] = &[
    (
        "crates/forebay/src/config/resolve.rs",
        "its values are fields of the one resolved configuration",
    ),
    ("crates/forebay/src/verbs.rs", "`--table` of verbs that look at one buffer"),
    ("crates/forebay/src/verbs/dead.rs", "`--table` shows letters by the key of their row"),
    ("crates/forebay/src/verbs/advise.rs", "without `--table` it advises on payments"),
    ("crates/forebay/src/verbs/demo.rs", "the demo is of payments"),
    ("crates/forebay/src/verbs/serve.rs", "the metrics label of the payments' buffer is its kind"),
    ("crates/forebay/src/verdict.rs", "the audit is of payments"),
];

/// Every file that a further domain of the same kind would have to change.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let domains: BTreeSet<&str> = tree.files().iter().filter_map(domain).collect();
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| file.is_rust() && !is_free(file)) {
        for name in domains.iter().filter(|name| !lies_in(file, name) && !is_own(file, name)) {
            let advice = format!(
                "`{name}` is a domain: only {LIST} and files of its name say so; ask through \
                 `domain::Domain`, or change the shared mechanism"
            );
            let lines = paths_into(file, &name.replace('-', "_"));
            findings.extend(
                lines.into_iter().map(|line| Finding::new(&file.path, line, advice.clone())),
            );
        }
    }
    findings
}

/// The lines of code that hold a path into the crate `name` and belong to no test.
fn paths_into(file: &File, name: &str) -> Vec<usize> {
    if is_test_file(&file.path) {
        return Vec::new();
    }
    let masked = rust::mask(&file.text);
    let tests = rust::test_lines(&masked);
    let path = format!("{name}::");
    let longer = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':' | '.');
    let has_path = |line: &str| {
        line.match_indices(&path).any(|(at, _)| !line[..at].chars().next_back().is_some_and(longer))
    };
    let lines = masked.lines().zip(tests).enumerate();
    lines.filter(|(_, (line, test))| !test && has_path(line)).map(|(at, _)| at + 1).collect()
}

/// The crate of a file that implements the engine's handler.
fn domain(file: &File) -> Option<&str> {
    let (name, place) = file.path.strip_prefix("crates/")?.split_once('/')?;
    if !place.starts_with("src/") || !file.is_rust() || name == "engine" {
        return None;
    }
    let masked = rust::mask(&file.text);
    let tests = rust::test_lines(&masked);
    let mut lines = masked.lines().zip(tests);
    lines.any(|(line, test)| !test && line.contains("impl engine::Handler for ")).then_some(name)
}

/// Whether a file may name any domain.
fn is_free(file: &File) -> bool {
    let earlier = EARLIER.iter().any(|(path, _)| *path == file.path);
    earlier || file.path == LIST || file.path.starts_with("crates/lab/")
}

/// Whether the name of a file is one of the domain's.
fn is_own(file: &File, domain: &str) -> bool {
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let others = NAMES.iter().filter(|(name, _)| *name == domain).flat_map(|(_, others)| *others);
    stem == domain || others.into_iter().any(|other| *other == stem)
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    const HANDLER: (&str, &str) =
        ("crates/sale/src/handler.rs", "impl engine::Handler for Handler {}\n");

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        shown(&check(&Tree::of(&[&[HANDLER], files].concat())))
    }

    #[test]
    fn the_list_and_files_of_its_name_may_name_a_domain() {
        let using = "use sale::Options;\n";
        let files = [
            (LIST, using),
            ("crates/forebay/src/config/sale.rs", using),
            ("crates/forebay/src/verbs/sale.rs", using),
            ("crates/server/src/sale.rs", using),
            ("crates/forebay/tests/sales.rs", using),
            ("crates/sale/src/lib.rs", using),
            ("crates/engine/src/handle.rs", "let wholesale = \"sale\";\n"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_shared_file_that_names_a_domain_is_found() {
        for path in [
            "crates/engine/src/worker.rs",
            "crates/runtime/src/fleet.rs",
            "crates/server/src/service.rs",
            "crates/forebay/src/process.rs",
        ] {
            let found = found(&[(path, "use buffer::Buffer;\nuse sale::Options;\n")]);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:2:")), "{found:?}");
        }
    }
}
