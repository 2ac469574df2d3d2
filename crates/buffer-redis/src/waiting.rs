//! Claims, and waiting for something to claim.

use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::{Envelope, Error};
use redis::Value;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::frame;
use crate::options::Layout;
use crate::poll::LOOK_EVERY;
use crate::shared::{Claims, Shared};
use crate::state::until;
use crate::watch::Look;

/// Most events of one claim, and about how many bytes.
const CLAIM_EVENTS_MAX: usize = 10_000;
const CLAIM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How large events are taken to be before one was seen, in bytes.
const EVENT_BYTES_FIRST: usize = 8 * 1024;
/// Between the first two claims that find nothing; then twice as long each time, until the queue rests.
const POLL_MIN: Duration = Duration::from_millis(1);
/// How long a queue rests at most: what nobody looks at (keys that were changed by hand) is found by then.
const REST_MAX: Duration = Duration::from_secs(10);
/// The same where other processes lease, too: what they let go of may come again here.
const REST_BESIDE_OTHERS_MAX: Duration = Duration::from_secs(1);
/// After a claim that brought fewer than this, the next one waits a little for more to gather: a claim
/// looks at every shard, and what it brings is settled in one transaction, so few events cost almost as
/// much as many.
const GATHER_EVENTS: usize = 200;
/// How long it waits.
const GATHER: Duration = Duration::from_millis(5);
/// How often a claim may find itself fenced before the one who asked is told.
const FENCED_MAX: usize = 3;

/// What a claim found.
enum Claimed {
    Events(Vec<Envelope>),
    /// Nothing: what would bring something, and when something is due at the latest.
    Nothing(Look, Option<Duration>),
}

pub(crate) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

impl Shared {
    pub(crate) async fn lease_now(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Envelope>, Error> {
        let started = Instant::now();
        if wait > GATHER && !self.is_closed() {
            // Whoever claims just now will say how much there is.
            let gathered_at = self.claims.try_lock().ok().and_then(|claims| claims.gathered_at);
            tokio::time::sleep_until(gathered_at.unwrap_or(started)).await;
        }
        let mut pause = POLL_MIN;
        let mut fenced = 0;
        loop {
            // Made before looking, so that what happens between looking and sleeping wakes us.
            let (changed, wakes) = (self.watch.changed(), self.watch.wakes());
            if self.is_closed() || max == 0 {
                return Ok(Vec::new());
            }
            if self.watch.is_undisturbed() {
                // After a rest that brought nothing, one claim is enough to rest again.
                pause = LOOK_EVERY;
            }
            // A short wait claims at once instead of waiting for the poll.
            let resting = self.watch.rests_until().filter(|_| wait > LOOK_EVERY * 2);
            let until = match resting {
                Some(until) => until,
                None => match self.claim(max).await {
                    Ok(Claimed::Events(events)) => return Ok(events),
                    Ok(Claimed::Nothing(look, due)) => self.nothing_came(look, due, pause, wakes),
                    Err(Failure::Fenced) if fenced < FENCED_MAX => {
                        fenced += 1;
                        continue;
                    }
                    Err(failure) => return Err(failure.error()),
                },
            };
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            pause = (pause * 2).min(LOOK_EVERY);
            // Either way we look again: a wake-up and a passed deadline ask for the same thing.
            let due = until.saturating_duration_since(Instant::now()).max(POLL_MIN);
            let _ = tokio::time::timeout(due.min(left), changed).await;
        }
    }

    /// Until when to wait after a claim that found nothing. After some of them, or where the bell listens at once,
    /// the queue rests: the provider looks at it together with all others.
    fn nothing_came(
        &self,
        look: Look,
        due: Option<Duration>,
        pause: Duration,
        wakes: u64,
    ) -> Instant {
        let now = Instant::now();
        let rests = pause >= LOOK_EVERY || look == Look::Nothing || self.watch.is_heard();
        if !rests || !self.watch.is_watched() {
            return now + due.unwrap_or(pause).min(pause);
        }
        let alone = self.state().shards.len() == usize::from(self.place.options.shards);
        let most = if alone { REST_MAX } else { REST_BESIDE_OTHERS_MAX };
        let until = now + due.unwrap_or(most).min(most);
        self.watch.rest(look, until, wakes);
        until
    }

    /// What would bring something to claim from these shards.
    fn look(&self, shards: &[u8]) -> Look {
        let options = &self.place.options;
        let beside = |part: &str| format!("{{{}}}:{part}", options.name);
        if shards.is_empty() {
            return Look::Nothing;
        }
        if self.place.is_stream() {
            let mut streams = vec![(options.name.clone(), "0-0".to_owned())];
            let state = self.state();
            for (index, shard) in state.shards.iter().filter(|(_, shard)| shard.draining.is_none())
            {
                let after = shard.last.map_or_else(|| "0-0".to_owned(), |entry| entry.to_string());
                streams.push((beside(&index.to_string()), after));
            }
            return Look::Streams(streams);
        }
        let mut keys = vec![options.name.clone(), beside("in")];
        // No other process writes into the shards of the only member.
        if shards.len() < usize::from(options.shards) {
            for shard in shards {
                keys.extend([beside(&shard.to_string()), beside(&format!("again:{shard}"))]);
            }
        }
        Look::Keys(keys)
    }

    async fn claim(&self, max: usize) -> Result<Claimed, Failure> {
        let mut claims = self.claims.lock().await;
        if self.is_closed() {
            return Ok(Claimed::Nothing(Look::Nothing, None));
        }
        if !self.state().joined {
            self.beat(&claims).await?;
            self.begin_beats();
        }
        let (member, shards, ending, incarnation) = {
            let state = self.state();
            (state.member.clone(), state.open_shards(), state.ending_shards(), state.incarnation)
        };
        if claims.incarnation != incarnation {
            *claims = Claims { incarnation, event_bytes: claims.event_bytes, ..Claims::default() };
        }
        // Their leases may have ended while nothing was claimed: others may have them by now.
        if claims.left_over_until.is_some_and(|until| until <= Instant::now()) {
            claims.left_over.clear();
            claims.left_over_until = None;
        }
        if !claims.left_over.is_empty() {
            return Ok(Claimed::Events(give(&mut claims, max)));
        }
        if shards.is_empty() && ending.is_empty() {
            return Ok(Claimed::Nothing(Look::Nothing, None));
        }
        let token = claims.unresolved.unwrap_or_else(|| self.state().token());
        if claims.event_bytes == 0 {
            claims.event_bytes = EVENT_BYTES_FIRST;
        }
        let bound = CLAIM_BYTES_MAX / claims.event_bytes.max(1024);
        let most = max.min(CLAIM_EVENTS_MAX).min(bound);
        let lasts_until = until(Duration::from_millis(self.place.options.lease_ms.unsigned_abs()));
        // Until its reply is here, this claim may have taken something.
        claims.unresolved = Some(token);
        let claimed =
            self.opened(|| self.claim_script(&member, token, most, [&shards, &ending])).await;
        let (due_ms, values) = match claimed {
            Err(Failure::Fenced) => {
                self.fenced(&member);
                return Err(Failure::Fenced);
            }
            done => done?,
        };
        let told = frame::read(values, self.place.is_stream()).map_err(Failure::Other)?;
        claims.unresolved = None;
        if self.state().incarnation != incarnation {
            // Found fenced meanwhile: what this claim took went back with all the rest.
            return Err(Failure::Fenced);
        }
        let little = told.len() < GATHER_EVENTS.min(most);
        claims.gathered_at = (little && !told.is_empty()).then(|| Instant::now() + GATHER);
        if told.is_empty() {
            let due = u64::try_from(due_ms).ok().map(Duration::from_millis);
            return Ok(Claimed::Nothing(self.look(&shards), due));
        }
        let bytes: usize = told.iter().map(|one| one.event.as_bytes().len()).sum();
        claims.event_bytes = (claims.event_bytes + bytes / told.len()) / 2;
        let again = told.iter().filter(|one| one.leases > 0).count() as u64;
        if again > 0 {
            metrics::counter!("buffer_redis_redelivered_total").increment(again);
        }
        claims.left_over = self.state().leased(token, told, lasts_until);
        claims.left_over_until = Some(lasts_until);
        // Where others wait, what is left over is theirs.
        self.watch.wake();
        Ok(Claimed::Events(give(&mut claims, max)))
    }

    async fn claim_script(
        &self,
        member: &str,
        token: u64,
        max: usize,
        [shards, ending]: [&[u8]; 2],
    ) -> Result<(i64, Vec<Value>), Failure> {
        let options = &self.place.options;
        let field = match &options.layout {
            Layout::Stream { field: Some(field), .. } => field.as_str(),
            _ => "",
        };
        self.place
            .call(&self.leases, &self.place.scripts.claim, |cmd| {
                cmd.arg(member).arg(token).arg(max).arg(options.lease_ms).arg(shards);
                cmd.arg(&options.fields.id).arg(&options.fields.key).arg(field);
                cmd.arg(options.shards).arg(options.dead_max).arg(options.events_max);
                cmd.arg(ending);
            })
            .await
    }

    /// Ends all waiting and gives back what nobody was given.
    pub(crate) async fn close_now(&self) -> Result<(), Error> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.watch.wake();
        let mut claims = self.claims.lock().await;
        let left: Vec<_> = claims.left_over.drain(..).map(|envelope| envelope.receipt).collect();
        let mut given_back = Ok(0);
        if !left.is_empty() {
            given_back = self.release_now(&left, Duration::ZERO).await;
        }
        if let Err(failure) = given_back.and(self.leave().await) {
            // Nothing is lost by it: others have to wait until this member is not heard of.
            tracing::warn!(error = %failure.error(), "redis could not be told that this process ends");
        }
        Ok(())
    }
}

/// Up to `max` of what was leased; the rest is given to the next who asks.
fn give(claims: &mut MutexGuard<'_, Claims>, max: usize) -> Vec<Envelope> {
    if claims.left_over.len() <= max {
        return std::mem::take(&mut claims.left_over);
    }
    claims.left_over.drain(..max).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use buffer::Buffer;
    use buffer::foreign::Fields;
    use model::Event;
    use testbed::Redis;

    use super::*;
    use crate::options::{Options, Server};
    use crate::redis_buffer::RedisBuffer;

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_rest_that_brought_nothing_one_claim_is_enough_to_rest_again() {
        let redis = Redis::start().unwrap();
        let fields = Fields::named("id", "key");
        let options = Options::list(Server::plain(&redis.address()), "l", fields);
        let shared = Arc::new(Shared::new(options));
        shared.ensure_open().await.unwrap_or_else(|_| panic!("it can be opened"));
        let kept = Arc::downgrade(&shared);
        let _open = shared.place.provider.open(kept, &shared.watch);
        let claims = async || {
            let before = shared.state().token();
            let leased = shared.lease_now(1, Duration::from_millis(100)).await.unwrap();
            assert!(leased.is_empty());
            shared.state().token() - before - 1
        };
        assert!(claims().await > 2, "it claims until it rests");
        assert_eq!(claims().await, 0, "it rests, and claims no more");
        let ended = Instant::now();
        shared.watch.rest(Look::Keys(vec!["l".to_owned()]), ended, shared.watch.wakes());
        assert_eq!(claims().await, 1);
    }

    /// As when its packets were held up while another copy was answered: what it took would be
    /// nobody's until its lease expires, and later events of the same keys would go before it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_of_a_claim_that_comes_late_takes_nothing() {
        let redis = Redis::start().unwrap();
        let server = Server::plain(&redis.address());
        for options in [
            Options::list(server.clone(), "l", Fields::named("id", "key")),
            Options::stream(server, "s", "g", Fields::named("id", "key")),
        ] {
            let producer = RedisBuffer::open(options.clone()).await.unwrap();
            let event = |n: u8| Event::new(&[b'0' + n], b"key", b"{}").unwrap();
            producer.offer(&(0..4).map(event).collect::<Vec<_>>()).await.unwrap();

            let shared = Shared::new(options);
            shared.ensure_open().await.unwrap_or_else(|_| panic!("it can be opened"));
            let patience = Duration::from_secs(5);
            let first = shared.lease_now(2, patience).await.unwrap();
            let token = shared.state().token() - 1;
            let receipts: Vec<_> = first.iter().map(|envelope| envelope.receipt).collect();
            assert!(shared.ack_now(&receipts).await.is_ok_and(|acked| acked == receipts.len()));

            let (member, shards) = {
                let state = shared.state();
                (state.member.clone(), state.open_shards())
            };
            let late = shared.claim_script(&member, token, 2, [&shards, &[]]).await;
            assert!(late.is_ok_and(|(_, events)| events.is_empty()));
            let mut seen = first;
            while seen.len() < 4 {
                let more = shared.lease_now(4, patience).await.unwrap();
                assert!(!more.is_empty(), "only {} came", seen.len());
                seen.extend(more);
            }
            let ids: Vec<_> = seen.iter().map(|envelope| envelope.event.id()).collect();
            assert_eq!(ids, [b"0", b"1", b"2", b"3"]);
        }
    }
}
