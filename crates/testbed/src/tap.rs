//! A proxy that understands where a request ends: a test may act at any step of a client, before the server
//! has heard of it or after the server has answered and before the client knows.

use std::collections::VecDeque;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// The longest request or answer, in bytes.
const MESSAGE_BYTES_MAX: usize = 128 << 20;

/// How requests and answers are told apart. On each connection answers come in the order of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with `Content-Length`.
    Http,
    /// Kafka's: each message behind its length.
    Kafka,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The server has not heard of it.
    Asked,
    /// The server has answered; the client has not heard of it.
    Answered,
}

/// Says whether to pass on the request, or its answer. If not, the connection is cut.
type Hook = dyn Fn(Moment, &[u8]) -> bool + Send + Sync;

/// The proxy. Its threads end with the connections.
pub struct Tap {
    address: String,
    upstream: Arc<Mutex<String>>,
}

impl Tap {
    /// Starts one. [`Tap::lead_to`] says where to.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(
        protocol: Protocol,
        hook: impl Fn(Moment, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
        let address = listener.local_addr().context("a listener has an address")?.to_string();
        let upstream = Arc::new(Mutex::new(String::new()));
        let (to, hook): (_, Arc<Hook>) = (Arc::clone(&upstream), Arc::new(hook));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server =
                    TcpStream::connect(&*to.lock().unwrap_or_else(PoisonError::into_inner));
                if let Ok(server) = server {
                    connect(&client, &server, protocol, &hook);
                }
            }
        });
        Ok(Self { address, upstream })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Connections from now on go to this server.
    pub fn lead_to(&self, upstream: &str) {
        upstream.clone_into(&mut self.upstream.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Two threads, one for each way.
fn connect(client: &TcpStream, server: &TcpStream, protocol: Protocol, hook: &Arc<Hook>) {
    let asked = Arc::new(Mutex::new(VecDeque::new()));
    for moment in [Moment::Asked, Moment::Answered] {
        let (from, to) = match moment {
            Moment::Asked => (client.try_clone(), server.try_clone()),
            Moment::Answered => (server.try_clone(), client.try_clone()),
        };
        let (Ok(from), Ok(to)) = (from, to) else { return };
        let (asked, hook) = (Arc::clone(&asked), Arc::clone(hook));
        thread::spawn(move || {
            pass(moment, &from, &to, protocol, &asked, &*hook);
            // Both ways end together; a socket that is gone already is what is wanted.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn pass(
    moment: Moment,
    from: &TcpStream,
    mut to: &TcpStream,
    protocol: Protocol,
    asked: &Mutex<VecDeque<Vec<u8>>>,
    hook: &Hook,
) {
    let asked = || asked.lock().unwrap_or_else(PoisonError::into_inner);
    let mut from = BufReader::new(from);
    while let Some(message) = whole(&mut from, protocol) {
        let go_on = match moment {
            Moment::Asked => {
                let go_on = hook(moment, &message);
                asked().push_back(message.clone());
                go_on
            }
            Moment::Answered => {
                let request = asked().pop_front();
                request.is_none_or(|request| hook(moment, &request))
            }
        };
        if !go_on || to.write_all(&message).is_err() {
            return;
        }
    }
}

/// The next message, as it came; none at the end of the connection.
fn whole(from: &mut impl Read, protocol: Protocol) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let rest = match protocol {
        Protocol::Kafka => {
            message.resize(4, 0);
            from.read_exact(&mut message).ok()?;
            u32::from_be_bytes(*message.first_chunk()?) as usize
        }
        Protocol::Http => {
            while !message.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                from.read_exact(&mut byte).ok()?;
                message.extend(byte);
            }
            let head = String::from_utf8_lossy(&message).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            length.map_or(Some(0), |length| length.trim().parse().ok())?
        }
    };
    let start = message.len();
    message.resize(start + Some(rest).filter(|rest| *rest <= MESSAGE_BYTES_MAX)?, 0);
    from.read_exact(&mut message[start..]).ok()?;
    Some(message)
}
