//! The variables that a deployment beside other tools sets anyway: `POSTGRES_HOST`, `REDIS_HOST`,
//! `BATCH_SIZE` and their like.
//!
//! They stand below the file: a variable meant for another program must not move this one's money
//! away from where its own configuration says.

use super::value::Origin;
use super::{Error, Settings};

/// All that are read.
pub(crate) const NAMES: [&str; 11] = [
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "POSTGRES_SCHEMA",
    "PGPASSWORD",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
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
        let setting = settings.entry(key).setting.clone();
        settings.set_text(&setting, text, Origin::Environment(name.to_owned()))
    };
    if let Some(host) = value("POSTGRES_HOST") {
        let (user, port) = (or("POSTGRES_USER", "postgres"), or("POSTGRES_PORT", "5432"));
        let (db, schema) = (or("POSTGRES_DB", "postgres"), or("POSTGRES_SCHEMA", "fds"));
        let host = bracketed(host);
        let url = format!("postgres://{user}@{host}:{port}/{db}?schema={schema}");
        set("store", &url, "POSTGRES_HOST")?;
    }
    if let Some(host) = value("REDIS_HOST") {
        let (host, port) = (bracketed(host), or("REDIS_PORT", "6379"));
        set("buffer", &format!("redis://{host}:{port}/0?list={LIST}"), "REDIS_HOST")?;
    }
    if let Some(size) = value("BATCH_SIZE") {
        set("engine.batch_max", size, "BATCH_SIZE")?;
    }
    let postgres_password = value("POSTGRES_PASSWORD").or_else(|| value("PGPASSWORD"));
    settings.secrets.postgres_password = postgres_password.map(str::to_owned);
    settings.secrets.redis_password = value("REDIS_PASSWORD").map(str::to_owned);
    Ok(())
}

/// An IPv6 address in the brackets that a URL wants.
fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// Text as it may stand in a URL (RFC 3986, unreserved characters as they are).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::defaults();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        apply(&mut settings, &variables.iter().map(owned).collect::<Vec<_>>()).unwrap();
        settings
    }

    #[test]
    fn the_conventional_names_make_urls() {
        let settings = applied(&[
            ("POSTGRES_HOST", "db.example"),
            ("POSTGRES_USER", "app"),
            ("POSTGRES_PASSWORD", "s3c/ret"),
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
        assert_eq!(settings.secrets.postgres_password.as_deref(), Some("s3c/ret"));
        assert!(!format!("{settings:?}").contains("s3c/ret"), "a password is never shown");
    }

    #[test]
    fn without_a_host_nothing_changes() {
        let settings = applied(&[("POSTGRES_PORT", "1"), ("REDIS_PORT", "2")]);
        assert_eq!(settings.entry("store").origin, Origin::Default);
        assert_eq!(settings.entry("buffer").origin, Origin::Default);
    }
}
