//! What a backend costs: a crate, and one line in the registry of the binary.
//!
//! Each crate that implements the port of backends is looked for in the code and the manifests of all others.
//! Tests and benches may name it. Its place in the table of layers and in the lock file is text, which
//! does not count.

use std::collections::BTreeSet;

use super::code::is_test_file;
use super::finding::Finding;
use super::rust;
use super::tree::{File, Tree};

/// The crates whose `Backend` is the port of backends. Their own backends need no crate.
const PORTS: &[&str] = &["buffer"];
/// The file that names each backend once.
const REGISTRY: &str = "crates/forebay/src/registry.rs";
/// The manifests that name it: the workspace's, and that of the binary.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "crates/forebay/Cargo.toml"];

/// Every file that a further backend of the same kind would have to change.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let backends: BTreeSet<&str> = tree.files().iter().filter_map(backend).collect();
    let mut findings = Vec::new();
    for file in tree.files() {
        for name in backends.iter().filter(|name| !lies_in(file, name)) {
            let lines = match () {
                () if file.is_rust() => in_code(file, &name.replace('-', "_")),
                () if file.path.ends_with("Cargo.toml") => in_manifest(file, name),
                () => continue,
            };
            let free = match file.path.as_str() {
                REGISTRY => 1,
                path if MANIFESTS.contains(&path) => lines.len(),
                _ => 0,
            };
            let advice = format!(
                "`{name}` is a backend: only one line of {REGISTRY} names it; ask for what is needed through \
                 the traits of its port"
            );
            let too_many = lines.into_iter().skip(free);
            findings.extend(too_many.map(|line| Finding::new(&file.path, line, advice.clone())));
        }
    }
    findings
}

/// The crate of a file that implements a port.
fn backend(file: &File) -> Option<&str> {
    let (name, place) = file.path.strip_prefix("crates/")?.split_once('/')?;
    if !place.starts_with("src/") || !file.is_rust() || is_test_file(&file.path) {
        return None;
    }
    let masked = rust::mask(&file.text);
    let tests = rust::test_lines(&masked);
    let implements = |line: &str| PORTS.iter().any(|port| is_backend_of(line, port, name));
    let mut lines = masked.lines().zip(tests);
    lines.any(|(line, test)| !test && implements(line)).then_some(name)
}

fn is_backend_of(line: &str, port: &str, krate: &str) -> bool {
    krate != port && line.contains(&format!("impl {port}::Backend for "))
}

pub(super) fn lies_in(file: &File, krate: &str) -> bool {
    file.path
        .strip_prefix("crates/")
        .and_then(|path| path.strip_prefix(krate))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The lines of code that hold this word and belong to no test.
fn in_code(file: &File, word: &str) -> Vec<usize> {
    if is_test_file(&file.path) {
        return Vec::new();
    }
    let masked = rust::mask(&file.text);
    let tests = rust::test_lines(&masked);
    let lines = masked.lines().zip(tests).enumerate();
    lines.filter(|(_, (line, test))| !test && has_word(line, word)).map(|(at, _)| at + 1).collect()
}

/// The lines of a manifest that hold this word and are for more than tests.
fn in_manifest(file: &File, word: &str) -> Vec<usize> {
    let mut in_tests = false;
    let mut lines = Vec::new();
    for (number, line) in file.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim_start().starts_with('[') {
            in_tests = line.contains("dev-dependencies");
        }
        if !in_tests && has_word(line, word) {
            lines.push(number);
        }
    }
    lines
}

/// Whether `line` holds `word` and not only a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '_' || char == '-';
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        !line[..at].chars().next_back().is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    const BACKEND: (&str, &str) =
        ("crates/buffer-x/src/backend.rs", "impl buffer::Backend for Backend {}\n");
    const LINE: (&str, &str) =
        (REGISTRY, "const BUFFERS: &[&dyn Backend] = &[&buffer_x::Backend];\n");

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        shown(&check(&Tree::of(&[&[BACKEND, LINE], files].concat())))
    }

    #[test]
    fn the_registry_the_manifests_and_tests_may_name_a_backend() {
        let files = [
            ("Cargo.toml", "buffer-x = { path = \"crates/buffer-x\" }\n"),
            ("Cargo.lock", "name = \"buffer-x\"\n"),
            (
                "crates/forebay/Cargo.toml",
                "[features]\nx = [\"buffer-x/tls\"]\n[dependencies]\nbuffer-x = 1\n",
            ),
            ("crates/lab/Cargo.toml", "[dev-dependencies]\nbuffer-x.workspace = true\n"),
            ("crates/lab/benches/b.rs", "use buffer_x::Options;\n"),
            ("crates/forebay/tests/t.rs", "use buffer_x::Options;\n"),
            (
                "crates/forebay/src/open.rs",
                "// buffer_x\n#[cfg(test)]\nmod tests { use buffer_x::A; }\n",
            ),
            (
                "crates/forebay/src/name.rs",
                "let name = \"buffer_x\"; my_buffer_x(); buffer_xs();\n",
            ),
            ("crates/buffer-x/src/lib.rs", "pub use buffer_x::Backend;\n"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn any_other_file_that_names_a_backend_is_found() {
        let found = found(&[
            ("crates/forebay/src/open.rs", "use buffer::Buffer;\nuse buffer_x::Options;\n"),
            ("crates/lab/Cargo.toml", "[dependencies]\nbuffer-x.workspace = true\n"),
            ("xtask/src/main.rs", "fn a() { buffer_x::b(); }\n"),
        ]);
        let places =
            ["crates/forebay/src/open.rs:2:", "crates/lab/Cargo.toml:2:", "xtask/src/main.rs:1:"];
        assert_eq!(found.len(), places.len(), "{found:?}");
        for (place, said) in places.into_iter().zip(&found) {
            assert!(said.starts_with(place) && said.contains("`buffer-x` is a backend"), "{said}");
        }
    }

    #[test]
    fn a_second_line_of_the_registry_is_found() {
        let twice = format!("{}fn a() {{ buffer_x::b(); }}\n", LINE.1);
        let found = shown(&check(&Tree::of(&[BACKEND, (REGISTRY, &twice)])));
        assert!(found.len() == 1 && found[0].starts_with(&format!("{REGISTRY}:2:")), "{found:?}");
    }

    #[test]
    fn a_crate_is_a_backend_by_what_it_implements() {
        let of = |path: &str, text: &str| {
            let files =
                [(path, text), ("crates/forebay/src/a.rs", "use buffer_y::A; use buffer::A;\n")];
            shown(&check(&Tree::of(&files))).len()
        };
        assert_eq!(of("crates/buffer-y/src/b.rs", "impl buffer::Backend for B {}\n"), 1);
        assert_eq!(of("crates/buffer-y/src/b.rs", "impl buffer::Buffer for B {}\n"), 0);
        assert_eq!(of("crates/buffer-y/tests/b.rs", "impl buffer::Backend for B {}\n"), 0);
        assert_eq!(of("crates/buffer/src/b.rs", "impl buffer::Backend for B {}\n"), 0, "the port");
    }
}
