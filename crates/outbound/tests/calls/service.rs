//! A service that answers with given bytes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request with bytes of the test's choice. `close` at their end closes the connection after them.
pub(crate) struct Service {
    pub(crate) address: String,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        Self::with(move |stream, seen| {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { serve(stream, &seen, &*answer).await });
        })
        .await
    }

    /// Accepts connections, and reads nothing.
    pub(crate) async fn silent() -> Self {
        let kept = Mutex::new(Vec::new());
        Self::with(move |stream, _| kept.lock().expect("no test panics here").push(stream)).await
    }

    async fn with(connected: impl Fn(TcpStream, Arc<Mutex<Seen>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().expect("no test panics here").connections += 1;
                connected(stream, Arc::clone(&shared));
            }
        });
        Self { address, seen, task }
    }

    /// The first line of each request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no test panics here").requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().expect("no test panics here").connections
    }

    /// Waits until so many requests came.
    pub(crate) async fn got_requests(&self, requests: usize) {
        while self.requests().len() < requests {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Seen>,
    answer: &(dyn Fn(&str, usize) -> Vec<u8> + Sync),
) {
    let mut bytes = Vec::new();
    let mut n = 0;
    loop {
        while whole(&bytes).is_none() {
            match stream.read_buf(&mut bytes).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
        let rest = bytes.split_off(whole(&bytes).expect("it is whole"));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        bytes = rest;
        n += 1;
        let answer = answer(&line, n);
        seen.lock().expect("no test panics here").requests.push(line);
        let (answer, closes) = match answer.strip_suffix(b"close") {
            Some(answer) => (answer, true),
            None => (&answer[..], false),
        };
        if stream.write_all(answer).await.is_err() || closes {
            return;
        }
    }
}

/// Where the first request ends, if it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = head + length.unwrap_or(0_usize);
    (bytes.len() >= end).then_some(end)
}

/// An address that refuses connections.
pub(crate) async fn closed_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").to_string()
}
