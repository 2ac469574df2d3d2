//! A Kafka broker, harmed as tests harm it. What it keeps is for those who have a client.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testbed::Kafka;

/// Asks which requests it understands: the one question that needs no client.
fn answers(kafka: &Kafka) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(kafka.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // Length 10, API 18, version 0, correlation 7, no name of a client.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255])?;
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    assert_eq!(head[4..], [0, 0, 0, 7]);
    Ok(())
}

#[test]
fn it_comes_back_from_a_stop_and_a_kill_on_its_port_and_is_silent_while_paused() {
    let kafka = Kafka::start().unwrap();
    let url = kafka.url();
    answers(&kafka).unwrap();
    kafka.pause();
    assert!(answers(&kafka).is_err());
    kafka.resume();
    answers(&kafka).unwrap();

    kafka.kill();
    assert!(TcpStream::connect(kafka.address()).is_err() && !kafka.is_running());
    kafka.start_again().unwrap();
    answers(&kafka).unwrap();

    kafka.stop();
    assert!(TcpStream::connect(kafka.address()).is_err());
    kafka.start_again().unwrap();
    answers(&kafka).unwrap();
    assert_eq!(kafka.url(), url);

    let error = Kafka::start_with(&[("num.io.threads", "none")]).unwrap_err();
    assert!(format!("{error:#}").contains("num.io.threads"), "{error:#}");
}
