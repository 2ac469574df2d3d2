//! As much of Redis's protocol as it takes to look at a server from outside.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a Redis server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status or a string; what is not UTF-8 is replaced.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Nothing.
    Nil,
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The replies within, if there are any.
    #[must_use]
    pub fn array(&self) -> &[Self] {
        if let Self::Array(replies) = self { replies } else { &[] }
    }
}

/// Sends one command over a connection of its own.
///
/// # Errors
/// If the server can't be reached, is silent, or answers with an error.
pub(crate) fn call(address: &str, command: &[&str]) -> Result<Reply> {
    let at: SocketAddr = address.parse().with_context(|| format!("`{address}` is no address"))?;
    let mut stream = TcpStream::connect_timeout(&at, CONNECT_MAX)
        .with_context(|| format!("no connection to {address}"))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut words = format!("*{}\r\n", command.len());
    for word in command {
        words.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(words.as_bytes())?;
    read(&mut BufReader::new(stream)).with_context(|| format!("`{}`", command.join(" ")))
}

fn read(from: &mut impl BufRead) -> Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let Some(line) = line.strip_suffix("\r\n") else { bail!("the connection was cut") };
    let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => bail!("{rest}"),
        ":" => Ok(Reply::Integer(rest.parse()?)),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Nil) };
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Nil) };
            (0..length).map(|_| read(from)).collect::<Result<_>>().map(Reply::Array)
        }
        _ => bail!("`{line}` is no answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_read() {
        let bytes = b"*4\r\n+OK\r\n:-7\r\n$-1\r\n*1\r\n$4\r\na\r\nb\r\n";
        let text = |text: &str| Reply::Text(text.into());
        let expect =
            [text("OK"), Reply::Integer(-7), Reply::Nil, Reply::Array(vec![text("a\r\nb")])];
        assert_eq!(read(&mut &bytes[..]).unwrap(), Reply::Array(expect.into()));
    }

    #[test]
    fn an_error_and_a_cut_answer_are_errors() {
        assert_eq!(read(&mut &b"-LOADING soon\r\n"[..]).unwrap_err().to_string(), "LOADING soon");
        assert!(read(&mut &b"$4\r\nab"[..]).is_err());
        assert!(read(&mut &b"+O"[..]).is_err());
    }
}
