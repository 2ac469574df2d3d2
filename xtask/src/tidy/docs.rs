//! Documents: known ones at the root, links that lead somewhere, a code map that is whole.

use super::finding::Finding;
use super::layers::Crate;
use super::tree::{File, Tree};

/// The documents that lie at the root. Any other belongs in `docs`.
const ROOT: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Checks every Markdown file.
pub(super) fn check(tree: &Tree, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = code_map(tree, crates);
    for file in tree.files().iter().filter(|file| file.extension() == "md") {
        findings.extend(links(tree, file));
        if !file.path.contains('/') && !ROOT.contains(&file.path.as_str()) {
            findings.push(Finding::new(&file.path, 1, "move it to docs: the root is for few"));
        }
    }
    for name in ROOT {
        if tree.file(name).is_none() {
            findings.push(Finding::new(name, 1, "write it: readers look for it at the root"));
        }
    }
    findings
}

/// Every crate is on the map, or a newcomer will not find it.
fn code_map(tree: &Tree, crates: &[Crate]) -> Vec<Finding> {
    let Some(file) = tree.file("ARCHITECTURE.md") else { return Vec::new() };
    let heading = |line: &str| line.starts_with('#');
    let is_map = |line: &str| heading(line) && line.to_lowercase().contains("code map");
    let Some((start, _)) = file.lines().find(|(_, line)| is_map(line)) else {
        return vec![Finding::new(&file.path, 1, "add a section headed `Code map`")];
    };
    let level = |line: &str| line.chars().take_while(|char| *char == '#').count();
    let map_level = level(file.text.lines().nth(start - 1).unwrap_or_default());
    let map: Vec<&str> = file
        .text
        .lines()
        .skip(start)
        .take_while(|line| !heading(line) || level(line) > map_level)
        .collect();
    let on_map = |name: &str| map.iter().any(|line| names(line, name));
    let missing = crates.iter().filter(|krate| !on_map(&krate.name));
    let advice = |krate: &Crate| format!("put `{}` on the code map", krate.name);
    missing.map(|krate| Finding::new(&file.path, start, advice(krate))).collect()
}

/// Whether a line names a crate, and not another one whose name contains it.
fn names(line: &str, name: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '-' || char == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Links to files of the repository that are not there.
fn links(tree: &Tree, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut fenced = false;
    for (number, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let path = target.split('#').next().unwrap_or_default();
            let outside = ["http://", "https://", "mailto:"].iter().any(|p| path.starts_with(p));
            if outside || path.is_empty() {
                continue;
            }
            if !resolve(folder, path).is_some_and(|path| tree.holds(&path)) {
                let advice = format!("`{path}` leads nowhere: correct the link");
                findings.push(Finding::new(&file.path, number, advice));
            }
        }
    }
    findings
}

/// What the links and pictures on a line point at.
fn targets(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    // Every second piece is between backticks: code, where brackets mean something else.
    for piece in line.split('`').step_by(2) {
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            for (at, _) in piece.match_indices(open) {
                let rest = &piece[at + open.len()..];
                let target = rest.split(close).next().unwrap_or_default();
                targets.push(target.split(" \"").next().unwrap_or_default().trim());
            }
        }
    }
    targets
}

/// A path from the root, or nothing if it leads out of the repository.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    const MAP: &str = "# House\n\n## Code map\n\n`crates/buffer`: x\n\n## Next\n\nbuffer-journal\n";

    fn found(files: &[(&str, &str)], crates: &[&str]) -> Vec<String> {
        let mut all: Vec<(&str, &str)> = ROOT.iter().map(|name| (*name, "x\n")).collect();
        all.retain(|(name, _)| *name != "ARCHITECTURE.md");
        if !files.iter().any(|(name, _)| *name == "ARCHITECTURE.md") {
            all.push(("ARCHITECTURE.md", MAP));
        }
        all.extend(files);
        let krate = |name: &&str| Crate { name: (*name).into(), ..Crate::default() };
        shown(&check(&Tree::of(&all), &crates.iter().map(krate).collect::<Vec<_>>()))
    }

    #[test]
    fn links_that_lead_somewhere_are_let_be() {
        let text = "[a](b.md#part), [up](../README.md), [out](https://example.org), [here](#x)\n\
                    `[not](a/link)` <img src=\"b.md\">\n```\n[nor](this)\n```\n";
        assert!(found(&[("docs/a.md", text), ("docs/b.md", "")], &["buffer"]).is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        for link in ["[a](gone.md)", "[a](../../out.md)", "![a](gone.svg)", "<img src=\"no.png\">"]
        {
            let found = found(&[("docs/a.md", &format!("x\n{link}\n"))], &[]);
            assert!(found[0].starts_with("docs/a.md:2:"), "{link}: {found:?}");
        }
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_found() {
        let found = found(&[], &["buffer", "buffer-journal"]);
        assert_eq!(found, ["ARCHITECTURE.md:3: put `buffer-journal` on the code map"]);
    }

    #[test]
    fn a_missing_map_is_found() {
        assert!(found(&[("ARCHITECTURE.md", "# House\n")], &[])[0].contains("Code map"));
    }

    #[test]
    fn stray_and_missing_documents_at_the_root_are_found() {
        assert!(found(&[("NOTES.md", "x\n")], &[])[0].starts_with("NOTES.md:1: move it"));
        assert_eq!(check(&Tree::default(), &[]).len(), ROOT.len());
    }
}
