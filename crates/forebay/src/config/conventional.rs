//! The variables that a deployment beside other tools sets anyway: `POSTGRES_HOST`, `REDIS_HOST`,
//! `BATCH_SIZE` and their like.
//!
//! They stand below the file: a variable meant for another program must not move this one's money
//! away from where its own configuration says.

use super::value::Origin;
use super::{Error, Settings, service_links};

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
        let setting = settings.entry(key).setting.clone();
        settings.set_text(&setting, text, Origin::Environment(name.to_owned()))
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

/// The port that the variable `name` holds. What Kubernetes makes of a service of this name
/// (`REDIS_PORT=tcp://…`) is passed over.
fn port(name: &str, text: Option<&str>, default: u16) -> Result<u16, Error> {
    let Some(text) = text.filter(|text| !service_links::is_address(text)) else {
        return Ok(default);
    };
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| {
        Error(format!(
            "env {name}: the port is \"{text}\"; it must be a whole number from 1 to 65535"
        ))
    })
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

    fn tried(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let mut settings = super::super::layers::defaults();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        apply(&mut settings, &variables.iter().map(owned).collect::<Vec<_>>())?;
        Ok(settings)
    }

    fn applied(variables: &[(&str, &str)]) -> Settings {
        tried(variables).unwrap()
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

    #[test]
    fn a_port_that_is_none_is_blamed_on_its_own_variable() {
        let refused = tried(&[("REDIS_HOST", "redis"), ("REDIS_PORT", "63790000")]).unwrap_err();
        let expect =
            "env REDIS_PORT: the port is \"63790000\"; it must be a whole number from 1 to 65535";
        assert_eq!(refused.to_string(), expect);
        let refused = tried(&[("POSTGRES_HOST", "db"), ("POSTGRES_PORT", "x")]).unwrap_err();
        assert!(refused.to_string().starts_with("env POSTGRES_PORT: "), "{refused}");
    }

    #[test]
    fn the_address_that_kubernetes_makes_of_a_service_is_no_port() {
        let service = [("REDIS_HOST", "redis"), ("REDIS_PORT", "tcp://10.0.0.7:6380")];
        let settings = applied(&service);
        let buffer = settings.entry("buffer").value.to_string();
        assert_eq!(buffer, "redis://redis:6379/0?list=tx_queue");
    }
}
