//! Which crate may know which: dependencies point down only.
//!
//! Only the binary picks backends, so nothing else may name one outside its tests.

use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata};

use super::finding::Finding;

/// What a crate may depend on: in its code, and besides that in its tests and benches alone.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
}

/// From the bottom up. An edge that is not here is refused.
const LAYERS: &[Layer] = &[
    Layer { name: "model", uses: &[], tests_use: &[] },
    Layer { name: "settings", uses: &["model"], tests_use: &[] },
    Layer { name: "journal", uses: &["model"], tests_use: &[] },
    Layer { name: "buffer", uses: &["model"], tests_use: &[] },
    Layer { name: "store", uses: &["model"], tests_use: &[] },
    Layer { name: "guard", uses: &[], tests_use: &[] },
    Layer { name: "outbound", uses: &[], tests_use: &[] },
    Layer { name: "notify", uses: &["model", "guard", "outbound"], tests_use: &[] },
    Layer { name: "advise", uses: &["model", "store"], tests_use: &[] },
    Layer { name: "buffer-journal", uses: &["model", "buffer", "journal"], tests_use: &[] },
    Layer { name: "testbed", uses: &[], tests_use: &[] },
    Layer { name: "buffer-redis", uses: &["model", "buffer"], tests_use: &["testbed"] },
    Layer { name: "buffer-kafka", uses: &["model", "buffer"], tests_use: &["testbed"] },
    Layer { name: "buffer-sqs", uses: &["model", "buffer", "outbound"], tests_use: &["testbed"] },
    Layer { name: "store-postgres", uses: &["model", "store"], tests_use: &["testbed"] },
    Layer { name: "store-sqlite", uses: &["model", "store"], tests_use: &[] },
    Layer { name: "engine", uses: &["model", "buffer", "store", "guard"], tests_use: &[] },
    Layer {
        name: "runtime",
        uses: &["model", "buffer", "store", "guard", "engine"],
        tests_use: &[],
    },
    Layer {
        name: "fraud",
        uses: &["model", "settings", "buffer", "store", "engine"],
        tests_use: &[],
    },
    Layer {
        name: "table",
        uses: &["model", "settings", "buffer", "store", "engine", "runtime"],
        tests_use: &[],
    },
    Layer { name: "server", uses: &["model", "buffer", "table"], tests_use: &["store"] },
    Layer {
        name: "webhook",
        uses: &["model", "settings", "buffer", "engine", "runtime", "guard", "notify", "server"],
        tests_use: &[],
    },
    Layer {
        name: "lab",
        uses: &["model", "buffer", "store", "engine", "runtime", "fraud"],
        tests_use: &[
            "journal",
            "buffer-journal",
            "buffer-redis",
            "buffer-kafka",
            "buffer-sqs",
            "store-sqlite",
            "store-postgres",
            "table",
            "server",
            "outbound",
            "guard",
            "testbed",
        ],
    },
    Layer {
        name: "forebay",
        uses: &[
            "model",
            "settings",
            "advise",
            "journal",
            "buffer",
            "store",
            "buffer-journal",
            "buffer-redis",
            "buffer-kafka",
            "buffer-sqs",
            "store-sqlite",
            "store-postgres",
            "engine",
            "runtime",
            "fraud",
            "table",
            "server",
            "webhook",
            "lab",
        ],
        tests_use: &["testbed"],
    },
    Layer {
        name: "trial",
        uses: &[
            "model", "settings", "guard", "outbound", "buffer", "store", "engine", "runtime",
            "server", "forebay",
        ],
        tests_use: &["lab", "testbed"],
    },
    Layer { name: "xtask", uses: &[], tests_use: &[] },
];

/// Libraries that mark a boundary, and the crates that may use them outside tests.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("anyhow", &["forebay", "lab", "testbed", "trial", "xtask"]),
    ("axum", &["server"]),
    ("clap", &["forebay", "trial"]),
    ("deadpool-postgres", &["store-postgres"]),
    ("ratatui", &["lab"]),
    ("rdkafka", &["buffer-kafka"]),
    ("redis", &["buffer-redis"]),
    ("reqsign-aws-v4", &["buffer-sqs"]),
    ("rusqlite", &["store-sqlite"]),
    ("tokio-postgres", &["store-postgres"]),
];

/// One crate of the workspace.
#[derive(Debug, Default)]
pub(super) struct Crate {
    pub(super) name: String,
    /// Its manifest, from the root.
    pub(super) manifest: String,
    pub(super) described: bool,
    pub(super) uses: Vec<Dependency>,
}

/// One line under a crate's dependencies.
#[derive(Debug)]
pub(super) struct Dependency {
    name: String,
    tests_only: bool,
    ours: bool,
}

/// The workspace's crates, from cargo's own account of them.
pub(super) fn crates(metadata: &Metadata, root: &Path) -> Vec<Crate> {
    let read = |package: &&cargo_metadata::Package| Crate {
        name: package.name.to_string(),
        manifest: {
            let path = package.manifest_path.as_std_path();
            path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
        },
        described: package.description.as_deref().is_some_and(|text| !text.trim().is_empty()),
        uses: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                tests_only: dependency.kind == DependencyKind::Development,
                ours: dependency.path.is_some(),
            })
            .collect(),
    };
    metadata.workspace_packages().iter().map(read).collect()
}

/// Every dependency that points the wrong way.
pub(super) fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in crates {
        let mut say = |advice: String| findings.push(Finding::new(&krate.manifest, 1, advice));
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == krate.name) else {
            say(format!(
                "give `{}` its place in the table of xtask/src/tidy/layers.rs",
                krate.name
            ));
            continue;
        };
        for used in &krate.uses {
            let name = used.name.as_str();
            let in_tests = used.tests_only && layer.tests_use.contains(&name);
            if used.ours && !layer.uses.contains(&name) && !in_tests {
                let place = if used.tests_only { "even in its tests" } else { "by the layers" };
                say(format!("`{}` may not know `{name}` ({place}): remove it", krate.name));
            }
            let bounded = OUTSIDE.iter().find(|(library, _)| *library == name);
            if let Some((_, may)) = bounded
                && !used.tests_only
                && !may.contains(&krate.name.as_str())
            {
                say(format!("`{name}` belongs in {} alone: remove it here", may.join(", ")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    fn krate(name: &str, uses: &[(&str, bool, bool)]) -> Crate {
        let dependency = |(name, tests_only, ours): &(&str, bool, bool)| Dependency {
            name: (*name).into(),
            tests_only: *tests_only,
            ours: *ours,
        };
        Crate {
            name: name.into(),
            manifest: format!("crates/{name}/Cargo.toml"),
            described: true,
            uses: uses.iter().map(dependency).collect(),
        }
    }

    #[test]
    fn edges_that_point_down_are_let_be() {
        let crates = [
            krate("fraud", &[("engine", false, true), ("serde", false, false)]),
            krate("lab", &[("buffer", false, true), ("store-sqlite", true, true)]),
            krate("forebay", &[("buffer-journal", false, true), ("anyhow", false, false)]),
            krate("server", &[("axum", false, false)]),
        ];
        assert_eq!(check(&crates), []);
    }

    #[test]
    fn an_edge_that_points_up_is_found() {
        let found = shown(&check(&[krate("buffer", &[("engine", false, true)])]));
        let expect = "crates/buffer/Cargo.toml:1: `buffer` may not know `engine` (by the layers)";
        assert!(found[0].starts_with(expect), "{found:?}");
    }

    #[test]
    fn only_the_binary_and_the_labs_tests_may_name_a_backend() {
        let backend = |tests_only| [("store-sqlite", tests_only, true)];
        assert_eq!(check(&[krate("lab", &backend(true))]).len(), 0);
        assert_eq!(check(&[krate("lab", &backend(false))]).len(), 1);
        assert_eq!(check(&[krate("engine", &backend(true))]).len(), 1);
        assert_eq!(check(&[krate("fraud", &backend(false))]).len(), 1);
        let driver = [("redis", false, false), ("tokio-postgres", false, false)];
        assert_eq!(check(&[krate("forebay", &driver)]).len(), 2);
    }

    #[test]
    fn servers_are_started_by_tests_alone() {
        let testbed = |tests_only| [("testbed", tests_only, true)];
        for name in ["buffer-redis", "store-postgres", "lab", "forebay"] {
            assert_eq!(check(&[krate(name, &testbed(true))]).len(), 0, "{name}");
            assert_eq!(check(&[krate(name, &testbed(false))]).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_crate_without_a_place_in_the_table_is_found() {
        let found = shown(&check(&[krate("stray", &[])]));
        assert!(found[0].contains("give `stray` its place"), "{found:?}");
    }

    #[test]
    fn a_library_on_the_wrong_side_of_its_boundary_is_found() {
        assert_eq!(check(&[krate("engine", &[("anyhow", false, false)])]).len(), 1);
        assert_eq!(check(&[krate("lab", &[("axum", true, false)])]).len(), 0);
    }

    #[test]
    fn the_table_itself_has_no_circle() {
        for (at, layer) in LAYERS.iter().enumerate() {
            for name in layer.uses {
                let below = LAYERS[..at].iter().any(|lower| lower.name == *name);
                assert!(below, "{} uses {name}, which is not below it", layer.name);
            }
        }
    }
}
