//! Connections: taken up to a bound, closed politely, drained at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::outbound::Outbound;
use crate::{Error, Options, Readiness, answer};

/// How much of a request may be held before it is handled, in bytes: its head, or a piece of its
/// body.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Most connections past the bound that are told so at once; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// How long the client's last bytes are read and dropped after we have said our last. Closing with
/// bytes unread resets the connection, and our answer may then never be seen.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait after accepting failed for a reason of our own, such as no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are open, and how many may be. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    max: usize,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            max,
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.max - self.permits.available_permits()
    }

    /// See [`crate::Service::run`].
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        options: &Options,
        readiness: &Readiness,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let finishing = CancellationToken::new();
        let mut taking = Taking {
            connections: self.clone(),
            http: http(options),
            answer_stall_timeout: options.answer_stall_timeout,
            router,
            finishing: finishing.clone(),
            tasks: JoinSet::new(),
        };
        taking.until(&listener, shutdown.cancelled()).await;
        readiness.block("server", "is stopping");
        if !options.drain_delay.is_zero() {
            taking.until(&listener, tokio::time::sleep(options.drain_delay)).await;
        }
        drop(listener);
        finishing.cancel();

        let mut tasks = taking.tasks;
        let finish = async {
            while let Some(result) = tasks.join_next().await {
                log_panic(result);
            }
        };
        if timeout(options.grace, finish).await.is_err() {
            let connections = tasks.len();
            tasks.shutdown().await;
            return Err(Error::Cut { connections, grace: options.grace });
        }
        Ok(())
    }
}

/// Takes connections and attends to each in a task of its own.
struct Taking {
    connections: Connections,
    http: http1::Builder,
    answer_stall_timeout: Duration,
    router: Router,
    finishing: CancellationToken,
    tasks: JoinSet<()>,
}

impl Taking {
    async fn until(&mut self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(result) = self.tasks.join_next(), if !self.tasks.is_empty() => log_panic(result),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _peer)) => self.take(stream),
                    Err(error) if is_the_clients(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "connections can't be accepted just now");
                        tokio::select! {
                            () = &mut stop => return,
                            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, stream: TcpStream) {
        if let Ok(permit) = Arc::clone(&self.connections.permits).try_acquire_owned() {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "answers may be delayed by the network");
            }
            let service = TowerToHyperService::new(self.router.clone());
            let stream = TokioIo::new(Outbound::new(stream, self.answer_stall_timeout));
            let connection = self.http.serve_connection(stream, service);
            self.tasks.spawn(attend(connection, self.finishing.child_token(), permit));
        } else if let Ok(permit) = Arc::clone(&self.connections.refusals).try_acquire_owned() {
            self.tasks.spawn(turn_away(stream, permit));
        }
    }
}

type Connection = http1::Connection<TokioIo<Outbound>, TowerToHyperService<Router>>;

async fn attend(
    mut connection: Connection,
    finishing: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let mut result = tokio::select! {
        biased;
        result = &mut connection => Some(result),
        () = finishing.cancelled() => None,
    };
    if result.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        result = Some((&mut connection).await);
    }
    if let Some(Err(error)) = result {
        tracing::debug!(%error, "a connection ended");
    }
    linger(connection.into_parts().io.into_inner().into_inner()).await;
}

async fn turn_away(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let told = timeout(LINGER, stream.write_all(answer::connections_full().as_bytes())).await;
    if let Ok(Ok(())) = told {
        linger(stream).await;
    }
}

/// Says that nothing more comes, then reads until the client has said the same.
async fn linger(mut stream: TcpStream) {
    let rest = async {
        stream.shutdown().await?;
        let mut dropped = [0; 4096];
        while stream.read(&mut dropped).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever comes of it, the connection is over.
    let _ = timeout(LINGER, rest).await;
}

fn http(options: &Options) -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its sending half once its request is whole, and still waits for the answer.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout)
        .max_buf_size(READ_BYTES_MAX);
    http
}

/// Whether the client gave up before it was accepted, which is no trouble of ours.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn log_panic(result: Result<(), JoinError>) {
    if let Err(error) = result
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
