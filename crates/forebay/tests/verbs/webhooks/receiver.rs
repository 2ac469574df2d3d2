//! A receiver of webhooks: it checks each signature, records each delivery, and answers as the test sets it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::super::running::PATIENCE;

/// The secret of all tests.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One recorded delivery.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) path: String,
    pub(crate) is_signed: bool,
    /// What it was answered.
    pub(crate) status: u16,
}

type Answers = dyn Fn(&str, usize) -> u16 + Send + Sync;

/// Listens until the test ends.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Delivery>>>,
}

impl Receiver {
    /// Answers each delivery with the status that `answers` says; it gets the id, and how often that came before.
    pub(crate) fn start(answers: impl Fn(&str, usize) -> u16 + Send + Sync + 'static) -> Self {
        Self::start_slow(Duration::ZERO, answers)
    }

    /// The same, with so long between each delivery and its answer.
    pub(crate) fn start_slow(
        latency: Duration,
        answers: impl Fn(&str, usize) -> u16 + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks?t=QUERY", listener.local_addr().unwrap());
        let (seen, answers): (Arc<Mutex<Vec<_>>>, Arc<Answers>) =
            (Arc::default(), Arc::new(answers));
        let receiver = Self { url, seen: seen.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answers) = (seen.clone(), answers.clone());
                std::thread::spawn(move || serve(stream, latency, &seen, &*answers));
            }
        });
        receiver
    }

    /// Everything that came, in order.
    pub(crate) fn all(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().clone()
    }

    /// The bodies of what was answered with 200, in order.
    pub(crate) fn delivered(&self) -> Vec<String> {
        let good = self.all().into_iter().filter(|delivery| delivery.status == 200);
        good.map(|delivery| delivery.body).collect()
    }

    /// Waits until so many events were answered with 200.
    pub(crate) fn until(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        let events = || self.delivered().into_iter().collect::<BTreeSet<_>>().len();
        while events() < count {
            assert!(Instant::now() < end, "{} were delivered, never {count}", events());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(stream: TcpStream, latency: Duration, seen: &Mutex<Vec<Delivery>>, answers: &Answers) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            let found = head.iter().filter_map(|line| line.split_once(": "));
            let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let mut body = vec![0; header("content-length").parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
        let is_signed = header("webhook-signature") == signature(&id, &at, &body);
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        let body = String::from_utf8(body).unwrap();
        let status = {
            let mut seen = seen.lock().unwrap();
            let before = seen.iter().filter(|other| other.id == id).count();
            let status = answers(&id, before);
            seen.push(Delivery { id, body, path, is_signed, status });
            status
        };
        std::thread::sleep(latency);
        let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 4\r\n\r\nseen");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The signature that the standard asks for.
fn signature(id: &str, at: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
