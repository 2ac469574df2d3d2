//! Manifests and the lock file: every crate says what it is for, keeps the workspace's lints, and
//! comes from the one registry everybody has.

use super::finding::Finding;
use super::layers::Crate;
use super::tree::{File, Tree};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Keys that tie a checkout to somebody's own registry, proxy or mirror.
const OWN_REGISTRY: [&str; 4] = ["replace-with", "[registries", "[source", "registry-index"];

/// Checks every manifest, cargo configuration and lock file.
pub(super) fn check(tree: &Tree, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in crates {
        if !krate.described {
            let advice = "add a `description`: what the crate is for, in one sentence";
            findings.push(Finding::new(&krate.manifest, 1, advice));
        }
        let manifest = tree.file(&krate.manifest);
        if !manifest.is_some_and(keeps_lints) {
            let advice = "add `[lints] workspace = true`";
            findings.push(Finding::new(&krate.manifest, 1, advice));
        }
    }
    for file in tree.files() {
        match file.path.rsplit('/').next() {
            Some("Cargo.lock") => findings.extend(sources(file)),
            Some("Cargo.toml" | "config.toml") => findings.extend(registries(file)),
            _ => {}
        }
    }
    findings
}

fn keeps_lints(file: &File) -> bool {
    let squeezed: String = file.text.chars().filter(|char| !char.is_whitespace()).collect();
    squeezed.contains("[lints]workspace=true") || squeezed.contains("lints.workspace=true")
}

fn sources(file: &File) -> Vec<Finding> {
    let foreign = |line: &str| {
        line.strip_prefix("source = ").is_some_and(|source| source.trim_matches('"') != REGISTRY)
    };
    let advice = "a dependency comes from elsewhere than crates.io: use a published version";
    let lines = file.lines().filter(|(_, line)| foreign(line));
    lines.map(|(number, _)| Finding::new(&file.path, number, advice)).collect()
}

fn registries(file: &File) -> Vec<Finding> {
    let own = |line: &str| OWN_REGISTRY.iter().any(|key| line.trim_start().starts_with(key));
    let advice = "a registry of one's own belongs in one's own cargo configuration: remove it";
    let lines = file.lines().filter(|(_, line)| own(line));
    lines.map(|(number, _)| Finding::new(&file.path, number, advice)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    fn krate(described: bool) -> Vec<Crate> {
        let manifest = "crates/a/Cargo.toml".into();
        vec![Crate { name: "a".into(), manifest, described, ..Crate::default() }]
    }

    #[test]
    fn a_described_crate_with_the_workspace_lints_is_let_be() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", "[lints]\nworkspace = true\n")]);
        assert_eq!(check(&tree, &krate(true)), []);
    }

    #[test]
    fn a_crate_without_a_description_is_found() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", "lints.workspace = true\n")]);
        let found = shown(&check(&tree, &krate(false)));
        assert!(found[0].contains("add a `description`"), "{found:?}");
    }

    #[test]
    fn a_crate_without_the_workspace_lints_is_found() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n")]);
        let found = shown(&check(&tree, &krate(true)));
        assert!(found[0].contains("add `[lints]"), "{found:?}");
    }

    #[test]
    fn a_dependency_from_elsewhere_is_found() {
        let lock = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example.org/x\"\n");
        let found = shown(&check(&Tree::of(&[("Cargo.lock", &lock)]), &[]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("Cargo.lock:2:"), "{found:?}");
    }

    #[test]
    fn a_registry_of_ones_own_is_found() {
        let config = "[source.crates-io]\nreplace-with = \"mine\"\n";
        assert_eq!(check(&Tree::of(&[(".cargo/config.toml", config)]), &[]).len(), 2);
    }
}
