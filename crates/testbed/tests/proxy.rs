//! Each fault of the proxy does what it says, to connections old and new.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::{Fault, Proxy};

/// Long enough for an answer on a busy machine.
const LONG: Duration = Duration::from_secs(10);
/// How long silence is listened to.
const SILENCE: Duration = Duration::from_millis(250);

/// Sends back what it hears, and counts it.
fn echo() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, heard) = (stream.unwrap(), Arc::clone(&heard));
            thread::spawn(move || {
                let mut bytes = vec![0; 65536];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    heard.fetch_add(count, Ordering::SeqCst);
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, counted)
}

fn connect(proxy: &Proxy) -> TcpStream {
    connect_to(&proxy.address())
}

fn connect_to(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

fn say(client: &mut TcpStream, word: &str) {
    client.write_all(word.as_bytes()).unwrap();
}

fn hear(client: &mut TcpStream, word: &str) {
    let mut heard = vec![0; word.len()];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(heard, word.as_bytes());
}

fn hears_nothing(client: &mut TcpStream) {
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let kind = client.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
    client.set_read_timeout(Some(LONG)).unwrap();
}

fn is_cut(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn until(what: &str, check: impl Fn() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < LONG, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn without_a_fault_everything_passes_and_both_ends_hang_up_in_order() {
    let (server, _) = echo();
    let proxy = Proxy::start(&server).unwrap();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let mut client = connect(&proxy);
    let mut reader = client.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).unwrap();
        heard
    });
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(reading.join().unwrap() == sent);
}

#[test]
fn a_delay_is_added_each_way_and_does_not_add_up_within_a_stream() {
    let (server, _) = echo();
    let proxy = Proxy::start(&server).unwrap();
    let mut client = connect(&proxy);
    proxy.set(Fault::Delay(Duration::from_millis(150)));
    thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    for _ in 0..20 {
        say(&mut client, "abc");
        thread::sleep(Duration::from_millis(2));
    }
    hear(&mut client, &"abc".repeat(20));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn dropped_replies_leave_the_request_done_and_the_connection_cut_afterwards() {
    let (server, heard) = echo();
    let proxy = Proxy::start(&server).unwrap();
    let (mut client, mut idle) = (connect(&proxy), connect(&proxy));
    for client in [&mut client, &mut idle] {
        say(client, "before");
        hear(client, "before");
    }
    proxy.set(Fault::DropReplies);
    thread::sleep(Duration::from_millis(50));
    say(&mut client, "swallowed");
    until("the server hears it", || heard.load(Ordering::SeqCst) == 12 + 9);
    hears_nothing(&mut client);
    proxy.set(Fault::None);
    is_cut(&mut client);
    say(&mut idle, "whole");
    hear(&mut idle, "whole");
}

#[test]
fn half_open_holds_everything_back_until_it_ends() {
    let (server, heard) = echo();
    let proxy = Proxy::start(&server).unwrap();
    let mut old = connect(&proxy);
    say(&mut old, "before");
    hear(&mut old, "before");
    proxy.set(Fault::HalfOpen);
    thread::sleep(Duration::from_millis(50));
    let mut new = connect(&proxy);
    say(&mut old, "held");
    say(&mut new, "held");
    hears_nothing(&mut old);
    hears_nothing(&mut new);
    assert_eq!(heard.load(Ordering::SeqCst), 6);
    proxy.set(Fault::None);
    hear(&mut old, "held");
    hear(&mut new, "held");
}

#[test]
fn refuse_cuts_what_is_there_and_refuses_what_comes_until_it_ends() {
    let (server, _) = echo();
    let proxy = Proxy::start(&server).unwrap();
    for _ in 0..3 {
        let mut client = connect(&proxy);
        say(&mut client, "before");
        hear(&mut client, "before");
        proxy.set(Fault::Refuse);
        is_cut(&mut client);
        let refused = || match TcpStream::connect(proxy.address()) {
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            Ok(_) => false,
        };
        until("it refuses", refused);
        proxy.set(Fault::None);
        until("it accepts again", || TcpStream::connect(proxy.address()).is_ok());
    }
}

#[test]
fn a_cut_resets_what_is_there_and_new_connections_work() {
    let (server, _) = echo();
    let proxy = Proxy::start(&server).unwrap();
    let mut client = connect(&proxy);
    say(&mut client, "before");
    hear(&mut client, "before");
    proxy.cut();
    is_cut(&mut client);
    let mut client = connect(&proxy);
    say(&mut client, "after");
    hear(&mut client, "after");
}

#[test]
fn a_proxy_for_several_servers_leads_to_each_and_fails_for_all_at_once() {
    let ((first, heard_by_first), (second, heard_by_second)) = (echo(), echo());
    let proxy = Proxy::start_for(&[first, second]).unwrap();
    assert_eq!(proxy.addresses()[0], proxy.address());
    let mut clients: Vec<_> = proxy.addresses().iter().map(|at| connect_to(at)).collect();
    for (client, word) in clients.iter_mut().zip(["one", "other"]) {
        say(client, word);
        hear(client, word);
    }
    let heard = [heard_by_first, heard_by_second].map(|bytes| bytes.load(Ordering::SeqCst));
    assert_eq!(heard, ["one".len(), "other".len()]);
    proxy.set(Fault::Refuse);
    clients.iter_mut().for_each(is_cut);
    for address in proxy.addresses() {
        until("it refuses", || TcpStream::connect(address).is_err());
    }
    proxy.set(Fault::None);
    for address in proxy.addresses() {
        until("it accepts again", || TcpStream::connect(address).is_ok());
    }
}

#[test]
fn a_server_that_is_not_there_is_a_connection_that_is_cut() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&gone.to_string()).unwrap();
    is_cut(&mut connect(&proxy));
}
