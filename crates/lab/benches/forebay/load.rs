//! A closed-loop HTTP/1.1 client that costs little: on two cores every cycle it takes is one the
//! server does not get.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where the number goes that makes each event's id its own.
const DIGITS: usize = 16;

/// Requests a second answered 202 over `connections` kept-alive connections for `seconds`.
pub(crate) async fn run(
    address: std::net::SocketAddr,
    connections: usize,
    seconds: f64,
) -> Result<f64> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..connections {
        tasks.spawn(connection(address, n as u64, end));
    }
    let started = Instant::now();
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task??;
    }
    Ok(answered as f64 / started.elapsed().as_secs_f64())
}

async fn connection(address: std::net::SocketAddr, n: u64, end: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut request, place) = request(n);
    let mut answer = vec![0; 4096];
    let mut answered = 0;
    while Instant::now() < end {
        let id = format!("{:0DIGITS$}", n << 40 | answered);
        request[place..place + DIGITS].copy_from_slice(id.as_bytes());
        stream.write_all(&request).await?;
        read_answer(&mut stream, &mut answer).await?;
        answered += 1;
    }
    Ok(answered)
}

fn request(n: u64) -> (Vec<u8>, usize) {
    let now_ms = model::clock::Clock::now_ms(&model::clock::System);
    let body = format!(
        r#"{{"tx_id":"load-{:0DIGITS$}","card_number":"4000{n:012}","user_id":"user-{n}",
"tier":"normal","amount":12300,"merchant":"merchant-17","category":"coffee","created_at":{now_ms}}}"#,
        0
    );
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let place = head.len() + r#"{"tx_id":"load-"#.len();
    ((head + &body).into_bytes(), place)
}

async fn read_answer(stream: &mut TcpStream, answer: &mut [u8]) -> Result<()> {
    let mut got = 0;
    loop {
        let n = stream.read(&mut answer[got..]).await?;
        ensure!(n > 0, "the server hung up");
        got += n;
        let text = std::str::from_utf8(&answer[..got])?;
        let Some(head) = text.find("\r\n\r\n") else { continue };
        ensure!(text.starts_with("HTTP/1.1 202"), "not accepted: {text}");
        let length: usize = text[..head]
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .context("an answer says its length")?
            .parse()?;
        if got >= head + 4 + length {
            return Ok(());
        }
    }
}
