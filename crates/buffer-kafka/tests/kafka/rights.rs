//! On a cluster with access control lists: a source needs few rights, and each that is missing is named.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::topic::{Foreign, PATIENCE, ids, options, take, until};
use buffer::{Buffer, Error};
use buffer_kafka::reading::{Until, from_time};
use buffer_kafka::{KafkaBuffer, Mode, Options, inspect};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use testbed::Kafka;

/// Of the protocol: resources, and what is done with them.
const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const READ: u8 = 3;
const WRITE: u8 = 4;
const DESCRIBE_CONFIGS: u8 = 10;

/// A broker where `admin` may do all, and others what an access control list allows.
fn guarded() -> Kafka {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                username=\"admin\" password=\"adm1n\" user_admin=\"adm1n\" user_fds=\"s3cret\";";
    Kafka::start_with(&[
        ("listeners", "SASL://{address},CONTROLLER://{controller}"),
        ("advertised.listeners", "SASL://{address}"),
        ("listener.security.protocol.map", "SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("inter.broker.listener.name", "SASL"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.sasl.plain.sasl.jaas.config", jaas),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:admin;User:ANONYMOUS"),
    ])
    .unwrap()
}

fn login(user: &str, password: &str) -> Vec<(String, String)> {
    [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn as_admin(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    for (name, value) in login("admin", "adm1n") {
        config.set(name, value);
    }
    config
}

/// The administrator, by Kafka's own protocol: the client library here makes no access control lists.
struct Admin(TcpStream);

impl Admin {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut admin = Self(stream);
        admin.ask(17, 1, &text("PLAIN"));
        let token = b"\0admin\0adm1n";
        let mut body = i32::try_from(token.len()).unwrap().to_be_bytes().to_vec();
        body.extend_from_slice(token);
        let said = admin.ask(36, 0, &body);
        assert_eq!(said[..2], [0, 0], "not let in: {said:?}");
        admin
    }

    /// Allows `fds` to do this with that.
    fn allow(&mut self, resource: u8, name: &str, operation: u8) {
        let mut body = 1_i32.to_be_bytes().to_vec();
        body.push(resource);
        body.extend(text(name));
        // The name as it is.
        body.push(3);
        body.extend(text("User:fds"));
        body.extend(text("*"));
        // Allowed.
        body.extend([operation, 3]);
        let said = self.ask(30, 1, &body);
        assert_eq!(said[8..10], [0, 0], "not allowed: {said:?}");
    }

    /// The body of the answer to a request of this key and version.
    fn ask(&mut self, key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(7_i32.to_be_bytes());
        request.extend(text("test"));
        request.extend_from_slice(body);
        self.0.write_all(&i32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(&request).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        answer.split_off(4)
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

async fn make(address: &str, name: &str, policy: &str) {
    let admin: AdminClient<DefaultClientContext> = as_admin(address).create().unwrap();
    let new = NewTopic::new(name, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", policy)
        .set("retention.ms", "-1");
    admin.create_topics([&new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_right_that_a_source_lacks_is_named_and_with_all_of_them_it_works() {
    let kafka = guarded();
    let address = kafka.address();
    let options = Options {
        mode: Mode::Source,
        dead: Some("letters".to_owned()),
        topic: "payments".to_owned(),
        timeout_ms: 5_000,
        security: login("fds", "s3cret"),
        ..options(&address, 1)
    };
    make(&address, "payments", "delete").await;
    make(&address, "letters", "compact").await;
    let producer = Foreign::with(&as_admin(&address));
    let mut admin = Admin::connect(&address);

    let lacking = || async { inspect::obstacles(&options).await };
    // Kafka does not even say that they are there.
    for topic in ["payments", "letters"] {
        let unseen = format!("cannot look at topic {topic}; allow Describe on it");
        let is_named = |said: &Result<_, Error>| {
            said.as_ref().is_err_and(|error: &Error| error.to_string().contains(&unseen))
        };
        until(&unseen, lacking, is_named).await.unwrap_err();
        admin.allow(TOPIC, topic, 8);
    }
    let named = |sentence: &'static str| {
        move |said: &Result<Vec<String>, Error>| {
            said.as_ref().is_ok_and(|said| said.iter().any(|one| one.contains(sentence)))
        }
    };
    let steps = [
        ("cannot read the topic payments; allow Read on it", TOPIC, "payments", READ),
        ("cannot read the topic letters; allow Read on it", TOPIC, "letters", READ),
        ("cannot join the group forebay or commit for it; allow Read on", GROUP, "forebay", READ),
    ];
    for (sentence, resource, name, operation) in steps {
        until(sentence, lacking, named(sentence)).await.unwrap();
        admin.allow(resource, name, operation);
        let gone = |said: &Result<Vec<String>, Error>| {
            said.as_ref().is_ok_and(|said| !said.iter().any(|one| one.contains(sentence)))
        };
        until(&format!("no longer: {sentence}"), lacking, gone).await.unwrap();
    }
    // Whether letters may be written can only be told of a topic whose settings may be asked.
    admin.allow(TOPIC, "letters", DESCRIBE_CONFIGS);
    let sentence = "cannot write dead letters into the topic letters; allow Write on it";
    until(sentence, lacking, named(sentence)).await.unwrap();
    admin.allow(TOPIC, "letters", WRITE);
    let none = |said: &Result<Vec<String>, Error>| said.as_ref().is_ok_and(Vec::is_empty);
    until("nothing is lacking", lacking, none).await.unwrap();

    // The owner need not show the settings of the source. Of a topic of ours they are needed.
    let found = inspect::durability(&options).await.unwrap();
    assert!(found.warnings.iter().any(|one| one.contains("allow DescribeConfigs")), "{found:?}");
    assert!(!found.durable && found.problems.is_empty(), "{found:?}");
    let ours = Options { mode: Mode::Own, dead: None, ..options.clone() };
    make(&address, &ours.dead_topic(), "compact").await;
    admin.allow(TOPIC, &ours.dead_topic(), READ);
    let look = || async { inspect::durability(&ours).await };
    let found = until("it may be looked at", look, Result::is_ok).await.unwrap();
    assert!(!found.durable && found.problems.len() == 2, "{found:?}");

    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    producer.send("payments", None, None, r#"{"tx_id":"a","card_number":"card"}"#);
    producer.send("payments", None, None, r#"{"tx_id":"b","card_number":"card"}"#);
    let leased = take(&buffer, 2).await;
    assert_eq!(ids(&leased), ["a", "b"]);
    assert_eq!(buffer.bury(&[(leased[0].receipt, "bad".to_owned())]).await.unwrap(), 1);
    assert_eq!(buffer.ack(&[leased[1].receipt]).await.unwrap(), 1);
    let depth = || async { inspect::depth(&options).await.unwrap() };
    until("all is committed", depth, |depth| (depth.ready, depth.dead) == (0, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_without_a_group_needs_the_right_to_read_the_topic_alone() {
    let kafka = guarded();
    let address = kafka.address();
    let options = Options {
        topic: "completions".to_owned(),
        timeout_ms: 5_000,
        security: login("fds", "s3cret"),
        ..options(&address, 1)
    };
    make(&address, "completions", "delete").await;
    let producer = Foreign::with(&as_admin(&address));
    producer.send("completions", None, None, "done");
    let refused = from_time(&options, 0, Until::End).await.unwrap_err();
    assert!(matches!(refused, Error::Open(_)), "{refused:?}");
    Admin::connect(&address).allow(TOPIC, "completions", READ);
    let open = || async { from_time(&options, 0, Until::End).await };
    let mut records = until("it may be read", open, Result::is_ok).await.unwrap();
    let batch = records.next().await.unwrap().unwrap();
    assert_eq!(batch[0].value.as_deref(), Some(&b"done"[..]));
    let end = tokio::time::timeout(Duration::from_secs(10), records.next()).await;
    assert_eq!(end.unwrap().unwrap(), None);
}
