//! The binary is thin: arguments, configuration, registry and verbs. All else lies in libraries.

use super::finding::Finding;
use super::tree::Tree;

/// The sources of the binary.
const SOURCES: &str = "crates/forebay/src/";
/// Lines of all its sources together, tests beside the code among them, stay below this.
const LINES_LIMIT: usize = 5_000;

/// Whether the binary has grown past its limit.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let of_binary = |path: &str| path.starts_with(SOURCES);
    let sources = tree.files().iter().filter(|file| file.is_rust() && of_binary(&file.path));
    let lines: usize = sources.map(|file| file.lines().count()).sum();
    let advice = format!(
        "the binary has {lines} lines, and stays below {LINES_LIMIT}: move the body of a verb into the library \
         of its concept"
    );
    let too_long = lines >= LINES_LIMIT;
    too_long.then(|| Finding::new(SOURCES.trim_end_matches('/'), 1, advice)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    #[test]
    fn the_lines_of_all_sources_together_stay_below_the_limit() {
        let found = |lines: usize| {
            let (one, other) = ("//\n".repeat(3_000), "//\n".repeat(lines - 3_000));
            let files = [
                ("crates/forebay/src/main.rs", one.as_str()),
                ("crates/forebay/src/verbs/demo.rs", other.as_str()),
                ("crates/forebay/tests/kill.rs", one.as_str()),
                ("crates/lab/src/lib.rs", one.as_str()),
            ];
            shown(&check(&Tree::of(&files)))
        };
        assert_eq!(found(4_999), Vec::<String>::new());
        assert!(found(5_000)[0].starts_with("crates/forebay/src:1: the binary has 5000 lines"));
    }
}
