//! The variables that Kubernetes and Docker links put into every container, one set for each service.
//!
//! A service named `forebay` brings `FOREBAY_SERVICE_HOST`, `FOREBAY_SERVICE_PORT`,
//! `FOREBAY_SERVICE_PORT_HTTP`, `FOREBAY_PORT=tcp://…`, `FOREBAY_PORT_8080_TCP=tcp://…` and
//! `FOREBAY_PORT_8080_TCP_ADDR`, `_PORT` and `_PROTO`. None of them was written for this program. Source:
//! the Kubernetes documentation, *Service*, "Environment variables".

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether this variable describes a service of the cluster, and so is no setting.
pub(crate) fn is_one(name: &str, text: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_address(text))
        || names_a_port(name)
}

/// Whether `text` is the address of a service: `tcp://10.0.0.7:6379`.
pub(crate) fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_uppercase());
    scheme.is_some_and(|scheme| PROTOCOLS.contains(&&*scheme))
}

/// `…_PORT_8080_TCP`, alone or with `_ADDR`, `_PORT` or `_PROTO` behind it.
fn names_a_port(name: &str) -> bool {
    let name =
        ["_ADDR", "_PORT", "_PROTO"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let mut parts = name.rsplitn(4, '_');
    let (protocol, number, word) = (parts.next(), parts.next(), parts.next());
    protocol.is_some_and(|protocol| PROTOCOLS.contains(&protocol))
        && number.is_some_and(|number| number.parse::<u16>().is_ok())
        && word == Some("PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_known_by_their_pattern() {
        for name in [
            "FOREBAY_SERVICE_HOST",
            "FOREBAY_SERVICE_PORT",
            "FOREBAY_SERVICE_PORT_HTTP",
            "FOREBAY_API_SERVICE_HOST",
            "FOREBAY_PORT_8080_TCP",
            "FOREBAY_PORT_8080_TCP_ADDR",
            "FOREBAY_PORT_8080_TCP_PORT",
            "FOREBAY_API_PORT_53_UDP_PROTO",
        ] {
            assert!(is_one(name, "x"), "{name}");
        }
        assert!(is_one("FOREBAY_PORT", "tcp://10.0.0.7:8080"));
        for (name, text) in [
            ("FOREBAY_PORT", "8080"),
            ("FOREBAY_HTTP_BIND", "127.0.0.1:8080"),
            ("FOREBAY_PORT_HTTP_TCP", "x"),
            ("FOREBAY_PORT_99999_TCP", "x"),
            ("FOREBAY_BUFFER", "redis://127.0.0.1/0?list=q"),
        ] {
            assert!(!is_one(name, text), "{name}={text}");
        }
    }
}
