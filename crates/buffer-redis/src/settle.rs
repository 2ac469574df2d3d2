//! What becomes of leased events: acked, released, buried, extended.

use std::time::Duration;

use buffer::{Error, Receipt};
use redis::Cmd;

use crate::failure::{Failure, full};
use crate::frame::{Entry, FIRST};
use crate::shared::Shared;
use crate::state::{Item, Part, until};

/// Most events one script acts on, so that Redis is never kept for long.
const EVENTS_MAX: usize = 5_000;

/// An event and the leases it has had, this one among them: what scripts call an item.
fn written(item: &Item) -> String {
    format!("{:016}{}", item.seq.saturating_add(FIRST), leases(item))
}

fn leases(item: &Item) -> String {
    format!("{:05}", item.attempt)
}

/// How many events of a lease are meant. Negative is the whole lease, which must hold as many: an event that
/// is in it and that we do not know of (it was extended while its burial was under way) must not go
/// with the others.
fn count(part: &Part) -> i64 {
    let events = i64::try_from(part.items.len()).unwrap_or(i64::MAX);
    if part.whole { -events } else { events }
}

fn add_parts(cmd: &mut Cmd, parts: &[Part]) {
    for part in parts {
        cmd.arg(part.token).arg(count(part));
        if !part.whole {
            for item in &part.items {
                cmd.arg(written(item));
            }
        }
    }
}

/// What is done: of a stream the entries, by shard, so that the script need not put their ids together. A
/// list has a whole lease in one place.
fn add_done(cmd: &mut Cmd, parts: &[Part], stream: bool) {
    let group = |item: &Item| (if stream { item.shard } else { 0 }, item.attempt);
    for part in parts {
        cmd.arg(part.token).arg(count(part));
        let named = if part.whole && !stream { &[][..] } else { &part.items };
        let mut items: Vec<&Item> = named.iter().collect();
        items.sort_unstable_by_key(|item| (group(item), item.entry_ms, item.seq));
        cmd.arg(items.chunk_by(|a, b| group(a) == group(b)).count());
        for items in items.chunk_by(|a, b| group(a) == group(b)) {
            cmd.arg(items[0].shard).arg(leases(items[0])).arg(items.len());
            for item in items {
                match item.entry_ms {
                    Some(ms) => cmd.arg(Entry { ms, seq: item.seq }.to_string()),
                    None => cmd.arg(item.seq.saturating_add(FIRST)),
                };
            }
        }
    }
}

/// Cuts large parts, and puts small ones together, to what one script may act on.
fn chunks(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut events) = (Vec::new(), 0);
    for part in parts {
        let pieces: Vec<Part> = if part.whole {
            vec![part]
        } else {
            part.items
                .chunks(EVENTS_MAX)
                .map(|items| Part { token: part.token, items: items.to_vec(), whole: false })
                .collect()
        };
        for piece in pieces {
            if events > 0 && events + piece.items.len() > EVENTS_MAX {
                chunks.push(std::mem::take(&mut chunk));
                events = 0;
            }
            events += piece.items.len();
            chunk.push(piece);
        }
    }
    chunks.push(chunk);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// Those of `parts` whose lease is gone, to be asked for event by event.
fn one_by_one(parts: &[Part], gone: &[u64]) -> Vec<Part> {
    let is_gone = |part: &&Part| part.whole && gone.contains(&part.token);
    parts.iter().filter(is_gone).map(|part| Part { whole: false, ..part.clone() }).collect()
}

fn delay_ms(delay: Duration) -> i64 {
    // Far enough for anybody, and near enough for arithmetic in doubles.
    const YEARS_100: i64 = 100 * 366 * 86_400_000;
    i64::try_from(delay.as_millis()).unwrap_or(YEARS_100).min(YEARS_100)
}

impl Shared {
    pub(crate) async fn ack_now(&self, receipts: &[Receipt]) -> Result<usize, Failure> {
        let _whole = self.splitting.read().await;
        let (member, parts) = self.parts(receipts);
        let mut acked = 0;
        let step = async |parts: &[Part]| -> Result<(usize, Vec<u64>), Failure> {
            self.place
                .call(&self.leases, &self.place.scripts.ack, |cmd| {
                    cmd.arg(&member);
                    add_done(cmd, parts, self.place.is_stream());
                })
                .await
        };
        for chunk in chunks(parts) {
            let (count, gone) = step(&chunk).await?;
            acked += count;
            let late = one_by_one(&chunk, &gone);
            if !late.is_empty() {
                acked += step(&late).await?.0;
            }
        }
        self.state().done(receipts.iter().copied());
        Ok(acked)
    }

    pub(crate) async fn release_now(
        &self,
        receipts: &[Receipt],
        delay: Duration,
    ) -> Result<usize, Failure> {
        let _whole = self.splitting.read().await;
        let (member, mut parts) = self.parts(receipts);
        for part in &mut parts {
            part.whole = false;
        }
        let mut released = 0;
        for chunk in chunks(parts) {
            released += self
                .place
                .call::<usize>(&self.leases, &self.place.scripts.release, |cmd| {
                    cmd.arg(&member).arg(delay_ms(delay));
                    add_parts(cmd, &chunk);
                })
                .await?;
        }
        self.state().done(receipts.iter().copied());
        self.watch.wake();
        Ok(released)
    }

    pub(crate) async fn extend_now(
        &self,
        receipts: &[Receipt],
        by: Duration,
    ) -> Result<usize, Failure> {
        let _alone = self.splitting.write().await;
        let (member, parts) = self.parts(receipts);
        let mut extended = 0;
        for chunk in chunks(parts) {
            let (count, gone) = self.extend_parts(&member, &chunk, by).await?;
            extended += count;
            let late = one_by_one(&chunk, &gone);
            if !late.is_empty() {
                extended += self.extend_parts(&member, &late, by).await?.0;
            }
        }
        self.watch.wake();
        Ok(extended)
    }

    async fn extend_parts(
        &self,
        member: &str,
        parts: &[Part],
        by: Duration,
    ) -> Result<(usize, Vec<u64>), Failure> {
        let fresh = self.state().token();
        let until = until(by);
        let reply = self
            .place
            .call(&self.leases, &self.place.scripts.extend, |cmd| {
                cmd.arg(member).arg(delay_ms(by)).arg(fresh);
                add_parts(cmd, parts);
            })
            .await;
        self.state().extended(parts, fresh, until, reply.is_ok());
        reply
    }

    pub(crate) async fn bury_now(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        let _whole = self.splitting.read().await;
        let mut buried = 0;
        for chunk in burials.chunks(EVENTS_MAX) {
            let mut named = Vec::with_capacity(chunk.len());
            let member = {
                let state = self.state();
                for (receipt, reason) in chunk {
                    let Some((token, other, item)) = state.find(*receipt) else { continue };
                    named.push((token, written(&item), reason));
                    if other != 0 {
                        named.push((other, written(&item), reason));
                    }
                }
                state.member.clone()
            };
            if named.is_empty() {
                continue;
            }
            let reply = self
                .place
                .call::<usize>(&self.leases, &self.place.scripts.bury, |cmd| {
                    cmd.arg(&member).arg(self.place.options.dead_max);
                    for (token, item, reason) in &named {
                        cmd.arg(token).arg(item).arg(reason.as_str());
                    }
                })
                .await;
            buried += match reply {
                Ok(count) => count,
                Err(Failure::Full) => {
                    return Err(full(format!(
                        "dead_max = {} dead letters",
                        self.place.options.dead_max
                    )));
                }
                Err(failure) => return Err(failure.error()),
            };
            self.state().done(chunk.iter().map(|(receipt, _)| *receipt));
        }
        Ok(buried)
    }

    fn parts(&self, receipts: &[Receipt]) -> (String, Vec<Part>) {
        let state = self.state();
        (state.member.clone(), state.parts(receipts.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use buffer::Buffer;
    use model::Event;
    use testbed::Redis;

    use buffer::foreign::Fields;

    use super::*;
    use crate::options::{Options, Server};
    use crate::redis_buffer::RedisBuffer;

    /// The burial of one and the extension of both cross on their way: the burial finds nothing where
    /// the event was, and we forget it. It must come again, whatever becomes of the other.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_was_moved_while_we_forgot_it_outlives_the_ack_of_its_neighbour() {
        let redis = Redis::start().unwrap();
        let server = Server::plain(&redis.address());
        for options in [
            Options::list(server.clone(), "l", Fields::named("id", "key")),
            Options::stream(server, "s", "g", Fields::named("id", "key")),
        ] {
            let options = Options { shards: 1, lease_ms: 200, ..options };
            let producer = RedisBuffer::open(options.clone()).await.unwrap();
            let event = |n: u8| Event::new(&[b'0' + n], b"key", b"{}").unwrap();
            producer.offer(&(0..3).map(event).collect::<Vec<_>>()).await.unwrap();
            let shared = Shared::new(options);
            shared.ensure_open().await.unwrap_or_else(|_| panic!("it can be opened"));
            let patience = Duration::from_secs(5);
            let mut held = Vec::new();
            while held.len() < 3 {
                held.extend(shared.lease_now(3 - held.len(), patience).await.unwrap());
            }

            let both = [held[0].receipt, held[1].receipt];
            let (member, parts) = shared.parts(&both);
            let fresh = shared.state().token();
            let moved: Result<(usize, Vec<u64>), Failure> = shared
                .place
                .call(&shared.leases, &shared.place.scripts.extend, |cmd| {
                    cmd.arg(&member).arg(200).arg(fresh);
                    let parts = parts.iter().map(|part| Part { whole: false, ..part.clone() });
                    add_parts(cmd, &parts.collect::<Vec<_>>());
                })
                .await;
            assert!(moved.is_ok_and(|(events, _)| events == 2));
            shared.state().done([both[0]]);
            shared.state().extended(&parts, fresh, until(Duration::from_millis(200)), true);

            assert!(shared.ack_now(&both[1..]).await.is_ok_and(|acked| acked == 1));
            let mut came = Vec::new();
            while !came.contains(&b"0".to_vec()) {
                let again = shared.lease_now(3, patience).await.unwrap();
                assert!(!again.is_empty(), "the forgotten one is gone");
                came.extend(again.iter().map(|envelope| envelope.event.id().to_vec()));
            }
            assert!(!came.contains(&b"1".to_vec()), "what was acked came again");
        }
    }
}
