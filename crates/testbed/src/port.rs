//! A port that stays ours while the server that listens on it comes and goes.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections that may wait to be accepted by a listener of ours.
const BACKLOG: i32 = 128;

/// A socket that is bound and never listens.
///
/// While it is there the kernel gives the port to nobody else, neither to a listener nor as the
/// near end of a connection, and refuses connections to it; a server that sets `SO_REUSEADDR`, as
/// Redis and PostgreSQL do, can still bind and listen.
#[derive(Debug)]
pub(crate) struct Port {
    _held: OwnedFd,
    address: SocketAddrV4,
}

impl Port {
    /// Some free port of the loopback.
    pub(crate) fn free() -> Result<Self> {
        let held = bound(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        let address = rustix::net::getsockname(&held).context("a bound socket has no address")?;
        let address =
            SocketAddrV4::try_from(address).context("the loopback has an IPv4 address")?;
        Ok(Self { _held: held, address })
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Listens on it within this process.
    pub(crate) fn listen(&self) -> Result<TcpListener> {
        let socket = bound(self.address)?;
        rustix::net::listen(&socket, BACKLOG).context("could not listen on the held port")?;
        Ok(TcpListener::from(socket))
    }
}

fn bound(address: SocketAddrV4) -> Result<OwnedFd> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
        .context("could not make a socket")?;
    sockopt::set_socket_reuseaddr(&socket, true).context("could not set SO_REUSEADDR")?;
    rustix::net::bind(&socket, &address).with_context(|| format!("could not bind {address}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_held_port_refuses_until_somebody_listens_and_again_after() {
        let port = Port::free().unwrap();
        let refused = || TcpStream::connect(port.address()).unwrap_err().kind();
        for _ in 0..3 {
            assert_eq!(refused(), ErrorKind::ConnectionRefused);
            let listener = port.listen().unwrap();
            TcpStream::connect(port.address()).unwrap();
            drop(listener);
        }
        assert_eq!(refused(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_held_port_is_taken_by_nobody_who_does_not_insist() {
        let port = Port::free().unwrap();
        let take = || {
            let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
            let socket =
                rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
            rustix::net::bind(&socket, &port.address)
        };
        assert_eq!(take(), Err(Errno::ADDRINUSE));
        drop(port.listen().unwrap());
        assert_eq!(take(), Err(Errno::ADDRINUSE));
    }
}
