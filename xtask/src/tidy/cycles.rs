//! No files of a crate import each other in a circle: what they share belongs in a file of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::imports::{self, Edges};
use super::tree::Tree;

/// A circle that is still there.
struct Known {
    /// The first of its files, by path.
    first: &'static str,
    /// How many files it has at most.
    files_max: usize,
    why: &'static str,
}

const PARENT: &str = "a module and its own parts, which use what it defines";

/// To be made shorter, never longer. What is not here any more is taken off.
const KNOWN: &[Known] = &[
    Known { first: "crates/buffer/src/foreign.rs", files_max: 2, why: PARENT },
    Known { first: "crates/buffer/src/memory.rs", files_max: 2, why: PARENT },
    Known { first: "crates/buffer/src/spill.rs", files_max: 2, why: PARENT },
    Known { first: "crates/store-postgres/src/options.rs", files_max: 2, why: PARENT },
    Known { first: "crates/store-sqlite/src/family/tables.rs", files_max: 3, why: PARENT },
    Known {
        first: "crates/store/src/conformance.rs",
        files_max: 13,
        why: "a suite, and the guarantees that take its subject",
    },
    Known { first: "crates/testbed/src/proxy.rs", files_max: 2, why: PARENT },
    Known { first: "crates/trial/src/backend.rs", files_max: 2, why: PARENT },
];

/// Every circle in the crates of the workspace that is new, or has grown.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    check_but(tree, KNOWN)
}

fn check_but(tree: &Tree, known: &[Known]) -> Vec<Finding> {
    let folders: BTreeSet<&str> =
        tree.files().iter().filter_map(|file| folder_of(&file.path)).collect();
    let mut left: Vec<&Known> = known.iter().collect();
    let mut findings = Vec::new();
    for folder in folders {
        let edges = imports::edges(tree, &format!("{folder}/src"));
        for circle in circles(&edges) {
            let found = left.iter().position(|known| known.first == circle[0]);
            let known = found.map(|at| left.swap_remove(at));
            if known.is_none_or(|known| circle.len() > known.files_max) {
                findings.push(finding(&circle, &edges));
            }
        }
    }
    findings.extend(left.into_iter().map(|known| {
        let advice = format!(
            "begins no circle of imports any more ({}): take it off the list in \
             xtask/src/tidy/cycles.rs",
            known.why
        );
        Finding::new(known.first, 1, advice)
    }));
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
        assert_eq!(shown(&check_but(&two, &[])), [expect]);
        let three = tree("use crate::b::Y;", "use crate::c::Z;", "fn f() { crate::a::g() }");
        assert!(shown(&check_but(&three, &[]))[0].contains("3 files import each other"));
    }

    #[test]
    fn files_that_import_one_way_are_let_be() {
        let down = tree("use crate::{b::Y, c::Z};", "use crate::c::Z;", "");
        assert_eq!(check_but(&down, &[]), []);
    }

    #[test]
    fn a_circle_on_the_list_is_let_be_until_it_grows_or_is_gone() {
        let known = [Known { first: "crates/x/src/a.rs", files_max: 2, why: "old" }];
        let two = tree("use crate::b::Y;", "use crate::a::X;", "");
        assert_eq!(check_but(&two, &known), []);
        let three = tree("use crate::b::Y;", "use crate::c::Z;", "use crate::a::X;");
        assert!(shown(&check_but(&three, &known))[0].contains("3 files import each other"));
        let none = tree("use crate::b::Y;", "", "");
        let gone = shown(&check_but(&none, &known));
        assert!(gone[0].contains("begins no circle of imports any more (old)"), "{gone:?}");
    }
}
