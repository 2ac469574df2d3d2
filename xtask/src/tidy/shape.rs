//! The shape of files: how long, what they are called, how their lines end, where they point.

use super::finding::Finding;
use super::rust;
use super::tree::{File, Tree};

/// Past this a file has become more than one concept.
const FILE_LINES_MAX: usize = 800;
/// Past this a line no longer fits beside another; the formatter leaves long text alone.
const LINE_CHARS_MAX: usize = 120;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "common", "core", "helpers", "helper", "manager", "misc"];

/// Folders that exist on one machine. In two halves, so that this list does not find itself.
const OWN_FOLDERS: [&str; 3] = [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/Us", "ers")];

const TEXT: [&str; 9] = ["rs", "toml", "md", "sql", "sh", "yml", "yaml", "json", "csv"];

/// Checks every file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        // Seeds are the fuzzer's food: they hold whatever they hold.
        if file.path.starts_with("fuzz/seeds/") {
            continue;
        }
        findings.extend(names(file));
        findings.extend(own_paths(file));
        if TEXT.contains(&file.extension()) || file.text.starts_with("#!") {
            findings.extend(ends(file));
        }
        if file.is_rust() {
            findings.extend(sizes(file, LONG_FILES));
        }
    }
    findings.extend(stale(tree, LONG_FILES));
    findings
}

fn sizes(file: &File, long: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.lines().count();
    if lines > FILE_LINES_MAX && !long.iter().any(|(path, _)| *path == file.path) {
        let advice = format!("{lines} lines, at most {FILE_LINES_MAX}: split it by concept");
        findings.push(Finding::new(&file.path, lines, advice));
    }
    for (number, line) in file.lines() {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            let advice = format!("{chars} characters, at most {LINE_CHARS_MAX}: break the line");
            findings.push(Finding::new(&file.path, number, advice));
        }
    }
    findings
}

/// An exception that is no longer needed would hide the next long file.
fn stale(tree: &Tree, long: &[(&str, &str)]) -> Vec<Finding> {
    let needed =
        |path: &str| tree.file(path).is_some_and(|file| file.lines().count() > FILE_LINES_MAX);
    let stale = long.iter().filter(|(path, reason)| !needed(path) || reason.is_empty());
    let advice = "take it off the list of long files in xtask/src/tidy/shape.rs";
    stale.map(|(path, _)| Finding::new(path, 1, advice)).collect()
}

fn names(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let empty = |name: &str| EMPTY_NAMES.contains(&name);
    for part in file.path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if empty(stem) {
            let advice = format!("`{stem}` says nothing: name it after what is inside");
            findings.push(Finding::new(&file.path, 1, advice));
        }
    }
    if file.is_rust() {
        let masked = rust::mask(&file.text);
        for (index, line) in masked.lines().enumerate() {
            let declared = line.split("mod ").nth(1).filter(|_| {
                let before = line.split("mod ").next().unwrap_or_default().trim();
                before.is_empty() || before.starts_with("pub")
            });
            let name = declared.map(|rest| rest.trim().trim_end_matches([';', '{', ' ']));
            if let Some(name) = name.filter(|name| empty(name)) {
                let advice = format!("`mod {name}` says nothing: name it after what is inside");
                findings.push(Finding::new(&file.path, index + 1, advice));
            }
        }
    }
    findings
}

fn own_paths(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        if OWN_FOLDERS.iter().any(|folder| starts_path(line, folder)) {
            let advice = "a path of one machine: make it relative, or an option";
            findings.push(Finding::new(&file.path, number, advice));
        }
    }
    findings
}

/// Whether an absolute path on this line begins with `folder`, rather than holding it further on.
fn starts_path(line: &str, folder: &str) -> bool {
    let word = |char: char| char.is_alphanumeric() || ['-', '_', '.', '}'].contains(&char);
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(|char| word(char) && char != '.')
    })
}

fn ends(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |line, advice: &str| findings.push(Finding::new(&file.path, line, advice));
    for (number, line) in file.lines() {
        if line.contains('\t') {
            say(number, "a tab: use spaces");
        }
        if line.ends_with([' ', '\t', '\r']) || file.text.contains("\r\n") && number == 1 {
            say(number, "white space at the end of the line: remove it");
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        say(file.lines().count(), "the last line has no end: add a line break");
    }
    if file.text.ends_with("\n\n") {
        say(file.lines().count(), "empty lines at the end: remove them");
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
    fn a_plain_file_is_let_be() {
        assert!(found("crates/a/src/lease.rs", "mod kernel;\nfn core() {}\n").is_empty());
    }

    #[test]
    fn a_file_past_the_limit_is_found_and_one_at_it_is_not() {
        assert!(found("a.rs", &"//\n".repeat(800)).is_empty());
        assert!(found("a.rs", &"//\n".repeat(801))[0].contains("801 lines, at most 800"));
    }

    #[test]
    fn a_listed_long_file_is_let_be_until_the_listing_is_stale() {
        let tree = Tree::of(&[("a.rs", &"//\n".repeat(801)), ("b.rs", "//\n")]);
        assert_eq!(sizes(&tree.files()[0], &[("a.rs", "one table")]), []);
        assert_eq!(stale(&tree, &[("a.rs", "one table")]), []);
        assert_eq!(stale(&tree, &[("b.rs", "one table"), ("gone.rs", "x"), ("a.rs", "")]).len(), 3);
    }

    #[test]
    fn a_line_past_the_limit_is_found() {
        assert!(found("a.rs", &format!("//{}\n", "가".repeat(118))).is_empty());
        assert!(found("a.rs", &format!("//{}\n", "x".repeat(119)))[0].contains("121 characters"));
    }

    #[test]
    fn an_empty_name_is_found_in_paths_and_modules() {
        assert_eq!(found("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(found("crates/common/src/lease.rs", "").len(), 1);
        assert_eq!(found("a.rs", "pub(crate) mod helpers {\n}\nmod misc;\n").len(), 2);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let folder = OWN_FOLDERS[0];
        for text in [format!("see {folder}/a\n"), format!("open(\"{folder}\")\n")] {
            assert!(found("docs/a.md", &text)[0].starts_with("docs/a.md:1: a path of"), "{text}");
        }
        for text in [format!("a{folder}/b\n"), format!("{folder}er\n"), format!("..{folder}\n")] {
            assert!(found("docs/a.md", &text).is_empty(), "{text}");
        }
    }

    #[test]
    fn untidy_line_ends_are_found() {
        assert!(found("a.rs", "\tx\n")[0].contains("a tab"));
        assert!(found("a.md", "x \n")[0].contains("white space"));
        assert!(found("a.toml", "x\r\ny\n")[0].contains("white space"));
        assert!(found("a.md", "x")[0].contains("no end"));
        assert!(found("a.md", "x\n\n")[0].contains("empty lines"));
        assert!(found(".ci/run", "#!/bin/bash\nx ")[0].contains("white space"));
    }
}
