//! Which buffer a URL names, whatever its spelling.
//!
//! Two spellings of one buffer have one identity: hosts in lower case with their ports, loopback names
//! as one, names decoded, paths resolved. Options, users and passwords are no part of it.
//!
//! What it deliberately does not do: it asks no name server. A caller that has asked adds the
//! addresses with [`Identity::also_at`].

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

/// What every name of this machine itself is written as.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Which buffer it is. Shown as the shortest URL that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    kind: &'static str,
    text: String,
    /// Empty for a buffer that no server holds.
    hosts: BTreeSet<(String, u16)>,
    /// What the text has behind the hosts.
    place: String,
    /// Where its events lie, and then what else is its own.
    storage: Vec<String>,
}

impl Identity {
    /// A buffer that servers hold. `place` follows the hosts in its URL. `storage` names where its events
    /// lie, and behind that whatever else is its own, as its dead letters.
    pub fn at_hosts(
        kind: &'static str,
        hosts: impl IntoIterator<Item = (String, u16)>,
        place: String,
        storage: Vec<String>,
    ) -> Self {
        let hosts: BTreeSet<_> =
            hosts.into_iter().map(|(host, port)| (canonical(&host), port)).collect();
        let shown: Vec<_> = hosts
            .iter()
            .map(|(host, port)| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            })
            .collect();
        let text = format!("{kind}://{}{place}", shown.join(","));
        Self { kind, text, hosts, place, storage }
    }

    /// A buffer in a folder of this machine; links are resolved. The folder may be missing. Blocks on the
    /// disk.
    #[must_use]
    pub fn in_folder(kind: &'static str, folder: &Path, beside: &[&str]) -> Self {
        let folder = resolved(folder);
        let place = folder.to_string_lossy().into_owned();
        let own = beside.iter().map(|name| folder.join(name).to_string_lossy().into_owned());
        let storage = [place.clone()].into_iter().chain(own).collect();
        Self { kind, text: format!("{kind}:{place}"), hosts: BTreeSet::new(), place, storage }
    }

    /// A buffer in the memory of one process: it shares its storage with no other.
    #[must_use]
    pub fn in_memory(kind: &'static str) -> Self {
        let (text, place) = (format!("{kind}:"), String::new());
        Self { kind, text, hosts: BTreeSet::new(), place, storage: Vec::new() }
    }

    /// The scheme of its URL.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its hosts and their ports.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        self.hosts.iter().map(|(host, port)| (host.as_str(), *port))
    }

    /// The same, known by these addresses as well.
    #[must_use]
    pub fn also_at(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let of_names = addresses.into_iter().map(|address| {
            let ip = address.ip().to_canonical();
            // The own name of a machine is often 127.0.1.1.
            let ip = if ip.is_loopback() { LOOPBACK } else { ip };
            (written(ip), address.port())
        });
        self.hosts.extend(of_names);
        self
    }

    /// Whether both are one buffer, read in one way: in one consumer group, say.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.place == other.place && self.meets(other)
    }

    /// Whether one keeps its events where the other keeps something.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.collides(other) && self.meets(other)
    }

    /// Whether they would be the same, or overlap, if their hosts were the same.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.place == other.place || self.collides(other))
    }

    fn collides(&self, other: &Self) -> bool {
        let within = |one: &Self, all: &Self| {
            one.storage.first().is_some_and(|place| all.storage.contains(place))
        };
        self.kind == other.kind && (within(self, other) || within(other, self))
    }

    /// Whether they have a server in common. Of a cluster, each may name other ones of its nodes.
    fn meets(&self, other: &Self) -> bool {
        let local = self.hosts.is_empty() && other.hosts.is_empty();
        local || !self.hosts.is_disjoint(&other.hosts)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text as a URL holds it between its separators: what a parser decodes to the same text.
#[must_use]
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

/// A host in its one spelling.
fn canonical(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if let Ok(ip) = host.parse::<IpAddr>() {
        return written(ip.to_canonical());
    }
    let host = host.to_ascii_lowercase();
    let local = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
    if local.contains(&host.as_str()) || host.ends_with(".localhost") {
        return LOOPBACK.to_string();
    }
    host
}

/// An address as text. A connection to the unspecified address reaches this machine. Other addresses
/// of 127.0.0.0/8 stay as they are: tunnels to different servers often have one each.
fn written(ip: IpAddr) -> String {
    let here = ip.is_unspecified() || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
    if here { LOOPBACK.to_string() } else { ip.to_string() }
}

/// The folder without links: what is there of it is resolved, and the rest is appended.
fn resolved(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut path = PathBuf::new();
    for component in folder.components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
        // A missing part has no links.
        path = path.canonicalize().unwrap_or(path);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hosts: &[(&str, u16)], storage: &[&str]) -> Identity {
        let hosts = hosts.iter().map(|(host, port)| ((*host).to_owned(), *port));
        let storage = storage.iter().map(|&place| place.to_owned()).collect();
        Identity::at_hosts("kind", hosts, "/q".to_owned(), storage)
    }

    #[test]
    fn a_host_has_one_spelling() {
        for host in ["localhost", "LocalHost.", "127.0.0.1", "::1", "[::1]", "0.0.0.0", "::"] {
            assert_eq!(canonical(host), "127.0.0.1", "{host}");
        }
        for (host, expect) in [
            ("Redis.Shop.Example.", "redis.shop.example"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("[2001:DB8:0:0::1]", "2001:db8::1"),
            ("127.0.0.2", "127.0.0.2"),
        ] {
            assert_eq!(canonical(host), expect);
        }
    }

    #[test]
    fn one_common_host_is_enough_and_its_port_counts() {
        let cluster = at(&[("a", 1), ("b", 1)], &["q"]);
        assert!(cluster.is_same(&at(&[("B", 1), ("c", 1)], &["q"])));
        assert!(!cluster.is_same(&at(&[("b", 2)], &["q"])));
        let shown = at(&[("::2", 1), ("a", 1)], &["q"]).to_string();
        assert_eq!(shown, "kind://[::2]:1,a:1/q");
    }

    #[test]
    fn an_address_that_a_name_has_is_one_of_its_hosts() {
        let named = at(&[("shop", 1)], &["q"]);
        let (other, address) = (at(&[("10.0.0.7", 1)], &["q"]), "10.0.0.7:1".parse().unwrap());
        assert!(named.may_be(&other) && !named.is_same(&other));
        assert!(named.clone().also_at([address]).is_same(&other));
        let own = named.also_at(["127.0.1.1:1".parse().unwrap()]);
        assert!(own.is_same(&at(&[("localhost", 1)], &["q"])));
    }

    #[test]
    fn what_lies_in_one_place_overlaps_though_it_is_read_otherwise() {
        let queue = at(&[("a", 1)], &["q", "q.dead"]);
        let dead =
            Identity { place: "/q.dead".to_owned(), ..at(&[("a", 1)], &["q.dead", "q.dead.dead"]) };
        assert!(queue.overlaps(&dead) && dead.overlaps(&queue) && !queue.is_same(&dead));
        let third = at(&[("a", 1)], &["r", "q.dead"]);
        assert!(!queue.overlaps(&third), "they share a place for dead letters alone");
        let memory = Identity::in_memory("memory");
        assert!(memory.is_same(&memory) && !memory.overlaps(&memory));
    }

    #[test]
    fn a_folder_is_itself_through_links_and_before_it_is_made() {
        let root = std::env::temp_dir().join(format!("identity-{}", std::process::id()));
        std::fs::create_dir_all(root.join("data")).unwrap();
        std::os::unix::fs::symlink(root.join("data"), root.join("link")).unwrap();
        let of = |path: &str| Identity::in_folder("journal", &root.join(path), &["dead"]);
        let plain = of("data/a/b");
        for path in ["link/a/b", "./link/./a/c/../b", "data/../link/a/b/"] {
            assert!(of(path).is_same(&plain), "{path}: {}", of(path));
        }
        std::fs::create_dir_all(root.join("data/a/b")).unwrap();
        assert!(of("link/a/b").is_same(&plain));
        assert!(of("data/a/b/dead").overlaps(&plain) && !of("data/a").overlaps(&plain));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_name_is_written_so_that_it_is_read_as_the_same() {
        assert_eq!(encoded("tx_queue-1.a:b"), "tx_queue-1.a:b");
        assert_eq!(encoded("a&b=c %?é"), "a%26b%3Dc%20%25%3F%C3%A9");
    }
}
