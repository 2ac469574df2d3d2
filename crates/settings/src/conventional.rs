//! What variables that other programs know as well hold, as parts of a URL.

use crate::{Error, service_links};

/// The port that the variable `name` holds. What Kubernetes makes of a service of this name
/// (`REDIS_PORT=tcp://…`) is passed over.
///
/// # Errors
/// If it holds something else.
pub fn port(name: &str, text: Option<&str>, default: u16) -> Result<u16, Error> {
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
#[must_use]
pub fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// Text as it may stand in a URL (RFC 3986, unreserved characters as they are).
#[must_use]
pub fn encoded(text: &str) -> String {
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

    #[test]
    fn a_port_that_is_none_is_blamed_on_its_own_variable() {
        let refused = port("REDIS_PORT", Some("63790000"), 1).unwrap_err();
        let expect =
            "env REDIS_PORT: the port is \"63790000\"; it must be a whole number from 1 to 65535";
        assert_eq!(refused.to_string(), expect);
        assert!(port("P", Some("x"), 1).is_err() && port("P", Some("0"), 1).is_err());
        assert_eq!((port("P", Some("7"), 1), port("P", None, 1)), (Ok(7), Ok(1)));
    }

    #[test]
    fn the_address_that_kubernetes_makes_of_a_service_is_no_port() {
        assert_eq!(port("REDIS_PORT", Some("tcp://10.0.0.7:6380"), 6379), Ok(6379));
    }

    #[test]
    fn hosts_and_names_are_spelled_as_a_url_has_them() {
        assert_eq!(
            (&*bracketed("::1"), &*bracketed("[::1]"), &*bracketed("h")),
            ("[::1]", "[::1]", "h")
        );
        assert_eq!(encoded("a b/é~"), "a%20b%2F%C3%A9~");
    }
}
