//! The Kafka broker that tests start: its jars, fetched once by name from Maven Central.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process;

/// The version whose jars are fetched; `testbed` runs the same.
const VERSION: &str = "4.1.0";
/// What the broker logs through; its own packages bring it apart from their jars.
const LOG4J_VERSION: &str = "2.24.3";
/// The plugin that fetches what a project depends on.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Where the jars are kept.
fn folder() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(cache.or_else(home)?.join("forebay").join(format!("kafka-{VERSION}")))
}

/// Whether they are there.
pub(crate) fn present() -> bool {
    folder().is_some_and(|folder| folder.is_dir())
}

/// Makes sure that the broker's jars are there, fetching them if `install` allows.
///
/// # Errors
/// One sentence that says what is missing and what to do about it.
pub(crate) fn provide(root: &Path, install: bool) -> Result<(), String> {
    let folder = folder().ok_or("neither XDG_CACHE_HOME nor HOME is set, so no Kafka is kept")?;
    if folder.is_dir() {
        return Ok(());
    }
    let missing = format!("Apache Kafka {VERSION} is not in {}", folder.display());
    if !install {
        return Err(format!("{missing} and installing is off"));
    }
    println!("{missing}: fetching it, once (43 MB from Maven Central; --no-install skips it)");
    fetch(root, &folder).map_err(|error| format!("{missing} and could not be fetched: {error}"))
}

/// Fetches into a folder beside it, which gets its name only when it is whole.
fn fetch(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    let pom = part.join("pom.xml");
    fs::write(&pom, project())?;
    let jars = part.join("jars");
    let (file, output) = (pom.display().to_string(), jars.display().to_string());
    let output = format!("-DoutputDirectory={output}");
    let args = ["-B", "-q", "-f", &file, COPY, "-DincludeScope=runtime", &output];
    process::run(&mut process::command(root, "mvn", &args))?;
    fs::rename(&jars, folder)?;
    fs::remove_dir_all(&part)?;
    Ok(())
}

/// A project that depends on the broker and its log, and is nothing else.
fn project() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let broker = dependency("org.apache.kafka", "kafka_2.13", VERSION);
    let log = dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION);
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>forebay</groupId><artifactId>kafka</artifactId><version>1</version>\
         <dependencies>{broker}{log}</dependencies></project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_what_tests_run() {
        let runs = include_str!("../../crates/testbed/src/kafka.rs");
        assert!(runs.contains(&format!("const VERSION: &str = \"{VERSION}\";")));
        assert!(project().contains(&format!("<version>{VERSION}</version>")));
    }
}
