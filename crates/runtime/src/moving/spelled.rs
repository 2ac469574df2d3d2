//! A small grammar of URLs for tests: `redis://host/0?list=q`, `kafka://a,b/t?group=g`, `journal:/folder`.

use std::path::Path;

use buffer::Identity;

use super::subject::Subject;

/// Which buffer a URL names. Options behind the first one are no part of it, nor are users.
pub(super) fn identity(url: &str) -> Option<Identity> {
    if let Some(path) = url.strip_prefix("journal:") {
        let path = path.split('?').next()?;
        return Some(Identity::in_folder("journal", Path::new(path), &["dead"]));
    }
    let (kind, rest) = url.split_once("://")?;
    let (kind, port) = match kind {
        "redis" => ("redis", 6379),
        "kafka" => ("kafka", 9092),
        _ => return None,
    };
    let (server, options) = rest.split_once('?')?;
    let own = options.split('&').next()?;
    let (hosts, topic) = server.split_once('/').unwrap_or((server, "0"));
    let hosts = hosts.rsplit('@').next()?.split(',').map(|host| match host.split_once(':') {
        Some((host, port)) => (host.to_owned(), port.parse().unwrap_or(0)),
        None => (host.to_owned(), port),
    });
    let place = format!("/{topic}?{own}");
    Some(Identity::at_hosts(kind, hosts, place.clone(), vec![place]))
}

/// The pipeline that moves.
pub(super) fn payments() -> Subject {
    Subject {
        pipeline: "payments".to_owned(),
        command: "forebay buffer migrate".to_owned(),
        parse: identity,
    }
}
