//! The service over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::clock::Clock;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, Fate};
use super::ledger::{Audit, Effect, Ledger};

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The longest member and key, in bytes.
const NAME_BYTES_MAX: usize = 1000;
/// How long a client may take for the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// What a simulated service needs to start.
#[derive(Debug)]
pub struct Options {
    /// How it behaves at first.
    pub behaviour: Behaviour,
    /// Where its ledger is kept; in memory without one.
    pub ledger: Option<PathBuf>,
    /// The field of a call's JSON object that names the member.
    pub member_field: String,
    /// The field whose calls should come one after the other; the member's without one.
    pub order_field: Option<String>,
    /// What its draws begin with.
    pub seed: u64,
}

/// A running service. Dropping it stops it; calls under way get no answer.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens.
    pub address: SocketAddr,
    service: Arc<Service>,
    stop: CancellationToken,
}

impl Handle {
    /// What was done so far.
    #[must_use]
    pub fn audit(&self) -> Audit {
        lock(&self.service.ledger).audit()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves on `listener` until the handle is dropped.
///
/// # Errors
/// If the behaviour is out of bounds or the ledger cannot be read.
pub fn start(
    listener: TcpListener,
    options: Options,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Handle> {
    options.behaviour.validate().map_err(anyhow::Error::msg)?;
    let service = Arc::new(Service {
        ledger: Mutex::new(Ledger::open(options.ledger.as_deref())?),
        places: Semaphore::new(options.behaviour.capacity as usize),
        random: Mutex::new(ChaCha8Rng::seed_from_u64(options.seed)),
        behaviour: Mutex::new(Behaving { now: options.behaviour, owed: 0 }),
        order_field: options.order_field.unwrap_or_else(|| options.member_field.clone()),
        member_field: options.member_field,
        clock,
    });
    let stop = CancellationToken::new();
    let address = listener.local_addr()?;
    let handle = Handle { address, service: Arc::clone(&service), stop: stop.clone() };
    tokio::spawn(accept(listener, service, stop));
    Ok(handle)
}

struct Service {
    ledger: Mutex<Ledger>,
    /// One permit for each call that is worked on.
    places: Semaphore,
    behaviour: Mutex<Behaving>,
    random: Mutex<ChaCha8Rng>,
    member_field: String,
    order_field: String,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

struct Behaving {
    now: Behaviour,
    /// Places that a lower capacity still has to take away, once calls give them back.
    owed: usize,
}

/// The connection is closed, and the client gets nothing more.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

async fn accept(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely; they come back as connections end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (service, stop) = (Arc::clone(&service), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, service) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    // Nagle's delay would show as latency.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| answer(request, Arc::clone(&service)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that goes away and a connection that is cut end it with an error, as they should.
    let _ = served.await;
}

async fn answer(
    request: Request<Incoming>,
    service: Arc<Service>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_BYTES_MAX).collect().await else {
        return Ok(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is cut off or longer than 1 MiB",
        ));
    };
    let body = body.to_bytes();
    let path = head.uri.path();
    Ok(match (&head.method, path.strip_prefix("/calls/")) {
        (&Method::GET, Some(key)) => service.look_up(key),
        (&Method::GET, None) if path == "/ledger/audit" => {
            let audit = lock(&service.ledger).audit();
            respond(StatusCode::OK, serde_json::to_value(audit).unwrap_or_default())
        }
        (&Method::GET, None) if path == "/behaviour" => service.behaviour(),
        (&Method::PUT, None) if path == "/behaviour" => service.change(&body),
        (&Method::POST, _) => {
            let key =
                head.headers.get("idempotency-key").or_else(|| head.headers.get("webhook-id"));
            let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
            return service.call(key, &body).await;
        }
        _ => problem(
            StatusCode::NOT_FOUND,
            "there are POST, /calls/KEY, /ledger/audit and /behaviour",
        ),
    })
}

impl Service {
    fn look_up(&self, key: &str) -> Response<Full<Bytes>> {
        let window_ms = lock(&self.behaviour).now.key_window_ms;
        match lock(&self.ledger).effect(key, self.clock.now_ms(), window_ms) {
            Some(at_ms) => respond(StatusCode::OK, json!({ "key": key, "at_ms": at_ms })),
            None => problem(StatusCode::NOT_FOUND, "no effect is known of this key"),
        }
    }

    fn behaviour(&self) -> Response<Full<Bytes>> {
        let now = lock(&self.behaviour).now.clone();
        respond(StatusCode::OK, serde_json::to_value(now).unwrap_or_default())
    }

    /// Changes the fields that are given.
    fn change(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let mut behaving = lock(&self.behaviour);
        let changed = serde_json::from_slice(body)
            .map_err(|error| error.to_string())
            .and_then(|fields| behaving.now.with(fields));
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
        };
        let (before, after) = (behaving.now.capacity as usize, changed.capacity as usize);
        if after >= before {
            let paid = behaving.owed.min(after - before);
            behaving.owed -= paid;
            self.places.add_permits(after - before - paid);
        } else {
            let taken = self.places.forget_permits(before - after);
            behaving.owed += before - after - taken;
        }
        behaving.now = changed;
        drop(behaving);
        self.behaviour()
    }

    async fn call(
        self: &Arc<Self>,
        key: String,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Cut> {
        let object: Value = match serde_json::from_slice(body) {
            Ok(object) => object,
            Err(error) => {
                return Ok(problem(StatusCode::BAD_REQUEST, &format!("no JSON: {error}")));
            }
        };
        let (member_field, order_field) = (&self.member_field, &self.order_field);
        let Some(member) = name(&object, member_field) else {
            let what =
                format!("{member_field}: must be a string or a number that names the member");
            return Ok(problem(StatusCode::BAD_REQUEST, &what));
        };
        let Some(order) = name(&object, order_field) else {
            let what = format!("{order_field}: must be a string or a number that names the order");
            return Ok(problem(StatusCode::BAD_REQUEST, &what));
        };
        if [&member, &order, &key].iter().any(|name| name.len() > NAME_BYTES_MAX) {
            let what =
                format!("{member_field} and the key: must be {NAME_BYTES_MAX} bytes at most");
            return Ok(problem(StatusCode::BAD_REQUEST, &what));
        }
        // A task of its own: what a client has given up still runs here.
        let service = Arc::clone(self);
        let work = tokio::spawn(async move {
            lock(&service.ledger).begin(&order, &key);
            let answer = service.work(&member, &key).await;
            lock(&service.ledger).end(&order);
            answer
        });
        work.await.unwrap_or(Err(Cut))
    }

    async fn work(&self, member: &str, key: &str) -> Result<Response<Full<Bytes>>, Cut> {
        let behaviour = lock(&self.behaviour).now.clone();
        let (fate, latency_ms) = behaviour.draw(member, &mut *lock(&self.random));
        match fate {
            Fate::Away => return Ok(problem(StatusCode::SERVICE_UNAVAILABLE, "away")),
            Fate::Refused => {
                let mut refused = problem(StatusCode::TOO_MANY_REQUESTS, "too many calls");
                refused.headers_mut().insert(header::RETRY_AFTER, behaviour.retry_after_s.into());
                return Ok(refused);
            }
            _ => {}
        }
        {
            let _place = self.place().await;
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        let failed = || Ok(problem(StatusCode::INTERNAL_SERVER_ERROR, "failed"));
        let now_ms = self.clock.now_ms();
        let is_known = behaviour.honours_keys && !key.is_empty();
        if is_known && lock(&self.ledger).has_failed(key, now_ms, behaviour.key_window_ms) {
            return failed();
        }
        match fate {
            Fate::FailBefore => return failed(),
            Fate::StoredFailure => {
                lock(&self.ledger).store_failure(key, now_ms);
                return failed();
            }
            Fate::Hang { has_effect: false } => {
                tokio::time::sleep(Duration::from_millis(behaviour.hang_ms)).await;
                return Err(Cut);
            }
            _ => {}
        }
        let is_new =
            match self.take_effect(member, key, is_known.then_some(behaviour.key_window_ms)) {
                Ok(is_new) => is_new,
                Err(error) => {
                    tracing::error!(%error, "cannot write the ledger; the call has no effect");
                    return failed();
                }
            };
        match fate {
            Fate::FailAfter => failed(),
            Fate::Cut => Err(Cut),
            Fate::Hang { .. } => {
                tokio::time::sleep(Duration::from_millis(behaviour.hang_ms)).await;
                Err(Cut)
            }
            _ => Ok(respond(StatusCode::OK, json!({ "status": "done", "repeated": !is_new }))),
        }
    }

    /// Waits in line to be worked on.
    async fn place(&self) -> Place<'_> {
        // The semaphore is never closed.
        if let Ok(permit) = self.places.acquire().await {
            permit.forget();
        }
        Place(self)
    }

    /// Whether this key had no effect in the window before.
    fn take_effect(
        &self,
        member: &str,
        key: &str,
        window_ms: Option<u64>,
    ) -> std::io::Result<bool> {
        let mut ledger = lock(&self.ledger);
        let at_ms = self.clock.now_ms();
        let is_repeated =
            window_ms.is_some_and(|window_ms| ledger.effect(key, at_ms, window_ms).is_some());
        if !is_repeated {
            ledger.record(Effect { at_ms, member: member.to_owned(), key: key.to_owned() })?;
        }
        Ok(!is_repeated)
    }
}

/// A place in the service; given back when dropped, unless the capacity fell meanwhile.
struct Place<'a>(&'a Service);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut behaving = lock(&self.0.behaviour);
        if behaving.owed > 0 {
            behaving.owed -= 1;
        } else {
            self.0.places.add_permits(1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(object: &Value, field: &str) -> Option<String> {
    match object.get(field)? {
        Value::String(name) => Some(name.clone()),
        Value::Number(name) => Some(name.to_string()),
        _ => None,
    }
}

fn problem(status: StatusCode, what: &str) -> Response<Full<Bytes>> {
    respond(status, json!({ "error": what }))
}

fn respond(status: StatusCode, body: Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
