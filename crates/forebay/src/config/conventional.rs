//! The variables that a deployment beside other tools sets anyway: `POSTGRES_HOST`, `REDIS_HOST`,
//! `BATCH_SIZE` and their like.
//!
//! They stand below the file: a variable meant for another program must not move this one's money
//! away from where its own configuration says.

use settings::conventional::{bracketed, encoded, port};
use settings::{Error, Origin, Settings};

/// All that are read.
pub(crate) const NAMES: [&str; 8] = [
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_SCHEMA",
    "REDIS_HOST",
    "REDIS_PORT",
    "BATCH_SIZE",
];

/// The list that producers push to where none is named.
const LIST: &str = "tx_queue";

/// Applies those that are set. A host chooses the backend; what goes with it is ignored without it.
///
/// # Errors
/// If one holds no value of the key it stands for.
pub(super) fn apply(settings: &mut Settings, variables: &[(String, String)]) -> Result<(), Error> {
    let value = |wanted: &str| {
        let found = variables.iter().find(|(name, text)| name == wanted && !text.is_empty());
        found.map(|(_, text)| text.as_str())
    };
    let or = |name: &str, default: &str| encoded(value(name).unwrap_or(default));
    let mut set = |key: &str, text: &str, name: &str| {
        settings.set_text(key, text, Origin::Environment(name.to_owned()))
    };
    if let Some(host) = value("POSTGRES_HOST") {
        let user = or("POSTGRES_USER", "postgres");
        let port = port("POSTGRES_PORT", value("POSTGRES_PORT"), 5432)?;
        let (db, schema) = (or("POSTGRES_DB", "postgres"), or("POSTGRES_SCHEMA", "fds"));
        let host = bracketed(host);
        let url = format!("postgres://{user}@{host}:{port}/{db}?schema={schema}");
        set("store", &url, "POSTGRES_HOST")?;
    }
    if let Some(host) = value("REDIS_HOST") {
        let host = bracketed(host);
        let port = port("REDIS_PORT", value("REDIS_PORT"), 6379)?;
        set("buffer", &format!("redis://{host}:{port}/0?list={LIST}"), "REDIS_HOST")?;
    }
    if let Some(size) = value("BATCH_SIZE") {
        set("engine.batch_max", size, "BATCH_SIZE")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> Settings {
        let mut settings = super::super::layers::defaults([]);
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        apply(&mut settings, &variables.iter().map(owned).collect::<Vec<_>>()).unwrap();
        settings
    }

    #[test]
    fn the_conventional_names_make_urls() {
        let settings = applied(&[
            ("POSTGRES_HOST", "db.example"),
            ("POSTGRES_USER", "app"),
            ("POSTGRES_DB", "shop"),
            ("REDIS_HOST", "redis.example"),
            ("REDIS_PORT", "6380"),
            ("BATCH_SIZE", "500"),
        ]);
        let value = |key: &str| settings.entry(key).value.to_string();
        assert_eq!(value("store"), "postgres://app@db.example:5432/shop?schema=fds");
        assert_eq!(value("buffer"), "redis://redis.example:6380/0?list=tx_queue");
        assert_eq!(value("engine.batch_max"), "500");
        assert_eq!(settings.entry("store").origin.to_string(), "env POSTGRES_HOST");
    }

    #[test]
    fn without_a_host_nothing_changes() {
        let settings = applied(&[("POSTGRES_PORT", "1"), ("REDIS_PORT", "2")]);
        assert_eq!(settings.entry("store").origin, Origin::Default);
        assert_eq!(settings.entry("buffer").origin, Origin::Default);
    }
}
