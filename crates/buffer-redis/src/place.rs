//! Where a buffer lies and how it is asked: its options, the scripts of its layout, the way to its Redis.
//!
//! Inspecting a buffer needs no more: it creates nothing and starts no task.

use std::sync::Arc;

use buffer::{Depth, Error};
use redis::{Cmd, FromRedisValue, RedisResult};

use crate::connection::Connection;
use crate::failure::{Failure, is_unknown_script};
use crate::options::{Layout, Options};
use crate::provider::Provider;
use crate::script::{Script, Scripts};

pub(crate) struct Place {
    pub(crate) options: Options,
    pub(crate) scripts: &'static Scripts,
    /// The consumer group; empty for lists.
    pub(crate) group: String,
    pub(crate) provider: Arc<Provider>,
    /// For what is asked and answered in few bytes: beats, depth, letters.
    pub(crate) rest: Arc<Connection>,
}

impl Place {
    pub(crate) fn new(options: Options) -> Self {
        let provider = Provider::of(&options);
        let group = match &options.layout {
            Layout::List => String::new(),
            Layout::Stream { group, .. } => group.clone(),
        };
        let scripts = Scripts::of(&options.layout);
        Self { scripts, group, rest: Arc::clone(provider.control()), provider, options }
    }

    /// As [`Place::new`], if the options can be used.
    pub(crate) fn checked(options: &Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self::new(options.clone()))
    }

    pub(crate) fn is_stream(&self) -> bool {
        !self.group.is_empty()
    }

    /// A script's call without its arguments, by hash or with the whole code.
    pub(crate) fn script(&self, whole: bool, script: &Script) -> Cmd {
        script.call(whole, &self.options.name, &self.group)
    }

    /// Runs a script; `fill` adds its arguments.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        connection: &Connection,
        script: &Script,
        fill: impl Fn(&mut Cmd),
    ) -> Result<T, Failure> {
        Ok(self.call_raw(connection, script, fill).await?)
    }

    async fn call_raw<T: FromRedisValue>(
        &self,
        connection: &Connection,
        script: &Script,
        fill: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let mut cmd = self.script(false, script);
        fill(&mut cmd);
        match connection.run(&cmd).await {
            Err(error) if is_unknown_script(&error) => {}
            done => return done,
        }
        let mut cmd = self.script(true, script);
        fill(&mut cmd);
        connection.run(&cmd).await
    }

    /// Asks how much is held.
    pub(crate) async fn depth(&self) -> Result<Depth, Failure> {
        let (ready, leased, dead, oldest): (u64, u64, u64, i64) = self
            .call(&self.rest, &self.scripts.depth, |cmd| {
                cmd.arg(self.options.shards);
            })
            .await?;
        let oldest_accepted_ms = Some(oldest).filter(|ms| *ms >= 0);
        Ok(Depth { ready, leased, dead, oldest_accepted_ms })
    }
}
