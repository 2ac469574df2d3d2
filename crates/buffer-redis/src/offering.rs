//! How offers get into Redis.

use buffer::Error;
use model::Event;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult};

use crate::failure::{Failure, is_unknown_script};
use crate::frame;
use crate::shared::Shared;

impl Shared {
    pub(crate) async fn offer_now(&self, events: &[Event]) -> Result<(), Failure> {
        if self.place.options.wait_replicas > 0 {
            return self.offer_replicated(events).await;
        }
        // A cluster's client may send the parts of a transaction again one by one.
        if self.place.is_stream() || self.place.options.server.cluster {
            return self.offer_whole(events).await;
        }
        let mut done = self.transaction(events, false).await;
        if done.as_ref().is_err_and(is_unknown_script) {
            done = self.transaction(events, true).await;
        }
        match done {
            // EXEC itself was refused, so nothing was done; what it was is not told. The script alone
            // is, or needs no leave for transactions.
            Err(error) if error.kind() == ErrorKind::UnexpectedReturnType => {
                self.offer_whole(events).await
            }
            done => Ok(done?),
        }
    }

    async fn offer_whole(&self, events: &[Event]) -> Result<(), Failure> {
        let fill = |cmd: &mut Cmd| self.fill(events, cmd);
        let _: i64 = self.place.call(self.offers(), &self.place.scripts.offer, fill).await?;
        Ok(())
    }

    /// Pushes the events as they are, and lets a script decide in the same transaction.
    async fn transaction(&self, events: &[Event], whole: bool) -> RedisResult<()> {
        let mut push = redis::cmd("LPUSH");
        push.arg(format!("{{{}}}:stage", self.place.options.name));
        self.add_tails(events, &mut push);
        let mut decide =
            self.place.scripts.offer.call(whole, &self.place.options.name, &self.place.group);
        decide.arg(self.place.options.events_max).arg(events.len());
        let mut pipe = Pipeline::with_capacity(2);
        pipe.atomic().add_command(push).add_command(decide);
        let done: RedisResult<(i64, i64)> = self.offers().run_all(&pipe).await;
        done.map(|_| ()).map_err(cause)
    }

    /// Waits for the replicas too, on the connection that the offer was made on: on another one Redis
    /// would have nothing to wait for.
    async fn offer_replicated(&self, events: &[Event]) -> Result<(), Failure> {
        let replicas = self.place.options.wait_replicas;
        let timeout_ms = self.place.options.response_timeout_ms / 2;
        let mut whole = false;
        loop {
            let mut cmd =
                self.place.scripts.offer.call(whole, &self.place.options.name, &self.place.group);
            self.fill(events, &mut cmd);
            let mut pipe = redis::pipe();
            pipe.add_command(cmd).cmd("WAIT").arg(replicas).arg(timeout_ms);
            match self.offers().run_all::<(i64, u32)>(&pipe).await {
                Ok((_, got)) if got >= replicas => return Ok(()),
                Ok((_, got)) => {
                    return Err(Failure::Other(Error::Unavailable(format!(
                        "redis: {got} of {replicas} replicas have the offer after {timeout_ms} ms; \
                         it may be held all the same"
                    ))));
                }
                Err(error) if is_unknown_script(&error) && !whole => whole = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The arguments of an offer that one script takes whole.
    fn fill(&self, events: &[Event], cmd: &mut Cmd) {
        cmd.arg(self.place.options.events_max);
        if !self.place.is_stream() {
            cmd.arg(events.len());
        }
        self.add_tails(events, cmd);
    }

    fn add_tails(&self, events: &[Event], cmd: &mut Cmd) {
        let mut tail = Vec::new();
        for event in events {
            frame::tail(event, frame::shard_of(event, self.place.options.shards), &mut tail);
            cmd.arg(&tail);
        }
    }
}

/// What a transaction failed at: what the script said, or why nothing of it was done.
fn cause(error: RedisError) -> RedisError {
    let errors = error.clone().into_server_errors();
    match errors.as_deref().and_then(<[_]>::last) {
        Some((_, told)) => told.clone().into(),
        None => error,
    }
}
