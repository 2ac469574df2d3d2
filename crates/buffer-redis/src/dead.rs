//! Dead letters: a stream of its own, whose ids count them.

use async_trait::async_trait;
use buffer::{DeadLetter, DeadLetters, Error};
use model::Event;

use crate::RedisBuffer;
use crate::failure::{Failure, full};
use crate::frame::damaged;
use crate::place::Place;

/// Letters read or named at once, at most.
const PAGE: usize = 100;

/// One entry as Redis tells it: its id, and fields and values in turn.
type Entry = (String, Vec<Vec<u8>>);

impl Place {
    fn dead_key(&self) -> String {
        format!("{{{}}}:dead", self.options.name)
    }

    pub(crate) async fn letters(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        let mut from = from;
        while letters.len() < max {
            let count = PAGE.min(max - letters.len());
            let mut cmd = redis::cmd("XRANGE");
            cmd.arg(self.dead_key()).arg(format!("{from}-0")).arg("+").arg("COUNT").arg(count);
            let page: Vec<Entry> =
                self.rest.run(&cmd).await.map_err(|error| Failure::from(error).error())?;
            let last = page.len() < count;
            for entry in page {
                letters.push(letter(entry)?);
            }
            match letters.last() {
                Some(letter) if !last => from = letter.seq + 1,
                _ => break,
            }
        }
        Ok(letters)
    }
}

fn letter((id, fields): Entry) -> Result<DeadLetter, Error> {
    let seq = id.split('-').next().and_then(|n| n.parse().ok());
    let field = |name: &str| -> &[u8] {
        let mut pairs = fields.chunks_exact(2);
        pairs.find(|pair| pair[0] == name.as_bytes()).map_or(&[], |pair| &pair[1])
    };
    let number = |name| std::str::from_utf8(field(name)).ok().and_then(|text| text.parse().ok());
    let event = Event::new(field("i"), field("k"), field("p"));
    Ok(DeadLetter {
        seq: seq.ok_or_else(|| damaged("a dead letter has no number"))?,
        reason: String::from_utf8_lossy(field("r")).into_owned(),
        buried_at_ms: number("b").ok_or_else(|| damaged("a dead letter has no time"))?,
        accepted_at_ms: number("a").ok_or_else(|| damaged("a dead letter has no time"))?,
        attempts: number("t").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        event: event.map_err(|error| damaged(&error.to_string()))?,
    })
}

#[async_trait]
impl DeadLetters for RedisBuffer {
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.place.letters(from, max).await
    }

    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error> {
        let shared = &self.shared;
        if shared.is_closed() {
            return Err(Error::Closed);
        }
        if seqs.is_empty() {
            return Ok(0);
        }
        let max = shared.place.options.events_max;
        let replayed = shared
            .opened(|| {
                shared.place.call(&shared.place.rest, &shared.place.scripts.replay, |cmd| {
                    cmd.arg(max).arg(shared.place.options.shards).arg(seqs);
                })
            })
            .await
            .map_err(|failure| match failure {
                Failure::Full => full(format!("events_max = {max} events")),
                Failure::TooMany(got) => Error::TooMany { got, max },
                failure => failure.error(),
            })?;
        shared.watch.wake();
        Ok(replayed)
    }

    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error> {
        let mut dropped = 0;
        for some in seqs.chunks(PAGE) {
            let mut cmd = redis::cmd("XDEL");
            cmd.arg(self.shared.place.dead_key());
            for seq in some {
                cmd.arg(format!("{seq}-0"));
            }
            let count: usize =
                self.shared.place.rest.run(&cmd).await.map_err(|e| Failure::from(e).error())?;
            dropped += count;
        }
        Ok(dropped)
    }
}
