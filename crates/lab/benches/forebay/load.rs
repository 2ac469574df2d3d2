//! A closed-loop HTTP/1.1 client that costs little: on two cores every cycle it takes is one the
//! server does not get.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many digits the number has that makes each request its own.
pub(crate) const DIGITS: usize = 16;

/// What a connection sends again and again.
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the number goes.
    place: usize,
}

impl Request {
    /// A request of this line and this JSON, in one of which are [`DIGITS`] noughts.
    pub(crate) fn new(line: &str, body: &str) -> Self {
        let head = format!(
            "{line} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let text = head + body;
        let place = text.find(&"0".repeat(DIGITS)).expect("a request has a place for its number");
        Self { bytes: text.into_bytes(), place }
    }

    /// The same with this number in its place.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let digits = format!("{number:0DIGITS$}");
        self.bytes[self.place..self.place + DIGITS].copy_from_slice(digits.as_bytes());
        &self.bytes
    }
}

/// Requests a second answered 202 over `connections` kept-alive connections for `seconds`.
pub(crate) async fn run(
    address: SocketAddr,
    connections: usize,
    seconds: f64,
    request: fn(u64) -> Request,
) -> Result<f64> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..connections as u64 {
        tasks.spawn(connection(address, n, end, request(n)));
    }
    let started = Instant::now();
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task??;
    }
    Ok(answered as f64 / started.elapsed().as_secs_f64())
}

async fn connection(
    address: SocketAddr,
    n: u64,
    end: Instant,
    mut request: Request,
) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; 4096];
    let mut answered = 0;
    while Instant::now() < end {
        stream.write_all(request.numbered(n << 40 | answered)).await?;
        read_answer(&mut stream, &mut answer).await?;
        answered += 1;
    }
    Ok(answered)
}

/// A payment of this connection's card.
pub(crate) fn payment(n: u64) -> Request {
    let now_ms = model::clock::Clock::now_ms(&model::clock::System);
    let body = format!(
        r#"{{"tx_id":"load-{:0DIGITS$}","card_number":"4000{n:012}","user_id":"user-{n}",
"tier":"normal","amount":12300,"merchant":"merchant-17","category":"coffee","created_at":{now_ms}}}"#,
        0
    );
    Request::new("POST /v1/events", &body)
}

async fn read_answer(stream: &mut TcpStream, answer: &mut [u8]) -> Result<()> {
    let mut got = 0;
    loop {
        let n = stream.read(&mut answer[got..]).await?;
        ensure!(n > 0, "the server hung up");
        got += n;
        if whole(&answer[..got], "HTTP/1.1 202")?.is_some() {
            return Ok(());
        }
    }
}

/// The head of an answer once all of it is there; its status must be as `expected`.
pub(crate) fn whole<'a>(answer: &'a [u8], expected: &str) -> Result<Option<&'a str>> {
    let text = std::str::from_utf8(answer)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    ensure!(head.starts_with(expected), "not {expected}: {text}");
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .context("an answer says its length")?
        .parse()?;
    Ok((body.len() >= length).then_some(head))
}
