//! One connection to Redis that is made when it is needed and again when it broke, for ever.
//!
//! Nothing is sent twice by itself: whether a step whose reply was lost may be repeated, only the
//! one who took it can tell.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisResult, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::failure::{breaks, is_denied, login_refused};
use crate::options::Server;

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long nobody tries again after a failure: many who wait would each wait their own timeout.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
enum Live {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Default)]
struct Slot {
    live: Option<Live>,
    /// Which connection this is, so that one who failed on an older one does not drop a newer.
    number: u64,
    failed: Option<(Instant, RedisError)>,
}

/// A connection that mends itself.
pub(crate) struct Connection {
    server: Server,
    response_timeout: Duration,
    slot: Mutex<Slot>,
}

impl Connection {
    pub(crate) fn new(server: &Server, response_timeout: Duration) -> Self {
        Self { server: server.clone(), response_timeout, slot: Mutex::default() }
    }

    /// Sends one command and waits for its reply.
    pub(crate) async fn run<T: FromRedisValue>(&self, cmd: &Cmd) -> RedisResult<T> {
        let (live, number) = self.live().await?;
        let reply = async {
            match live {
                Live::Single(mut live) => cmd.query_async(&mut live).await,
                Live::Cluster(mut live) => cmd.query_async(&mut live).await,
            }
        };
        self.bounded(number, reply).await
    }

    /// Sends some commands together, on the node of the first one's key.
    pub(crate) async fn run_all<T: FromRedisValue>(&self, pipe: &Pipeline) -> RedisResult<T> {
        let (live, number) = self.live().await?;
        let reply = async {
            match live {
                Live::Single(mut live) => pipe.query_async(&mut live).await,
                Live::Cluster(mut live) => pipe.query_async(&mut live).await,
            }
        };
        self.bounded(number, reply).await
    }

    /// Sends some commands together to one node of a cluster. Replies with as many values, refusals among them.
    pub(crate) async fn run_on(
        &self,
        node: SingleNodeRoutingInfo,
        pipe: Pipeline,
    ) -> RedisResult<Vec<Value>> {
        let (live, number) = self.live().await?;
        let count = pipe.len();
        let reply = async {
            match live {
                Live::Single(mut live) => pipe.query_async(&mut live).await,
                Live::Cluster(mut live) => live.route_pipeline(pipe, 0, count, node).await,
            }
        };
        self.bounded(number, reply).await
    }

    async fn bounded<T>(
        &self,
        number: u64,
        reply: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let late = || RedisError::from((ErrorKind::Io, "no reply came in time"));
        // A cluster's client tries other nodes within this time.
        let result =
            timeout(self.response_timeout * 2, reply).await.unwrap_or_else(|_| Err(late()));
        if let Err(error) = &result
            && breaks(error)
        {
            let mut slot = self.slot.lock().await;
            if slot.number == number {
                slot.live = None;
            }
        }
        result
    }

    async fn live(&self) -> RedisResult<(Live, u64)> {
        let mut slot = self.slot.lock().await;
        if let Some(live) = &slot.live {
            return Ok((live.clone(), slot.number));
        }
        if let Some((when, error)) = &slot.failed
            && when.elapsed() < RETRY_PAUSE
        {
            return Err(error.clone());
        }
        let made = timeout(CONNECT_TIMEOUT, self.connect()).await.unwrap_or_else(|_| {
            Err(RedisError::from((ErrorKind::Io, "no connection could be made in time")))
        });
        match made {
            Ok(live) => {
                slot.number += 1;
                slot.failed = None;
                slot.live = Some(live.clone());
                Ok((live, slot.number))
            }
            Err(error) => {
                let error = self.named(error);
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// A refused login, told with its user.
    fn named(&self, error: RedisError) -> RedisError {
        if !is_denied(&error) {
            return error;
        }
        let why = login_refused(&self.server);
        RedisError::from((ErrorKind::AuthenticationFailed, "the login is refused", why))
    }

    async fn connect(&self) -> RedisResult<Live> {
        if self.server.tls {
            // Whoever was first chose; there is one provider in the whole tree.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let infos: Vec<ConnectionInfo> =
            self.server.addresses.iter().map(|a| self.info(a)).collect::<RedisResult<_>>()?;
        if self.server.cluster {
            let client = ClusterClient::builder(infos)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(self.response_timeout)
                .retries(2)
                .build()?;
            return Ok(Live::Cluster(client.get_async_connection().await?));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout));
        let mut failed = RedisError::from((ErrorKind::InvalidClientConfig, "no host is named"));
        for info in infos {
            let client = Client::open(info)?;
            match client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(live) => return Ok(Live::Single(live)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn info(&self, (host, port): &(String, u16)) -> RedisResult<ConnectionInfo> {
        let address = if self.server.tls {
            ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host.clone(), *port)
        };
        let mut redis = RedisConnectionInfo::default().set_db(self.server.db);
        if let Some(user) = &self.server.user {
            // The client sends AUTH only with a password. Without AUTH, Redis runs each command as `default`.
            redis = redis.set_username(user).set_password("");
        }
        if let Some(password) = &self.server.password {
            redis = redis.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(redis))
    }
}
