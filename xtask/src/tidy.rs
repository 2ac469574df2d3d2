//! `cargo xtask tidy`: the rules of the house that the compiler and clippy do not know.
//!
//! Each check is a plain function from the files (or the workspace's dependency edges) to findings,
//! so each can be shown a bad sample in a test: a check that cannot fail is a defect. What clippy
//! already holds (long functions, casts, printing) is not checked again here.

mod backends;
mod binary;
mod code;
mod cycles;
mod docs;
mod domains;
mod families;
mod finding;
mod imports;
mod invariants;
mod layers;
mod manifests;
mod rust;
mod shape;
mod tree;

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use tree::Tree;

pub(crate) const HELP: &str = "\
Check the rules of the house: which crate may know which, what a backend costs, sizes, names, leftovers, documents.

Usage: cargo xtask tidy

Each finding is one line, `path:line: what to do`.

Example:
  cargo xtask tidy
";

/// Runs every check; true when there is nothing to put right.
///
/// # Errors
/// If the files or the workspace can't be read.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .other_options(["--locked".to_string()])
        .exec()
        .context("could not read the workspace with `cargo metadata`")?;
    let crates = layers::crates(&metadata, root);

    let mut findings = layers::check(&crates);
    findings.extend(manifests::check(&tree, &crates));
    findings.extend(shape::check(&tree));
    findings.extend(code::check(&tree));
    findings.extend(backends::check(&tree));
    findings.extend(binary::check(&tree));
    findings.extend(cycles::check(&tree));
    findings.extend(domains::check(&tree));
    findings.extend(docs::check(&tree, &crates));
    findings.extend(families::check(&tree));
    findings.extend(invariants::check(&tree));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", tree.files().len(), findings.len());
    Ok(findings.is_empty())
}
