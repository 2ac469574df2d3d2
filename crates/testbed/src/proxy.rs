//! A proxy in front of a server, or of several, which fails on command.

mod link;
mod orders;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::port::Port;
use orders::{Orders, POLL, lock};

pub use orders::Fault;

/// A proxy with threads of its own; ends when dropped, cutting what is connected.
#[derive(Debug)]
pub struct Proxy {
    /// One for each server, as many as there are doors.
    addresses: Vec<String>,
    orders: Arc<Mutex<Orders>>,
    doors: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy for the server at `upstream` (`127.0.0.1:PORT`), which may come later.
    ///
    /// # Errors
    /// If `upstream` is no address, or there is no free port.
    pub fn start(upstream: &str) -> Result<Self> {
        Self::start_for(&[upstream.to_owned()])
    }

    /// Starts a proxy for several servers, with an address for each. It does the same to every
    /// connection, whichever server is behind it.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn start_for(upstreams: &[String]) -> Result<Self> {
        let orders = Orders { fault: Fault::None, cuts: 0, ended: false };
        let orders = Arc::new(Mutex::new(orders));
        let mut proxy = Self { addresses: Vec::new(), orders, doors: Vec::new() };
        upstreams.iter().try_for_each(|upstream| proxy.open_door(upstream))?;
        Ok(proxy)
    }

    /// `127.0.0.1:PORT`; of several, the first.
    #[must_use]
    pub fn address(&self) -> String {
        self.addresses[0].clone()
    }

    /// `127.0.0.1:PORT` in front of each server, in the order in which they were named.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Changes what happens from now on, within some milliseconds.
    pub fn set(&self, fault: Fault) {
        let mut orders = lock(&self.orders);
        orders.fault = fault;
        if fault == Fault::Refuse {
            orders.cuts += 1;
        }
    }

    /// Resets every connection there is, within some milliseconds; new ones are accepted.
    pub fn cut(&self) {
        lock(&self.orders).cuts += 1;
    }

    fn open_door(&mut self, upstream: &str) -> Result<()> {
        let upstream: SocketAddr =
            upstream.parse().with_context(|| format!("`{upstream}` is no address"))?;
        let port = Port::free()?;
        let address = port.address();
        let listener = listen(&port)?;
        let orders = Arc::clone(&self.orders);
        let door = thread::Builder::new()
            .name("proxy".into())
            .spawn(move || keep_door(&port, listener, upstream, &orders))
            .context("no thread for the proxy")?;
        self.addresses.push(address);
        self.doors.push(door);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut orders = lock(&self.orders);
            orders.ended = true;
            orders.cuts += 1;
        }
        for door in self.doors.drain(..) {
            // A panic over there has been printed, and there is nothing to add in a drop.
            let _ = door.join();
        }
    }
}

fn listen(port: &Port) -> Result<TcpListener> {
    let listener = port.listen()?;
    listener.set_nonblocking(true).context("the listener can't be polled")?;
    Ok(listener)
}

/// Lets connections in, each to a thread of its own, and closes the door while it is to refuse.
fn keep_door(
    port: &Port,
    listener: TcpListener,
    upstream: SocketAddr,
    orders: &Arc<Mutex<Orders>>,
) {
    let mut listener = Some(listener);
    loop {
        let (ended, refuse, cuts) = {
            let orders = lock(orders);
            (orders.ended, orders.fault == Fault::Refuse, orders.cuts)
        };
        if ended {
            return;
        }
        if refuse {
            listener = None;
        } else if listener.is_none() {
            // Tried again at the next turn if it fails.
            listener = listen(port).ok();
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => {
                let orders = Arc::clone(orders);
                thread::spawn(move || link::keep(client, upstream, &orders, cuts));
            }
            Some(Err(_)) | None => thread::sleep(POLL),
        }
    }
}
