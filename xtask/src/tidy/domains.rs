//! What a domain costs: its crate, files of its own name elsewhere, and one line in the list of domains.
//!
//! A crate that implements the engine's handler is a domain. Each file outside of it that names it must bear a
//! name of the domain, and each place may have one such file: its routes, its verb, what it is to the program. Of
//! the manifests, those of the workspace and of these places may name it. Tests, and `crates/lab`, whose traffic
//! and audits are of payments, may name any.

use std::collections::BTreeSet;
use std::path::Path;

use super::backends::lies_in;
use super::code::is_test_file;
use super::finding::Finding;
use super::rust;
use super::tree::{File, Tree};

/// The list of domains.
const LIST: &str = "crates/forebay/src/domains.rs";
/// The folders that may each have one file of a domain.
const PLACES: &[&str] = &["crates/forebay/src", "crates/forebay/src/verbs", "crates/server/src"];
/// The manifests that may name a domain.
const MANIFESTS: &[&str] = &["Cargo.toml", "crates/forebay/Cargo.toml", "crates/server/Cargo.toml"];
/// Other names of a domain, which its files elsewhere may bear.
const NAMES: &[(&str, &[&str])] =
    &[("fraud", &["payments"]), ("table", &["tables", "write_behind"]), ("webhook", &["webhooks"])];

/// What implements a handler of the engine: of batches, or of calls.
const HANDLERS: &[&str] = &["impl engine::Handler for ", "impl engine::calls::Calls for "];

/// Every file that a further domain of the same kind would have to change, and every one too many.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let domains: BTreeSet<&str> = tree.files().iter().filter_map(domain).collect();
    domains.iter().flat_map(|name| check_one(tree, name)).collect()
}

fn check_one(tree: &Tree, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken: Vec<&Path> = Vec::new();
    for (file, lines) in touched(tree, name) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        let advice = match () {
            () if file.path.ends_with("Cargo.toml") => format!(
                "`{name}` is a domain: only {} depend on it, beside its own program",
                MANIFESTS.join(", ")
            ),
            () if !is_own(file, name) => format!(
                "`{name}` is a domain: only {LIST} and files of its name say so; ask through \
                 `domain::Domain`, or change the shared mechanism"
            ),
            () if !PLACES.iter().any(|place| Path::new(place) == folder) => {
                format!("`{name}` is a domain: its files lie in {} alone", PLACES.join(", "))
            }
            () if taken.contains(&folder) => format!(
                "`{name}` is a domain: it has a file in this folder already, and a domain costs one"
            ),
            () => {
                taken.push(folder);
                continue;
            }
        };
        findings
            .extend(lines.into_iter().map(|line| Finding::new(&file.path, line, advice.clone())));
    }
    findings
}

/// The files outside of a domain's crate that name it, with the lines that do. What may name any is left out.
fn touched<'t>(tree: &'t Tree, name: &str) -> Vec<(&'t File, Vec<usize>)> {
    let outside = tree.files().iter().filter(|file| !lies_in(file, name) && !is_free(file));
    let lines = outside.map(|file| {
        let lines = match () {
            () if file.is_rust() => paths_into(file, &name.replace('-', "_")),
            () if file.path.ends_with("Cargo.toml") => dependencies_on(file, name),
            () => Vec::new(),
        };
        (file, lines)
    });
    lines.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// The lines of a manifest that make its crate depend on `name`, for more than tests.
fn dependencies_on(file: &File, name: &str) -> Vec<usize> {
    let mut in_tests = false;
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        if line.trim_start().starts_with('[') {
            in_tests = line.contains("dev-dependencies");
        }
        let rest = line.trim_start().strip_prefix(name).map(str::trim_start);
        if !in_tests && rest.is_some_and(|rest| rest.starts_with(['.', '='])) {
            found.push(number);
        }
    }
    found
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
    let is_handler = |line: &str| HANDLERS.iter().any(|handler| line.contains(handler));
    lines.any(|(line, test)| !test && is_handler(line)).then_some(name)
}

/// Whether a file may name any domain.
fn is_free(file: &File) -> bool {
    let path = &*file.path;
    path == LIST || MANIFESTS.contains(&path) || path.starts_with("crates/lab/")
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
            ("crates/forebay/src/sale.rs", using),
            ("crates/forebay/src/verbs/sale.rs", using),
            ("Cargo.toml", "sale = { path = \"crates/sale\" }\n"),
            ("crates/forebay/Cargo.toml", "[dependencies]\nsale.workspace = true\n"),
            ("crates/lab/Cargo.toml", "[dev-dependencies]\nsale.workspace = true\n"),
            ("crates/runtime/Cargo.toml", "[dependencies]\nsales.workspace = true\n"),
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

    #[test]
    fn a_crate_that_settles_by_calls_is_a_domain() {
        let files = [
            ("crates/payout/src/handler.rs", "impl engine::calls::Calls for Handler {}\n"),
            ("crates/runtime/src/fleet.rs", "use payout::Options;\n"),
        ];
        let found = found(&files);
        assert!(found.len() == 1 && found[0].starts_with("crates/runtime/src/fleet.rs:1:"));
    }

    #[test]
    fn a_second_file_of_a_domain_in_one_place_is_found() {
        let using = "use sale::Options;\n";
        let names = [("crates/forebay/src/verbs/sale.rs", using)];
        assert_eq!(found(&names), Vec::<String>::new());
        let names = [
            ("crates/forebay/src/config/sale.rs", using),
            ("crates/forebay/src/verbs/sale.rs", using),
            ("crates/server/src/sale.rs", using),
            ("crates/server/src/routes/sale.rs", using),
        ];
        let found = found(&names);
        let places =
            ["crates/forebay/src/config/sale.rs:1:", "crates/server/src/routes/sale.rs:1:"];
        assert_eq!(found.len(), places.len(), "{found:?}");
        for (said, place) in found.iter().zip(places) {
            assert!(said.starts_with(place) && said.contains("its files lie in"), "{said}");
        }
    }

    #[test]
    fn two_files_of_two_names_in_one_place_are_one_too_many() {
        let handler = ("crates/fraud/src/handler.rs", "impl engine::Handler for Handler {}\n");
        let using = "use fraud::Options;\n";
        let files = [
            handler,
            ("crates/forebay/src/fraud.rs", using),
            ("crates/forebay/src/payments.rs", using),
        ];
        let found = found(&files);
        assert!(found.len() == 1 && found[0].contains("a domain costs one"), "{found:?}");
    }

    #[test]
    fn a_crate_that_depends_on_a_domain_is_found() {
        let manifest = ("crates/runtime/Cargo.toml", "[dependencies]\nsale.workspace = true\n");
        let found = found(&[manifest]);
        assert!(
            found.len() == 1 && found[0].starts_with("crates/runtime/Cargo.toml:2:"),
            "{found:?}"
        );
    }
}
