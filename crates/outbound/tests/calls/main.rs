//! Calls against services that refuse, hang, break off and answer too much.

mod service;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use outbound::{Answer, Client, Failure, Kind, Options, Phase};
use service::{Service, closed_address};

const LONGEST: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn client() -> Client {
    Client::new(Options { answer_bytes_max: 1000, ..Options::default() }).expect("certificates")
}

fn post(address: &str, body: &'static [u8]) -> Request<Bytes> {
    let url = format!("http://user:S3CRET@{address}/pay?token=S3CRET");
    Request::post(url).body(Bytes::from_static(body)).expect("a request")
}

async fn failed(client: &Client, request: Request<Bytes>, longest: Duration) -> Failure {
    let failure = client.send(request, longest).await.expect_err("there is no answer");
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains("S3CRET"), "{shown}");
    failure
}

async fn answered(client: &Client, request: Request<Bytes>) -> Answer {
    client.send(request, LONGEST).await.expect("an answer")
}

#[tokio::test]
async fn an_answer_is_whole_whatever_its_status() {
    let service =
        Service::start(|_, _| b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy".to_vec()).await;
    let answer = answered(&client(), post(&service.address, b"{}")).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (503, &b"busy"[..]));
    assert_eq!(service.requests(), ["POST /pay?token=S3CRET HTTP/1.1"]);
}

#[tokio::test]
async fn a_service_that_refuses_the_connection_surely_got_nothing() {
    let address = closed_address().await;
    let client = client();
    for body in [&b"{}"[..], b""] {
        let failure = failed(&client, post(&address, body), LONGEST).await;
        assert_eq!((failure.kind, failure.phase), (Kind::Connection, Phase::Connect));
        assert!(failure.is_unsent());
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_may_have_acted() {
    let service = Service::start(|_, _| Vec::new()).await;
    let client = client();
    for body in [&b"{}"[..], b""] {
        let failure = failed(&client, post(&service.address, body), SHORT).await;
        assert_eq!(failure.kind, Kind::TimedOut);
        assert!(!failure.is_unsent());
        assert!(failure.took.total() >= SHORT);
    }
    let failure = failed(&client, post(&service.address, b"{}"), SHORT).await;
    assert_eq!(failure.phase, Phase::Wait);
    assert!(failure.took.wait > SHORT / 2, "{:?}", failure.took);
}

#[tokio::test]
async fn a_service_that_reads_nothing_may_have_acted() {
    let service = Service::silent().await;
    let huge = Request::post(format!("http://{}/", service.address));
    let huge = huge.body(Bytes::from(vec![b'x'; 64 << 20])).expect("a request");
    let failure = failed(&client(), huge, SHORT).await;
    assert_eq!((failure.kind, failure.phase), (Kind::TimedOut, Phase::Send));
}

#[tokio::test]
async fn a_service_that_never_ends_the_handshake_surely_got_nothing() {
    let service = Service::silent().await;
    let request = Request::post(format!("https://{}/", service.address));
    let request = request.body(Bytes::from_static(b"{}")).expect("a request");
    let failure = failed(&client(), request, SHORT).await;
    assert_eq!((failure.kind, failure.is_unsent()), (Kind::TimedOut, true));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_may_have_acted() {
    for answer in [&b"close"[..], b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalfclose"] {
        let service = Service::start(move |_, _| answer.to_vec()).await;
        let failure = failed(&client(), post(&service.address, b"{}"), LONGEST).await;
        assert_eq!((failure.kind, failure.is_unsent()), (Kind::Connection, false), "{failure}");
        assert_eq!(service.requests().len(), 1, "it is not repeated");
    }
}

/// Clients like to repeat a request where a kept connection breaks.
#[tokio::test]
async fn a_request_is_not_repeated_when_a_kept_connection_breaks() {
    let answer = |_: &str, n| if n == 1 { OK.to_vec() } else { b"close".to_vec() };
    let service = Service::start(answer).await;
    let client = client();
    answered(&client, post(&service.address, b"{}")).await;
    let failure = failed(&client, post(&service.address, b"{}"), LONGEST).await;
    assert_eq!((failure.kind, failure.is_unsent()), (Kind::Connection, false), "{failure}");
    assert_eq!((service.requests().len(), service.connections()), (2, 1));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_cut_and_said() {
    let long = [&b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"[..], &[b'x'; 1001]].concat();
    let service = Service::start(move |_, _| long.clone()).await;
    let failure = failed(&client(), post(&service.address, b"{}"), LONGEST).await;
    assert_eq!((failure.kind, failure.is_unsent()), (Kind::AnswerTooLong, false));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let other = Service::start(|_, _| OK.to_vec()).await;
    let to = format!(
        "HTTP/1.1 307 See\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        other.address
    );
    let service = Service::start(move |_, _| to.clone().into_bytes()).await;
    let answer = answered(&client(), post(&service.address, b"{}")).await;
    assert_eq!(answer.status.as_u16(), 307);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_there_are_places() {
    let service = Service::start(|_, _| OK.to_vec()).await;
    let client = Client::new(Options { calls_max: 3, ..Options::default() }).expect("certificates");
    let calls = (0..50).map(|_| answered(&client, post(&service.address, b"{}")));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.len(), 50);
    assert!(service.connections() <= 3, "{} connections", service.connections());
}

#[tokio::test]
async fn waiting_for_a_place_counts_and_is_surely_unsent() {
    let service = Service::start(|_, _| Vec::new()).await;
    let client = Client::new(Options { calls_max: 1, ..Options::default() }).expect("certificates");
    let first = client.send(post(&service.address, b"{}"), LONGEST);
    let second = async {
        service.got_requests(1).await;
        failed(&client, post(&service.address, b"{}"), SHORT).await
    };
    let second = tokio::select! { biased; _ = first => panic!("there is no answer"), second = second => second };
    assert_eq!((second.kind, second.is_unsent()), (Kind::TimedOut, true));
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn an_address_that_cannot_be_called_is_said_without_it() {
    let client = client();
    for url in ["/pay?token=S3CRET", "ftp://user:S3CRET@host/"] {
        let request = Request::post(url).body(Bytes::new()).expect("a request");
        assert_eq!(failed(&client, request, LONGEST).await.kind, Kind::BadRequest, "{url}");
    }
}
