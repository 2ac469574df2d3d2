//! Which file of a crate names what of which other: `use` lines, and paths in the code.
//!
//! A name is followed through the re-exports of the files that hand it on, to the file that defines it.
//! Methods are not seen: only names that a path leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::code::is_test_file;
use super::rust;
use super::tree::{File, Tree};

/// How many re-exports one name is followed through.
const HOPS_MAX: usize = 8;

/// The files that each file imports from, by path, and one name that it takes.
pub(super) type Edges<'t> = BTreeMap<&'t str, BTreeMap<&'t str, String>>;

/// A path from the root of its crate.
type Names = Vec<String>;

/// A file as a module.
struct Module<'t> {
    path: &'t str,
    at: Names,
    /// What it brings into scope: the name here, and the path from the root.
    brings: Vec<(String, Names)>,
    /// Paths that its code uses, re-exports left out.
    uses: Vec<Names>,
}

/// The edges between the files below `source`, e.g. `crates/model/src`.
pub(super) fn edges<'t>(tree: &'t Tree, source: &str) -> Edges<'t> {
    let folder = format!("{source}/");
    let files = tree.files().iter().filter_map(|file| {
        let inner = file.path.strip_prefix(&folder)?;
        let counts = file.is_rust() && !is_test_file(&file.path) && !inner.starts_with("bin/");
        counts.then(|| (file, place(inner)))
    });
    let files: Vec<(&File, Names)> = files.collect();
    let places: BTreeSet<Names> = files.iter().map(|(_, at)| at.clone()).collect();
    let modules: Vec<Module<'t>> =
        files.into_iter().map(|(file, at)| module(file, at, &places)).collect();
    let by_place: BTreeMap<&Names, &Module<'t>> =
        modules.iter().map(|module| (&module.at, module)).collect();
    let mut edges = Edges::new();
    for module in &modules {
        for used in &module.uses {
            let target = resolved(used, &by_place);
            if let Some(target) = target.filter(|target| *target != module.path) {
                let of = edges.entry(module.path).or_default().entry(target);
                of.or_insert_with(|| used.last().cloned().unwrap_or_default());
            }
        }
    }
    edges
}

/// The path of the module that lies in this file.
fn place(inner: &str) -> Names {
    let inner = inner.trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    match inner {
        "lib" | "main" | "mod" => Vec::new(),
        inner => inner.split('/').map(str::to_owned).collect(),
    }
}

fn module<'t>(file: &'t File, at: Names, places: &BTreeSet<Names>) -> Module<'t> {
    let code = code(&file.text);
    let mut module = Module { path: &file.path, at, brings: Vec::new(), uses: Vec::new() };
    let mut rest = String::with_capacity(code.len());
    let mut from = 0;
    while let Some(start) = next_use(&code, from) {
        let end = code[start..].find(';').map_or(code.len(), |length| start + length);
        let is_handed_on = code[..start].trim_end().ends_with(['b', ')']);
        for (path, name) in listed(&code[start + 4..end]) {
            let Some(path) = from_root(&path, &module.at, places) else { continue };
            if !is_handed_on {
                module.uses.push(path.clone());
            }
            module.brings.push((name, path));
        }
        rest.push_str(&code[from..start]);
        from = end;
    }
    rest.push_str(&code[from..]);
    for path in paths(&rest) {
        module.uses.extend(from_root(&path, &module.at, places));
    }
    module
}

/// The code of a file, without its tests.
fn code(text: &str) -> String {
    let masked = rust::mask(text);
    let tests = rust::test_lines(&masked);
    let lines = masked.lines().zip(tests).filter(|(_, is_test)| !is_test);
    lines.map(|(line, _)| format!("{line}\n")).collect()
}

/// Where the next `use` begins.
fn next_use(code: &str, from: usize) -> Option<usize> {
    let starts = code[from..].match_indices("use ").map(|(at, _)| from + at);
    starts.into_iter().find(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The paths of a tree of imports, each with the name that it has here.
fn listed(tree: &str) -> Vec<(Names, String)> {
    let (before, inner) = match tree.find('{') {
        None => (tree, None),
        Some(open) => (&tree[..open], Some(&tree[open + 1..tree.rfind('}').unwrap_or(tree.len())])),
    };
    let (path, alias) = before.split_once(" as ").unwrap_or((before, ""));
    let path: Names = path
        .split("::")
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let Some(inner) = inner else {
        let name =
            if alias.is_empty() { path.last().cloned() } else { Some(alias.trim().to_owned()) };
        let path = path.into_iter().filter(|name| name != "*").collect();
        return name.map(|name| (path, name)).into_iter().collect();
    };
    let mut all = Vec::new();
    for part in at_commas(inner) {
        for (end, name) in listed(part) {
            let whole = path.iter().cloned();
            if end.first().is_some_and(|first| first == "self") {
                let name =
                    if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
                all.push((whole.collect(), name));
            } else {
                all.push((whole.chain(end).collect(), name));
            }
        }
    }
    all
}

/// The parts of a list, at its commas outside of braces.
fn at_commas(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// All paths of at least two names.
fn paths(code: &str) -> Vec<Names> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !is_path(c)).filter(|word| word.contains("::"));
    let names = |word: &str| {
        let names = word.split("::").map(|name| name.trim_matches(':').to_owned());
        names.filter(|name| !name.is_empty()).collect::<Names>()
    };
    words
        .filter(|word| !word.starts_with("::"))
        .map(names)
        .filter(|path| !path.is_empty())
        .collect()
}

/// The path from the root of the crate; none if it leads out of the crate, or to nothing here.
fn from_root(path: &[String], at: &Names, places: &BTreeSet<Names>) -> Option<Names> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => at.clone(),
        "super" => at.split_last()?.1.to_vec(),
        child => {
            let place: Names = at.iter().cloned().chain([child.to_owned()]).collect();
            if !places.contains(&place) {
                return None;
            }
            place
        }
    };
    for name in rest {
        if name == "super" {
            base.pop();
        } else {
            base.push(name.clone());
        }
    }
    Some(base)
}

/// The file that defines what this path names.
fn resolved<'t>(path: &Names, modules: &BTreeMap<&Names, &Module<'t>>) -> Option<&'t str> {
    let mut path = path.clone();
    for _ in 0..HOPS_MAX {
        let depth =
            (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth].to_vec()))?;
        let module = modules[&path[..depth].to_vec()];
        let Some(item) = path.get(depth) else { return Some(module.path) };
        let Some((_, handed)) = module.brings.iter().find(|(name, _)| name == item) else {
            return Some(module.path);
        };
        let next: Names = handed.iter().chain(&path[depth + 1..]).cloned().collect();
        if next == path {
            return Some(module.path);
        }
        path = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expect: &[(&str, &str)]) {
        let named: Vec<_> = files.iter().map(|(at, text)| (format!("c/src/{at}"), *text)).collect();
        let files: Vec<_> = named.iter().map(|(at, text)| (at.as_str(), *text)).collect();
        let tree = Tree::of(&files);
        let edges = edges(&tree, "c/src");
        let short = |path: &str| path.trim_start_matches("c/src/").to_owned();
        let got: Vec<_> = edges
            .iter()
            .flat_map(|(from, to)| to.keys().map(|to| (short(from), short(to))))
            .collect();
        let expect: Vec<_> =
            expect.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn a_use_and_a_path_in_the_code_are_edges() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::{X, c::{self, Y}, Z as W};\nfn f() { crate::c::g(); }"),
                ("b.rs", "pub struct X;"),
                (
                    "c.rs",
                    "use super::b;\n// crate::a::f\n#[cfg(test)]\nmod tests { use crate::a; }",
                ),
            ],
            &[("a.rs", "b.rs"), ("a.rs", "c.rs"), ("c.rs", "b.rs")],
        );
    }

    #[test]
    fn a_name_that_is_handed_on_leads_to_the_file_that_defines_it() {
        check(
            &[
                ("lib.rs", "mod a; mod b;\npub use a::{X, inner::Y};"),
                ("a.rs", "pub mod inner;\npub(crate) use inner::Deep;\npub struct X;"),
                ("a/inner.rs", "pub struct Y; pub struct Deep;"),
                ("b.rs", "use crate::{X, Y};\nuse crate::a::Deep;"),
            ],
            &[("b.rs", "a.rs"), ("b.rs", "a/inner.rs")],
        );
    }

    #[test]
    fn a_parent_that_uses_its_child_is_an_edge_and_so_is_the_way_back() {
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod inner;\nuse inner::Y;\npub struct X(Y);"),
                ("a/inner.rs", "use super::X;\npub struct Y;"),
            ],
            &[("a.rs", "a/inner.rs"), ("a/inner.rs", "a.rs")],
        );
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a/mod.rs", "mod inner; mod other;\npub use inner::Y;"),
                ("a/inner.rs", "pub struct Y;"),
                ("a/other.rs", "fn f() { super::super::a::inner::g(); }"),
            ],
            &[("a/other.rs", "a/inner.rs")],
        );
    }

    #[test]
    fn what_lies_outside_the_crate_is_no_edge() {
        check(&[("lib.rs", "use std::fmt;\nfn f() { std::mem::take(x); a::b(); }")], &[]);
    }
}
