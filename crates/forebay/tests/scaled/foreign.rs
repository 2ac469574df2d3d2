//! Events as they come from programs that know nothing of us: plain JSON by `LPUSH` or `XADD`, over one
//! connection, one after the other. Workers number them and find their keys while others are killed and
//! come.

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::disturbing::{check_pushed, workers_killed, workers_rolled};
use crate::layout::{Layout, NAME};

/// How long Redis may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[test]
fn what_is_pushed_to_a_list_is_settled_once_and_judged_the_same_while_workers_are_killed() {
    check_pushed(Layout::List, workers_killed);
}

#[test]
fn what_is_pushed_to_a_list_is_settled_once_and_judged_the_same_while_workers_are_rolled() {
    check_pushed(Layout::List, workers_rolled);
}

#[test]
fn what_is_added_to_a_stream_is_settled_once_and_judged_the_same_while_workers_are_killed() {
    check_pushed(Layout::Sharded, workers_killed);
}

#[test]
fn what_is_added_to_a_stream_is_settled_once_and_judged_the_same_while_workers_are_rolled() {
    check_pushed(Layout::Sharded, workers_rolled);
}

/// Pushes each line that is written to it, and fails where Redis does not say that it has it.
pub(crate) struct Producer {
    redis: BufReader<TcpStream>,
    /// What stands in front of the payload.
    words: &'static [&'static str],
}

impl Producer {
    /// To the list or stream of this layout, in the Redis at `address`.
    pub(crate) fn connect(layout: Layout, address: &str) -> Self {
        let words: &[&str] = match layout {
            Layout::List => &["LPUSH", NAME],
            Layout::Stream | Layout::Sharded => &["XADD", NAME, "*", "payload"],
            Layout::Cluster | Layout::ClusterList | Layout::Kafka | Layout::Fifo => {
                panic!("it is in no single Redis")
            }
        };
        let redis = TcpStream::connect(address).unwrap();
        redis.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        Self { redis: BufReader::new(redis), words }
    }

    /// The length of the list, or the id of the entry.
    fn answer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.redis.read_line(&mut line)?;
        match line.as_bytes().first().copied() {
            Some(b':') => Ok(()),
            Some(b'$') => self.redis.read_line(&mut line).map(|_| ()),
            _ => Err(io::Error::other(format!("Redis answered `{}`", line.trim_end()))),
        }
    }
}

impl Write for Producer {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let ends = |byte: &u8| *byte == b'\n';
        let payloads: Vec<&[u8]> =
            lines.split_inclusive(ends).map(<[u8]>::trim_ascii_end).collect();
        let mut commands = Vec::new();
        for payload in &payloads {
            write!(commands, "*{}\r\n", self.words.len() + 1)?;
            for word in self.words.iter().map(|word| word.as_bytes()).chain([*payload]) {
                write!(commands, "${}\r\n", word.len())?;
                commands.extend_from_slice(word);
                commands.extend_from_slice(b"\r\n");
            }
        }
        self.redis.get_mut().write_all(&commands)?;
        for _ in &payloads {
            self.answer()?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
