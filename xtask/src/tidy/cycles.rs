//! No files of a crate import each other in a circle: what they share belongs in a file of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::imports::{self, Edges};
use super::tree::Tree;

/// Every circle in the crates of the workspace.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let folders: BTreeSet<&str> =
        tree.files().iter().filter_map(|file| folder_of(&file.path)).collect();
    let mut findings = Vec::new();
    for folder in folders {
        let edges = imports::edges(tree, &format!("{folder}/src"));
        findings.extend(circles(&edges).iter().map(|circle| finding(circle, &edges)));
    }
    findings
}

/// `crates/NAME` of a file in its sources, or `xtask`.
fn folder_of(path: &str) -> Option<&str> {
    let (folder, _) = path.split_once("/src/")?;
    let is_crate = folder.strip_prefix("crates/").is_some_and(|name| !name.contains('/'));
    (is_crate || folder == "xtask").then_some(folder)
}

fn finding(circle: &[&str], edges: &Edges<'_>) -> Finding {
    let ties: Vec<String> = circle
        .iter()
        .flat_map(|from| {
            let to = edges.get(from).into_iter().flatten();
            let inside = to.filter(|(to, _)| circle.contains(to));
            inside.map(move |(to, name)| format!("{} takes {name} of {}", short(from), short(to)))
        })
        .collect();
    let advice = format!(
        "{} files import each other in a circle: move what they share into a file of its own ({})",
        circle.len(),
        ties.join("; ")
    );
    Finding::new(circle[0], 1, advice)
}

/// A path behind its `src/`.
fn short(path: &str) -> &str {
    path.split_once("/src/").map_or(path, |(_, inner)| inner)
}

/// Groups of files that all reach each other.
fn circles<'t>(edges: &Edges<'t>) -> Vec<Vec<&'t str>> {
    let reached: BTreeMap<&'t str, BTreeSet<&'t str>> =
        edges.keys().map(|from| (*from, reach(edges, from))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, there) in &reached {
        if seen.contains(from) || !there.contains(from) {
            continue;
        }
        let back = |to: &&&str| reached.get(**to).is_some_and(|there| there.contains(from));
        let circle: Vec<&str> = there.iter().filter(back).copied().collect();
        seen.extend(circle.iter().copied());
        circles.push(circle);
    }
    circles
}

/// All files that `from` imports, and that those import.
fn reach<'t>(edges: &Edges<'t>, from: &'t str) -> BTreeSet<&'t str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(at) = next.pop() {
        for to in edges.get(at).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    fn tree(a: &str, b: &str, c: &str) -> Tree {
        Tree::of(&[
            ("crates/x/Cargo.toml", ""),
            ("crates/x/src/lib.rs", "mod a; mod b; mod c;"),
            ("crates/x/src/a.rs", a),
            ("crates/x/src/b.rs", b),
            ("crates/x/src/c.rs", c),
        ])
    }

    #[test]
    fn files_that_import_each_other_are_found_with_what_ties_them() {
        let two = tree("use crate::b::Y;", "use crate::a::X;", "use crate::a::X;");
        let expect = "crates/x/src/a.rs:1: 2 files import each other in a circle: move what they share into \
                      a file of its own (a.rs takes Y of b.rs; b.rs takes X of a.rs)";
        assert_eq!(shown(&check(&two)), [expect]);
        let three = tree("use crate::b::Y;", "use crate::c::Z;", "fn f() { crate::a::g() }");
        assert!(shown(&check(&three))[0].contains("3 files import each other"));
    }

    #[test]
    fn files_that_import_one_way_are_let_be() {
        let down = tree("use crate::{b::Y, c::Z};", "use crate::c::Z;", "");
        assert_eq!(check(&down), []);
    }
}
