//! As much of PostgreSQL's protocol as it takes to run statements: version 3, simple queries, over
//! the local socket. See "Message Formats" in PostgreSQL's manual.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// 3.0 as the protocol writes it.
const VERSION: i32 = 3 << 16;
/// A message longer than this is not from a server of ours.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

type Row = Vec<Option<String>>;

/// Runs statements over a connection of its own; the rows of all of them, as text.
///
/// # Errors
/// If there is no connection, no answer within a minute, or the server answers with an error.
pub(super) fn query(folder: &Path, port: u16, database: &str, sql: &str) -> Result<Vec<Row>> {
    let mut stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))
        .context("PostgreSQL can't be reached")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut hello = VERSION.to_be_bytes().to_vec();
    for word in ["user", "postgres", "database", database, ""] {
        hello.extend(word.bytes().chain([0]));
    }
    send(&mut stream, None, &hello)?;
    until_ready(&mut stream)?;
    send(&mut stream, Some(b'Q'), &[sql.as_bytes(), &[0]].concat())?;
    until_ready(&mut stream)
}

fn send(to: &mut impl Write, kind: Option<u8>, body: &[u8]) -> Result<()> {
    let length = i32::try_from(body.len() + 4).context("the statement is too long")?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    Ok(to.write_all(&message)?)
}

/// Reads on until the server waits for us.
fn until_ready(from: &mut impl Read) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut failed = None;
    loop {
        let mut head = [0; 5];
        if let Err(cut) = from.read_exact(&mut head) {
            // A server that refuses the connection says why and hangs up.
            return Err(failed.unwrap_or_else(|| anyhow!("PostgreSQL cut the connection: {cut}")));
        }
        let [kind, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length)).context("a length below 0")?;
        ensure!((4..MESSAGE_BYTES_MAX).contains(&length), "a message of {length} bytes");
        let mut body = vec![0; length - 4];
        from.read_exact(&mut body).context("PostgreSQL cut the connection")?;
        match kind {
            b'D' => rows.push(row(&body)?),
            b'E' => failed = Some(anyhow!("PostgreSQL: {}", reason(&body))),
            b'Z' => return failed.map_or(Ok(rows), Err),
            b'G' => bail!("COPY is not for this client"),
            _ => {}
        }
    }
}

/// A count, then each value with its length, -1 for NULL.
fn row(mut body: &[u8]) -> Result<Row> {
    let mut take = |count| body.split_off(..count).context("a row that was cut off");
    let count = u16::from_be_bytes(take(2)?.try_into()?);
    let mut value = || {
        let length = i32::from_be_bytes(take(4)?.try_into()?);
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(take(length)?).into_owned()))
    };
    (0..count).map(|_| value()).collect()
}

/// The code and the message among the fields of an error.
fn reason(body: &[u8]) -> String {
    let fields = || body.split(|byte| *byte == 0);
    let field = |kind| fields().find_map(|field| field.strip_prefix(&[kind]));
    let text = |kind| String::from_utf8_lossy(field(kind).unwrap_or_default()).into_owned();
    format!("{} ({})", text(b'M'), text(b'C'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_their_nulls() {
        let row = super::row(b"\0\x02\0\0\0\x02ab\xff\xff\xff\xff").unwrap();
        assert_eq!(row, [Some("ab".to_owned()), None]);
        assert!(super::row(b"\0\x02\0\0\0\x02ab").is_err());
    }

    #[test]
    fn an_error_is_given_with_its_code() {
        let mut body = Vec::new();
        send(&mut body, Some(b'E'), b"SERROR\0C42P01\0Mno such table\0\0").unwrap();
        let error = until_ready(&mut &body[..]).unwrap_err().to_string();
        assert_eq!(error, "PostgreSQL: no such table (42P01)");
    }
}
