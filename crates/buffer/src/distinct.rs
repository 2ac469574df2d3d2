//! Which buffers are one and the same, by their identities and by what the name server says of their hosts.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::Identity;

/// How long the name server may take for one host.
const LOOK_UP_MAX: Duration = Duration::from_secs(5);

/// A buffer, and what the configuration calls it.
#[derive(Debug, Clone)]
pub struct Named {
    /// What the configuration calls it.
    pub name: String,
    /// Which buffer it is.
    pub identity: Identity,
    /// The place in the same list of the buffer that its pipeline moves away from.
    pub leaves: Option<usize>,
}

/// A buffer that is used twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is the same buffer as {other}; {advice}")]
pub struct Twice {
    /// What the configuration calls the later one, in its first words.
    name: String,
    /// The earlier one, and both identities.
    other: String,
    advice: &'static str,
}

/// Refuses a list that has one buffer twice, as far as the text of its URLs tells.
///
/// # Errors
/// If it has.
pub fn written(all: &[Named]) -> Result<(), Twice> {
    for (one, other) in pairs(all) {
        if clashes(all, one, other, &all[one].identity, &all[other].identity) {
            return Err(twice(all, one, other));
        }
    }
    Ok(())
}

/// The same, with the addresses of hosts that are spelled differently. A host without an address is another
/// one: opening its buffer fails anyway. Takes up to 5 s for each host that the name server does not answer for.
///
/// # Errors
/// If a buffer is used twice.
pub async fn check(all: &[Named]) -> Result<(), Twice> {
    for (one, other) in pairs(all) {
        let (mine, theirs) = (&all[one].identity, &all[other].identity);
        if !mine.may_be(theirs) {
            continue;
        }
        let (mine, theirs) = (known(mine.clone()).await, known(theirs.clone()).await);
        if clashes(all, one, other, &mine, &theirs) {
            return Err(twice(all, one, other));
        }
    }
    Ok(())
}

/// Whether both are one buffer, read in one way.
pub async fn is_same(one: &Identity, other: &Identity) -> bool {
    if one.is_same(other) {
        return true;
    }
    one.may_be(other) && known(one.clone()).await.is_same(&known(other.clone()).await)
}

/// Each place with each one before it.
fn pairs(all: &[Named]) -> impl Iterator<Item = (usize, usize)> {
    (0..all.len()).flat_map(|one| (0..one).map(move |other| (one, other)))
}

/// The two buffers of a move must differ; a buffer in memory is every entry's own otherwise.
fn clashes(all: &[Named], one: usize, other: usize, mine: &Identity, theirs: &Identity) -> bool {
    mine.overlaps(theirs) || all[one].leaves == Some(other) && mine.is_same(theirs)
}

fn twice(all: &[Named], one: usize, other: usize) -> Twice {
    let (Named { name, identity, leaves }, same) = (&all[one], &all[other]);
    let advice = match leaves {
        Some(_) => "leave it \"none\" while nothing moves",
        None => "give each a buffer of its own",
    };
    let other = format!("{} ({identity} and {})", same.name, same.identity);
    Twice { name: name.clone(), other, advice }
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
