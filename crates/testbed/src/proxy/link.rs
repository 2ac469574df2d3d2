//! One connection through the proxy, and the server behind it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::orders::{Fault, Orders, POLL, lock};

/// How long the server may take to accept.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How much is held each way before no more is read.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Copies both ways as ordered, until either side is done or it is to be cut.
pub(super) fn keep(client: TcpStream, upstream: SocketAddr, orders: &Mutex<Orders>, cuts: u64) {
    let fault = || {
        let orders = lock(orders);
        (orders.cuts == cuts).then_some(orders.fault)
    };
    // A network that passes on nothing makes no connections either.
    while fault() == Some(Fault::HalfOpen) {
        thread::sleep(POLL);
    }
    let server = TcpStream::connect_timeout(&upstream, CONNECT_MAX);
    let Ok(server) = server else { return reset(&client) };
    let ready = |stream: &TcpStream| {
        stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok()
    };
    let mut link = Link { holed: false, up: Way::default(), down: Way::default() };
    let in_order = ready(&client) && ready(&server) && link.copy(&client, &server, fault);
    if !in_order {
        reset(&client);
        reset(&server);
    }
}

/// Has the socket answer with a reset when it is closed, rather than with a good-bye.
fn reset(stream: &TcpStream) {
    // Fails on a socket that is already gone, which is what is wanted.
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

struct Link {
    /// Whether an answer was swallowed.
    holed: bool,
    up: Way,
    down: Way,
}

impl Link {
    /// True when both sides hung up in good order; false when the connection is to be cut.
    fn copy(
        &mut self,
        client: &TcpStream,
        server: &TcpStream,
        fault: impl Fn() -> Option<Fault>,
    ) -> bool {
        while !(self.up.is_over() && self.down.is_over()) {
            let Some(fault) = fault() else { return false };
            if self.holed && fault != Fault::DropReplies {
                return false;
            }
            if fault == Fault::HalfOpen {
                thread::sleep(POLL);
                continue;
            }
            let delay = if let Fault::Delay(delay) = fault { delay } else { Duration::ZERO };
            let Some([from_client, from_server]) = self.wait(client, server) else { return false };
            let up = if from_client { self.up.read(client, delay) } else { Ok(()) };
            let down = if from_server { self.down.read(server, delay) } else { Ok(()) };
            let swallowed = match up.and(down) {
                Ok(()) if fault == Fault::DropReplies => self.down.forget(),
                Ok(()) => false,
                Err(_) => return false,
            };
            self.holed |= swallowed;
            if self.up.write(server).and(self.down.write(client)).is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until something can be done, or the orders are to be looked at again. Says which of the
    /// two have something to read or have ended: most waits end without, and with many connections
    /// reads that find nothing would keep a processor busy. None if a socket is broken.
    fn wait(&self, client: &TcpStream, server: &TcpStream) -> Option<[bool; 2]> {
        let now = Instant::now();
        let wants = |reads: &Way, writes: &Way| {
            let mut wants = PollFlags::empty();
            wants.set(PollFlags::IN, reads.has_room());
            wants.set(PollFlags::OUT, writes.is_due(now));
            wants
        };
        let mut sockets = [
            PollFd::new(client, wants(&self.up, &self.down)),
            PollFd::new(server, wants(&self.down, &self.up)),
        ];
        let due = self.up.due_in(now).into_iter().chain(self.down.due_in(now)).min();
        let limit = due.unwrap_or(POLL).min(POLL);
        let limit = Timespec::try_from(limit).expect("some milliseconds fit");
        if poll(&mut sockets, Some(&limit)).is_err() {
            return Some([true; 2]);
        }
        let broken = PollFlags::ERR | PollFlags::NVAL;
        let readable = PollFlags::IN | PollFlags::HUP;
        let [client, server] = sockets.map(|socket| socket.revents());
        let is_broken = client.intersects(broken) || server.intersects(broken);
        (!is_broken).then(|| [client, server].map(|found| found.intersects(readable)))
    }
}

/// One direction: what was read from one side and is still to be written to the other.
#[derive(Default)]
struct Way {
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    /// Whether the one side said that no more comes.
    ended: bool,
    /// Whether the other side was told so.
    told: bool,
}

impl Way {
    fn is_over(&self) -> bool {
        self.told
    }

    fn has_room(&self) -> bool {
        !self.ended && self.held_bytes < HELD_BYTES_MAX
    }

    fn is_due(&self, now: Instant) -> bool {
        self.held.front().is_some_and(|(due, _)| *due <= now)
    }

    /// How long the first that isn't due yet still has.
    fn due_in(&self, now: Instant) -> Option<Duration> {
        self.held.front().map(|(due, _)| due.duration_since(now)).filter(|left| !left.is_zero())
    }

    fn read(&mut self, mut from: &TcpStream, delay: Duration) -> std::io::Result<()> {
        if !self.has_room() {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        match from.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                chunk.truncate(count);
                self.held_bytes += count;
                self.held.push_back((Instant::now() + delay, chunk));
            }
            Err(error) => return passing(error),
        }
        Ok(())
    }

    fn write(&mut self, mut to: &TcpStream) -> std::io::Result<()> {
        while self.is_due(Instant::now()) {
            let Some((_, chunk)) = self.held.front_mut() else { break };
            match to.write(chunk) {
                Ok(count) => {
                    self.held_bytes -= count;
                    chunk.drain(..count);
                    if chunk.is_empty() {
                        self.held.pop_front();
                    }
                }
                Err(error) => return passing(error),
            }
        }
        if self.ended && self.held.is_empty() && !self.told {
            self.told = true;
            return to.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Swallows what is held; whether that was anything.
    fn forget(&mut self) -> bool {
        self.held_bytes = 0;
        let some = !self.held.is_empty();
        self.held.clear();
        some
    }
}

/// Not now is no failure.
fn passing(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
