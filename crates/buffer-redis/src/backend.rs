//! `redis://HOST/DB?list=NAME`, `?stream=NAME`, and clusters.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::{
    Distribution, Durability, Each, Opened, Opening, Reading, Server as Process, Stop, in_pages,
};
use buffer::{DeadLetter, Depth, Error, Identity, Location};
use model::url::{self, MIB, Url};

use crate::options::{Connections, Layout, Options, Poll, SHARDS_MAX, Server};
use crate::{RedisBuffer, erase, inspect};

/// What `host` listens on when the URL says nothing.
const PORT: u16 = 6379;
/// Holds the password of a server whose URL has none.
const PASSWORD: &str = "REDIS_PASSWORD";
/// What a buffer may be told in its URL.
const OPTIONS: [&str; 16] = [
    "list",
    "stream",
    "group",
    "field",
    "shards",
    "events_max",
    "memory_max_mib",
    "lease_ms",
    "member_ms",
    "dead_max",
    "id",
    "key",
    "poll",
    "connections",
    "wait_replicas",
    "timeout_ms",
];

/// Redis as a backend.
pub struct Backend;

impl buffer::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["redis", "redis-cluster"]
    }

    fn variants(&self) -> &'static [&'static str] {
        &["rediss", "rediss-cluster"]
    }

    fn variables(&self) -> &'static [&'static str] {
        &[PASSWORD]
    }

    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(options(url, reading)?))
    }
}

fn options(url: &Url<'_>, reading: &Reading<'_>) -> Result<Options, url::Error> {
    let server = server(url, reading)?;
    let named = |option: &str| url.option(option).map(|text| url.decoded(text, option)).transpose();
    let fields = reading.fields.clone();
    let mut options = match (named("list")?, named("stream")?) {
        (Some(list), None) => Options::list(server, &list, fields),
        (None, Some(stream)) => {
            let group = named("group")?.unwrap_or_else(|| "forebay".to_owned());
            Options::stream(server, &stream, &group, fields)
        }
        _ => {
            return Err(url.error(
                "a Redis URL names one list or one stream; \
                 write e.g. redis://127.0.0.1:6379/0?list=tx_queue",
            ));
        }
    };
    for (option, text) in url.options() {
        set(&mut options, url, option, text)?;
    }
    if matches!((&options.layout, options.poll), (Layout::List, Poll::Blocking)) {
        let problem = "a list is always polled; leave poll out, or use a stream";
        return Err(url.error(problem));
    }
    options.validate().map_err(|error| url.error(error))?;
    Ok(options)
}

fn set(options: &mut Options, url: &Url<'_>, option: &str, text: &str) -> Result<(), url::Error> {
    match option {
        "list" | "stream" => {}
        "group" | "field" => match &mut options.layout {
            Layout::Stream { field, .. } if option == "field" => {
                *field = Some(url.decoded(text, option)?);
            }
            Layout::Stream { .. } => {}
            Layout::List => return Err(url.error(format!("a list has no {option}; streams do"))),
        },
        "shards" => options.shards = url.small(option, text, SHARDS_MAX)?,
        "events_max" => options.events_max = url.number(option, text, 1)?,
        "memory_max_mib" => {
            options.memory_max_bytes = url.number(option, text, 1_u64)? * MIB;
        }
        "lease_ms" => options.lease_ms = url.number(option, text, 100)?,
        "member_ms" => options.member_ms = url.number(option, text, 100)?,
        "dead_max" => options.dead_max = url.number(option, text, 1)?,
        "id" => options.fields.id = url.decoded(text, option)?,
        "key" => options.fields.key = url.decoded(text, option)?,
        "poll" => {
            let choices = [("blocking", Poll::Blocking), ("non-blocking", Poll::NonBlocking)];
            options.poll = url.one_of(option, text, choices)?;
        }
        "connections" => {
            let choices = [("shared", Connections::Shared), ("dedicated", Connections::Dedicated)];
            options.connections = url.one_of(option, text, choices)?;
        }
        "wait_replicas" => options.wait_replicas = url.number(option, text, 0)?,
        "timeout_ms" => options.response_timeout_ms = url.number(option, text, 10)?,
        _ => return Err(url.no_option(option, &OPTIONS)),
    }
    Ok(())
}

fn server(url: &Url<'_>, reading: &Reading<'_>) -> Result<Server, url::Error> {
    let scheme = url.scheme();
    let invalid = |what: &str| {
        url.error(format!("{what}; write e.g. {scheme}://127.0.0.1:{PORT}/0?list=tx_queue"))
    };
    let servers = url.servers().ok_or_else(|| invalid("a Redis URL needs //"))?;
    let cluster = scheme.ends_with("-cluster");
    let hosts = servers.hosts(PORT);
    let hosts = hosts.ok_or_else(|| invalid("no server, or no port, that could be read"))?;
    let unbracketed = |(host, port): (&str, u16)| (host.trim_matches(['[', ']']).to_owned(), port);
    let addresses: Vec<_> = hosts.into_iter().map(unbracketed).collect();
    if addresses.len() > 1 && !cluster {
        return Err(invalid("several servers are redis-cluster://"));
    }
    let db = match servers.rest {
        "" => 0,
        db if cluster && db != "0" => return Err(invalid("a cluster has database 0 alone")),
        text => text.parse().map_err(|_| invalid("the database is no number"))?,
    };
    let (user, password) = match servers.login {
        Some((user, password)) => (url.decoded(user, "user")?, url.decoded(password, "password")?),
        None => (String::new(), String::new()),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let password = given(password).or_else(|| (reading.variable)(PASSWORD).and_then(given));
    let tls = scheme.starts_with("rediss");
    Ok(Server { addresses, cluster, tls, db, user: given(user), password })
}

/// The list or stream, and where.
fn named(options: &Options) -> String {
    let what = match options.layout {
        Layout::List => "list",
        Layout::Stream { .. } => "stream",
    };
    let at = options.server.addresses.iter().map(|(host, port)| format!("{host}:{port}"));
    format!("{what} {} at {}", options.name, at.collect::<Vec<_>>().join(","))
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn place(&self) -> String {
        format!("Redis ({})", named(self))
    }

    fn identity(&self) -> Identity {
        self.identity()
    }

    fn lease_ms(&self) -> u64 {
        self.lease_ms.unsigned_abs()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn accepted(&self, events: &str) -> String {
        format!(
            "Accepted {events} are held by {} and survive what its persistence makes them survive; \
             `forebay config check` looks.",
            self.place()
        )
    }

    fn survives(&self) -> String {
        format!("what Redis survives ({})", named(self))
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        let (process, lazy) = (opening.process.clone(), opening.is_lazy);
        Ok(Opened::new(RedisBuffer::open(Self { process, lazy, ..self.clone() }).await?))
    }

    async fn look(&self) -> Result<Option<Vec<String>>, Error> {
        let obstacles = inspect::obstacles(self).await?;
        if !obstacles.is_empty() {
            return Err(Error::Open(obstacles.join("; ")));
        }
        let shards = inspect::distribution(self).await?.backlog.len();
        if shards != usize::from(self.shards) {
            return Err(Error::Open(format!(
                "the buffer has {shards} shards, and {} are configured; write shards={shards} in its \
                 URL, or drain it and take another name",
                self.shards
            )));
        }
        Ok(Some(Vec::new()))
    }

    async fn durability(&self) -> Result<Option<Durability>, Error> {
        let inspect::Persistence { problems, survives, .. } = inspect::durability(self).await?;
        Ok(Some(Durability { survives, problems, warnings: Vec::new() }))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        inspect::depth(self).await
    }

    async fn pending(&self, each: Each<'_>) -> Result<(), Error> {
        let page = |from, max| async move {
            let page = inspect::events(self, from, max).await?;
            Ok(page.into_iter().map(|one| one.held).collect())
        };
        in_pages(page, each).await
    }

    async fn dead(&self, _: Stop<'_>) -> Result<Vec<DeadLetter>, Error> {
        inspect::dead(self).await
    }

    async fn distribution(&self) -> Result<Distribution, Error> {
        inspect::distribution(self).await
    }

    async fn server(&self) -> Result<Option<Process>, Error> {
        let of_pid = |pid| Process { name: "Redis", program: "redis-server", pid };
        Ok(inspect::process_id(self).await?.map(of_pid))
    }

    fn renamed(&self, name: &str) -> Option<Arc<dyn Location>> {
        Some(Arc::new(Self { name: name.to_owned(), ..self.clone() }))
    }

    async fn erase(&self) -> Result<(), Error> {
        erase::erase(self).await
    }

    async fn purge(&self) -> Result<(), Error> {
        erase::purge(self).await
    }

    fn refusal(&self) -> String {
        "a Redis keeps no checksums of ours to verify or repair; `forebay config check` looks at how it \
         is kept"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use buffer::conformance;
    use buffer::distinct;
    use buffer::foreign::Fields;

    use super::*;

    fn read_with(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Options, String> {
        let url = Url::split(buffer::backend::ROLE, url, "").unwrap();
        let reading = Reading { fields: &Fields::named("i", "k"), variable };
        options(&url, &reading).map_err(|error| error.to_string())
    }

    fn read(url: &str) -> Options {
        read_with(url, &|_| None).unwrap()
    }

    #[test]
    fn a_list_url_holds_server_name_and_options() {
        let options =
            read("redis://u:p%40ss@10.0.0.7:6380/3?list=tx_queue&shards=4&lease_ms=5_000");
        let Server { addresses, cluster, tls, db, user, password } = options.server;
        assert_eq!(addresses, [("10.0.0.7".to_owned(), 6380)]);
        assert_eq!((cluster, tls, db), (false, false, 3));
        assert_eq!((user.as_deref(), password.as_deref()), (Some("u"), Some("p@ss")));
        assert!(matches!(options.layout, Layout::List));
        assert_eq!(
            (options.name.as_str(), options.shards, options.lease_ms),
            ("tx_queue", 4, 5_000)
        );
    }

    #[test]
    fn a_stream_url_holds_its_group() {
        let options = read("rediss://h?stream=tx_stream&group=fds&poll=non-blocking");
        assert!(options.server.tls && options.server.addresses[0].1 == PORT);
        let Layout::Stream { group, field } = options.layout else { panic!("no stream") };
        assert_eq!((group.as_str(), field), ("fds", None));
        assert!(matches!(options.poll, Poll::NonBlocking));
    }

    #[test]
    fn a_cluster_url_holds_several_servers() {
        let options = read("redis-cluster://a:1,[::1]:2?list=q&wait_replicas=1");
        assert!(options.server.cluster);
        let expect = [("a".to_owned(), 1), ("::1".to_owned(), 2)];
        assert_eq!((options.server.addresses.as_slice(), options.wait_replicas), (&expect[..], 1));
    }

    #[test]
    fn the_environment_holds_the_password_of_a_url_without_one() {
        let set =
            |text: &'static str| move |name: &str| (name == PASSWORD).then(|| text.to_owned());
        let password = |url, text| read_with(url, &set(text)).unwrap().server.password;
        assert_eq!(password("redis://h?list=q", "s3cret").as_deref(), Some("s3cret"));
        assert_eq!(password("redis://u@h?list=q", "s3cret").as_deref(), Some("s3cret"));
        assert_eq!(password("redis://u:own@h?list=q", "s3cret").as_deref(), Some("own"));
        assert_eq!(password("redis://h?list=q", ""), None);
    }

    #[test]
    fn what_can_not_be_read_says_what_to_write() {
        let refused = |url: &str, expect: &str| {
            let error = read_with(url, &|_| None).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        };
        refused("redis://h/0", "buffer: a Redis URL names one list or one stream; write e.g.");
        refused("redis://h?list=a&stream=b", "buffer: a Redis URL names one list or one stream");
        refused(
            "redis:h?list=a",
            "buffer: a Redis URL needs //; write e.g. redis://127.0.0.1:6379",
        );
        refused("redis://a:1,b:2?list=q", "buffer: several servers are redis-cluster://");
        refused("redis://h:port?list=q", "buffer: no server, or no port, that could be read");
        refused("redis://[]?list=q", "buffer: no server, or no port, that could be read");
        refused("redis-cluster://h:1/2?list=q", "buffer: a cluster has database 0 alone");
        refused("redis://h?list=q&group=g", "buffer: a list has no group; streams do");
        refused(
            "redis://h?list=q&poll=never",
            "buffer: poll is \"never\"; it must be \"blocking\" or",
        );
        refused("redis://h?list=q&shards=257", "buffer: shards is 257; it must be 1 to 256");
        refused(
            "redis://h?list=q&shard=2",
            "buffer: the URL has no option \"shard\"; there are list,",
        );
    }

    fn identity(url: &str) -> buffer::Identity {
        read(url).identity()
    }

    #[test]
    fn a_buffer_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
        let check = |spellings: &[&str], others: &[&str]| {
            conformance::spelled(&identity, spellings, others);
        };
        check(
            &[
                "redis://127.0.0.1:6379/0?list=tx_queue",
                "redis://localhost?list=tx_queue&events_max=5&lease_ms=500&shards=4",
                "rediss://u:p@[::1]:6379?list=tx%5Fqueue&connections=dedicated",
            ],
            &[
                "redis://127.0.0.1:6379/1?list=tx_queue",
                "redis://127.0.0.1:6380?list=tx_queue",
                "redis://127.0.0.1?stream=tx_queue",
                "redis-cluster://127.0.0.1?list=tx_queue",
            ],
        );
        check(
            &[
                "redis://h?stream=a%26b&group=c%3Fd",
                "redis://H.?stream=a%26b&group=c%3fd&poll=non-blocking",
            ],
            &["redis://h?stream=a%26b", "redis://h?stream=a&group=c%3Fd"],
        );
        check(
            &[
                "redis-cluster://a,b:7000?list=q",
                "rediss-cluster://B:7000,c/0?list=q&wait_replicas=1",
            ],
            &["redis-cluster://c?list=q"],
        );
    }

    #[test]
    fn what_shares_keys_overlaps() {
        let overlaps = |one, other| identity(one).overlaps(&identity(other));
        assert!(overlaps("redis://h?stream=q&group=a", "redis://h?stream=q&group=b"));
        assert!(overlaps("redis://h?stream=q", "redis://h?list=q"));
        assert!(!overlaps("redis://h?list=q", "redis://h?list=r"));
    }

    #[tokio::test]
    async fn hosts_are_compared_by_their_addresses_as_well() {
        let (name, address) = ("redis://127.1:7000?list=q", "redis://localhost:7000?list=q");
        assert!(!identity(name).is_same(&identity(address)));
        assert!(distinct::is_same(&identity(name), &identity(address)).await);
        let nowhere = "redis://no.such.host.invalid:7000?list=q";
        assert!(!distinct::is_same(&identity(nowhere), &identity(address)).await);
    }
}
