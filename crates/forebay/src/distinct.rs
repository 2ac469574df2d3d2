//! Which buffers are one and the same, by their identities and by what the name server says of their hosts.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use buffer::Identity;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::config::{Config, Error};

/// How long the name server may take for one host.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// Refuses a configuration that uses one buffer twice, as far as the text of its URLs tells.
///
/// # Errors
/// If it does.
pub(crate) fn written(config: &Config) -> Result<(), Error> {
    for (one, other) in pairs(config) {
        if clashes(&one, &other) {
            return Err(clash(&one, &other));
        }
    }
    Ok(())
}

/// The same, with the addresses of hosts that are spelled differently. A host without an address is another
/// one: opening its buffer fails anyway.
///
/// # Errors
/// If a buffer is used twice.
pub(crate) async fn check(config: &Config) -> Result<(), Error> {
    for (mut one, mut other) in pairs(config) {
        if !one.identity.may_be(&other.identity) {
            continue;
        }
        one.identity = known(one.identity).await;
        other.identity = known(other.identity).await;
        if clashes(&one, &other) {
            return Err(clash(&one, &other));
        }
    }
    Ok(())
}

/// Whether both are one buffer, read in one way.
pub(crate) async fn is_same(one: &Identity, other: &Identity) -> bool {
    if one.is_same(other) {
        return true;
    }
    one.may_be(other) && known(one.clone()).await.is_same(&known(other.clone()).await)
}

/// A buffer, and what the configuration calls it.
struct Named {
    name: String,
    identity: Identity,
}

/// Each buffer with each one before it.
fn pairs(config: &Config) -> Vec<(Named, Named)> {
    let named = |name: &str, identity| (name.to_owned(), identity);
    let mut all = vec![named("buffer", config.buffer.identity())];
    all.extend(config.next.as_ref().map(|next| named("next_buffer", next.buffer.identity())));
    all.extend(config.spill.as_ref().map(|spill| named("spill", spill.identity())));
    all.extend(config.tables.iter().map(|table| {
        (format!("buffer of table {} ({})", table.name(), table.place), table.buffer.identity())
    }));
    let of = |(name, identity): &(String, Identity)| Named {
        name: name.clone(),
        identity: identity.clone(),
    };
    let before = |at: usize| all[..at].iter().map(of).collect::<Vec<_>>();
    let each = all.iter().enumerate();
    each.flat_map(|(at, one)| {
        before(at).into_iter().map(|other| (of(one), other)).collect::<Vec<_>>()
    })
    .collect()
}

/// Of a move the two buffers must differ; a buffer in memory is every entry's own otherwise.
fn clashes(one: &Named, other: &Named) -> bool {
    let move_ = one.name == "next_buffer" && other.name == "buffer";
    one.identity.overlaps(&other.identity) || move_ && one.identity.is_same(&other.identity)
}

fn clash(one: &Named, other: &Named) -> Error {
    let Named { name, identity } = one;
    let way_out = match name.as_str() {
        "next_buffer" => "leave it \"none\" while nothing moves",
        _ => "give each a buffer of its own",
    };
    let (second, same) = (&other.name, &other.identity);
    Error(format!("{name} is the same buffer as {second} ({identity} and {same}); {way_out}"))
}

/// The same buffer, with the addresses of its hosts.
async fn known(identity: Identity) -> Identity {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (host, port) in identity.hosts() {
        if let Ok(Ok(found)) = timeout(LOOK_UP_MAX, lookup_host((host, port))).await {
            for address in found {
                addresses.push(address);
                if is_here(address) {
                    addresses.push(SocketAddr::from(([127, 0, 0, 1], port)));
                }
            }
        }
    }
    identity.also_at(addresses)
}

/// Whether an address is one of this machine's own: the system then sends from that address. Sends nothing.
fn is_here(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => [0_u16; 8].into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    !address.ip().is_loopback() && from.is_ok_and(|from| from.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Buffer;

    fn identity(url: &str) -> Identity {
        Buffer::parse(url).unwrap().identity()
    }

    /// One identity for all spellings, and another one for every other URL.
    fn check(spellings: &[&str], others: &[&str]) {
        let first = identity(spellings[0]);
        for url in spellings {
            assert!(identity(url).is_same(&first), "{url}: {} and not {first}", identity(url));
            // What is recorded is read as the same buffer.
            let recorded = identity(url).to_string();
            assert_eq!(identity(&recorded).to_string(), recorded);
        }
        for url in others {
            assert!(!identity(url).is_same(&first), "{url} is {first}");
        }
    }

    #[test]
    fn each_backend_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
        check(
            &[
                "redis://127.0.0.1:6379/0?list=tx_queue",
                "redis://localhost?list=tx_queue&events_max=5&lease_ms=500&shards=4",
                "rediss://u:p@[::1]:6379?list=tx%5Fqueue&connections=dedicated",
            ],
            &[
                "redis://127.0.0.1:6379/1?list=tx_queue",
                "redis://127.0.0.1:6380?list=tx_queue",
                "redis://127.0.0.1?stream=tx_queue",
                "redis-cluster://127.0.0.1?list=tx_queue",
            ],
        );
        check(
            &[
                "redis://h?stream=a%26b&group=c%3Fd",
                "redis://H.?stream=a%26b&group=c%3fd&poll=non-blocking",
            ],
            &["redis://h?stream=a%26b", "redis://h?stream=a&group=c%3Fd"],
        );
        check(
            &[
                "redis-cluster://a,b:7000?list=q",
                "rediss-cluster://B:7000,c/0?list=q&wait_replicas=1",
            ],
            &["redis-cluster://c?list=q"],
        );
        check(
            &["kafka://a,b:9093/t?group=fds", "kafka://u:p@B:9093/t?partitions=3&group=fds"],
            &["kafka://a/t?group=other", "kafka://a/u?group=fds", "kafka://a:1/t?group=fds"],
        );
        check(
            &[
                "sqs://sqs.eu-central-1.amazonaws.com/1/q.fifo",
                "sqs://sqs.eu-central-1.api.aws:443/1/q.fifo?region=eu-central-1&dead=d.fifo",
                "sqs://vpce-1.sqs.eu-central-1.vpce.amazonaws.com/1/q.fifo?region=eu-central-1",
            ],
            &[
                "sqs://sqs.eu-west-1.amazonaws.com/1/q.fifo",
                "sqs://sqs.eu-central-1.amazonaws.com/2/q.fifo",
            ],
        );
        check(
            &[
                "sqs+http://localhost/0/q?region=r",
                "sqs+http://127.0.0.1:80/0/q?region=r&create=true",
            ],
            &["sqs+http://localhost:81/0/q?region=r"],
        );
        check(
            &["journal:./data/b", "journal:data/../data//b/?sync=os&lease_ms=500"],
            &["journal:./data/c", "memory:"],
        );
    }

    #[test]
    fn what_shares_keys_or_records_overlaps() {
        for (one, other) in [
            ("redis://h?stream=q&group=a", "redis://h?stream=q&group=b"),
            ("redis://h?stream=q", "redis://h?list=q"),
            ("kafka://h/t?group=a", "kafka://h/t?group=b"),
            ("kafka://h/t", "kafka://h/t.dead"),
            ("sqs+http://h/0/q?region=r", "sqs+http://h/0/other?region=r&dead=q"),
            ("journal:./data/b", "journal:./data/b/dead"),
        ] {
            assert!(identity(one).overlaps(&identity(other)), "{one} and {other}");
        }
        assert!(!identity("redis://h?list=q").overlaps(&identity("redis://h?list=r")));
        assert!(!identity("memory:").overlaps(&identity("memory:?capacity=3")));
    }

    #[tokio::test]
    async fn hosts_are_compared_by_their_addresses_as_well() {
        let (name, address) = ("redis://127.1:7000?list=q", "redis://localhost:7000?list=q");
        assert!(!identity(name).is_same(&identity(address)));
        assert!(is_same(&identity(name), &identity(address)).await);
        let nowhere = "redis://no.such.host.invalid:7000?list=q";
        assert!(!is_same(&identity(nowhere), &identity(address)).await);
    }
}
