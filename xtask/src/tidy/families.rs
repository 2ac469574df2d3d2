//! Families of tables: each has one file in the port, its namesake in every adapter and in the conformance
//! suite, and an accessor. And adapters of the store: one file of the binary names them.

use super::finding::Finding;
use super::tree::{File, Tree};

/// Where the port has its families.
const PORT: &str = "crates/store/src/family/";
/// Where the conformance suite has them.
const SUITE: &str = "crates/store/src/conformance/";
/// What opens a store, and has an accessor for each family.
const ACCESSORS: &str = "crates/store/src/store.rs";
/// What an adapter's crate is called.
const ADAPTER: &str = "crates/store-";
/// Where an adapter has its families.
const FAMILIES: &str = "/src/family/";
/// The binary.
const BINARY: &str = "crates/forebay/src/";
/// The one file of the binary that names adapters.
const REGISTRY: &str = "crates/forebay/src/registry.rs";
/// Measures the plain ways into one adapter's database.
const BENCH: &str = "crates/forebay/src/verbs/bench/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let families: Vec<&str> = tree.files().iter().filter_map(|file| name(file, PORT)).collect();
    let mut adapters: Vec<String> = tree.files().iter().filter_map(adapter).collect();
    adapters.sort();
    adapters.dedup();
    for family in &families {
        let port = format!("{PORT}{family}.rs");
        let folders = adapters.iter().map(|adapter| format!("{adapter}{FAMILIES}"));
        for folder in folders.chain([SUITE.to_owned()]) {
            let namesake = format!("{folder}{family}.rs");
            if tree.file(&namesake).is_none() {
                findings.push(Finding::new(&port, 1, format!("write {namesake} for this family")));
            }
        }
        let accessor = format!("fn {family}(&self)");
        if !tree.file(ACCESSORS).is_some_and(|file| file.text.contains(&accessor)) {
            let advice = format!("give this family an accessor in {ACCESSORS}: `{accessor}`");
            findings.push(Finding::new(&port, 1, advice));
        }
    }
    for file in tree.files() {
        let Some(adapter) = adapter(file) else { continue };
        let family = name(file, &format!("{adapter}{FAMILIES}"));
        if family.is_some_and(|family| !families.contains(&family)) {
            let advice = "the port has no family of this name: name it as there, or add it there";
            findings.push(Finding::new(&file.path, 1, advice));
        }
    }
    findings.extend(named(tree, &adapters));
    findings
}

/// Files of the binary, past the registry, that name an adapter.
fn named(tree: &Tree, adapters: &[String]) -> Vec<Finding> {
    let crates: Vec<_> = adapters
        .iter()
        .filter_map(|adapter| adapter.rsplit('/').next())
        .map(|adapter| adapter.replace('-', "_"))
        .collect();
    let is_bound = |file: &&File| {
        file.path.starts_with(BINARY) && file.path != REGISTRY && !file.path.starts_with(BENCH)
    };
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(is_bound) {
        for (number, line) in file.lines() {
            if crates.iter().any(|name| line.contains(&format!("{name}::"))) {
                let advice = format!("use store::Location: only {REGISTRY} names the adapters");
                findings.push(Finding::new(&file.path, number, advice));
            }
        }
    }
    findings
}

/// The family of a file that lies in `folder` itself.
fn name<'a>(file: &'a File, folder: &str) -> Option<&'a str> {
    let name = file.path.strip_prefix(folder)?.strip_suffix(".rs")?;
    (!name.contains('/')).then_some(name)
}

/// The crate of the adapter that has this family's file.
fn adapter(file: &File) -> Option<String> {
    let (adapter, _) = file.path.split_once(FAMILIES)?;
    adapter.starts_with(ADAPTER).then(|| adapter.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    const WHOLE: [(&str, &str); 7] = [
        ("crates/store/src/store.rs", "fn keys(&self) -> x;\n"),
        ("crates/store/src/family/keys.rs", ""),
        ("crates/store/src/family/keys/part.rs", ""),
        ("crates/store/src/conformance/keys.rs", ""),
        ("crates/store-a/src/family/keys.rs", ""),
        ("crates/store-b/src/family/keys.rs", ""),
        ("crates/forebay/src/registry.rs", "use store_a::Backend;\n"),
    ];

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        shown(&check(&Tree::of(files)))
    }

    #[test]
    fn a_family_with_all_its_files_is_let_be() {
        assert_eq!(found(&WHOLE), Vec::<String>::new());
    }

    #[test]
    fn a_family_without_a_namesake_is_found_wherever_it_is_missing() {
        for (missing, expect) in [
            (0, "give this family an accessor in crates/store/src/store.rs: `fn keys(&self)`"),
            (3, "write crates/store/src/conformance/keys.rs for this family"),
        ] {
            let mut files = WHOLE.to_vec();
            files.remove(missing);
            assert_eq!(found(&files), [format!("crates/store/src/family/keys.rs:1: {expect}")]);
        }
        let mut files = WHOLE.to_vec();
        files.push(("crates/store-b/src/family/moves.rs", ""));
        let expect = "crates/store-b/src/family/moves.rs:1: the port has no family of this name";
        let strayed = found(&files);
        assert!(strayed.len() == 1 && strayed[0].starts_with(expect), "{strayed:?}");
        files.push(("crates/store/src/family/moves.rs", ""));
        let lacking = found(&files);
        assert_eq!(lacking.len(), 3, "an adapter, the suite, an accessor: {lacking:?}");
        assert!(lacking[0].contains("write crates/store-a/src/family/moves.rs"), "{lacking:?}");
    }

    #[test]
    fn a_file_of_the_binary_that_names_an_adapter_is_found() {
        let mut files = WHOLE.to_vec();
        files.push(("crates/forebay/src/verbs/bench/direct.rs", "use store_a::baseline;\n"));
        assert_eq!(found(&files), Vec::<String>::new());
        files.push(("crates/forebay/src/open.rs", "\nmatch store { store_b::Options => 1 }\n"));
        let expect = "crates/forebay/src/open.rs:2: use store::Location: only \
                      crates/forebay/src/registry.rs names the adapters";
        assert_eq!(found(&files), [expect]);
    }
}
