//! `sqs://HOST/ACCOUNT/QUEUE`: a queue's own URL with `sqs:` in place of `https:`, and `sqs+http:` in place of
//! `http:`.

use std::sync::Arc;

use async_trait::async_trait;
use buffer::backend::{Durability, Opened, Opening, Reading, Stop, Unordered};
use buffer::{DeadLetter, Depth, Error, Identity, Location};
use model::url::{self, Url};

use crate::options::Options;
use crate::{SqsBuffer, erase, inspect};

/// What a buffer may be told in its URL.
const OPTIONS: [&str; 11] = [
    "region",
    "dead",
    "create",
    "visibility_ms",
    "in_flight_max",
    "events_max",
    "dead_max",
    "message_bytes_max",
    "id",
    "key",
    "timeout_ms",
];
/// Where the region is looked for if the URL does not tell it, as the tools of AWS do.
const REGIONS: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION"];

/// SQS as a backend.
pub struct Backend;

impl buffer::Backend for Backend {
    fn schemes(&self) -> &'static [&'static str] {
        &["sqs"]
    }

    fn variants(&self) -> &'static [&'static str] {
        &["sqs+http"]
    }

    fn variables(&self) -> &'static [&'static str] {
        REGIONS
    }

    fn parse(&self, url: &Url<'_>, reading: &Reading<'_>) -> Result<Arc<dyn Location>, url::Error> {
        Ok(Arc::new(options(url, reading)?))
    }
}

fn options(url: &Url<'_>, reading: &Reading<'_>) -> Result<Options, url::Error> {
    let invalid = |what: &str| {
        url.error(format!(
            "{what}; write e.g. sqs://sqs.eu-central-1.amazonaws.com/123456789012/events.fifo, or \
             sqs+http://127.0.0.1:4566/000000000000/events?region=us-east-1"
        ))
    };
    let servers = url.servers().ok_or_else(|| invalid("an SQS URL needs //"))?;
    let host = servers.host();
    let Some((account, queue)) =
        servers.rest.split_once('/').filter(|(_, queue)| !queue.contains('/'))
    else {
        return Err(invalid("an SQS URL names a host, an account and a queue"));
    };
    if servers.login.is_some() {
        return Err(url.error(
            "credentials don't belong into an SQS URL; set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ));
    }
    if host.is_empty() || account.is_empty() || queue.is_empty() {
        return Err(invalid("an SQS URL names a host, an account and a queue"));
    }
    let region = url
        .option("region")
        .map(str::to_owned)
        .or_else(|| of_host(host).map(str::to_owned))
        .or_else(|| REGIONS.iter().find_map(|name| (reading.variable)(name)))
        .filter(|region| !region.is_empty())
        .ok_or_else(|| invalid("no region is known: add ?region=…, or set AWS_REGION"))?;
    let scheme = if url.scheme() == "sqs" { "https" } else { "http" };
    let (endpoint, fields) = (format!("{scheme}://{host}"), reading.fields.clone());
    let mut options = Options::new(&endpoint, account, queue, &region, fields);
    for (option, text) in url.options() {
        set(&mut options, url, option, text)?;
    }
    options.validate().map_err(|error| url.error(error))?;
    Ok(options)
}

fn set(options: &mut Options, url: &Url<'_>, option: &str, text: &str) -> Result<(), url::Error> {
    match option {
        "region" => {}
        "dead" => text.clone_into(&mut options.dead),
        "create" => {
            options.create = url.one_of(option, text, [("true", true), ("false", false)])?
        }
        "visibility_ms" => options.visibility_ms = url.number(option, text, 100)?,
        "in_flight_max" => options.in_flight_max = url.number(option, text, 1)?,
        "events_max" => options.events_max = url.number(option, text, 1)?,
        "dead_max" => options.dead_max = url.number(option, text, 1)?,
        "message_bytes_max" => options.message_bytes_max = url.number(option, text, 1_024)?,
        "id" => text.clone_into(&mut options.fields.id),
        "key" => text.clone_into(&mut options.fields.key),
        "timeout_ms" => options.response_timeout_ms = url.number(option, text, 10)?,
        _ => return Err(url.no_option(option, &OPTIONS)),
    }
    Ok(())
}

/// The region in a host of AWS: `sqs.REGION.amazonaws.com`.
fn of_host(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("sqs.").or_else(|| host.strip_prefix("sqs-fips."))?;
    let (region, domain) = rest.split_once('.')?;
    matches!(domain, "amazonaws.com" | "amazonaws.com.cn" | "api.aws").then_some(region)
}

/// The queue, and where.
fn named(options: &Options) -> String {
    let kind = if options.fifo() { "FIFO" } else { "standard" };
    format!("{kind} queue {}", options.queue_url())
}

#[async_trait]
impl Location for Options {
    fn kind(&self) -> &'static str {
        "sqs"
    }

    fn name(&self) -> String {
        self.queue_url()
    }

    fn place(&self) -> String {
        format!("SQS ({})", named(self))
    }

    fn identity(&self) -> Identity {
        self.identity()
    }

    fn lease_ms(&self) -> u64 {
        self.visibility_ms.unsigned_abs()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn unordered(&self) -> Option<Unordered> {
        let standard = Unordered { by: "a standard queue of SQS", remedy: "use a .fifo queue" };
        (!self.fifo()).then_some(standard)
    }

    fn accepted(&self, events: &str) -> String {
        format!(
            "Accepted {events} are held by {} until they are settled, or its retention period is \
             over; `forebay config check` looks.",
            self.place()
        )
    }

    fn survives(&self) -> String {
        format!("what SQS survives ({})", named(self))
    }

    async fn open(&self, opening: &Opening) -> Result<Opened, Error> {
        let lazy = opening.is_lazy;
        Ok(Opened::new(SqsBuffer::open(Self { lazy, ..self.clone() }).await?))
    }

    async fn durability(&self) -> Result<Option<Durability>, Error> {
        inspect::durability(self).await.map(Some)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        inspect::depth(self).await
    }

    async fn dead(&self, stop: Stop<'_>) -> Result<Vec<DeadLetter>, Error> {
        inspect::dead(self, stop).await
    }

    async fn erase(&self) -> Result<(), Error> {
        erase::erase(self).await
    }

    fn refusal(&self) -> String {
        "SQS shows nothing without handing it out, and keeps no checksums of ours; \
         `forebay buffer stat` counts, and `forebay config check` looks at how it is kept"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use buffer::conformance;
    use buffer::foreign::Fields;

    use super::*;

    fn read_with(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Options, String> {
        let url = Url::split(buffer::backend::ROLE, url, "").unwrap();
        let reading = Reading { fields: &Fields::named("i", "k"), variable };
        options(&url, &reading).map_err(|error| error.to_string())
    }

    fn read(url: &str) -> Result<Options, String> {
        read_with(url, &|_| None)
    }

    #[test]
    fn a_queue_url_with_its_scheme_changed_is_enough() {
        let options =
            read("sqs://sqs.eu-central-1.amazonaws.com/123456789012/events.fifo").unwrap();
        assert_eq!(
            options.queue_url(),
            "https://sqs.eu-central-1.amazonaws.com/123456789012/events.fifo"
        );
        assert_eq!((options.region.as_str(), options.fifo()), ("eu-central-1", true));
        assert_eq!((options.dead.as_str(), options.create), ("events-dead.fifo", false));
        let options = read(
            "sqs+http://127.0.0.1:4566/0/events?region=us-east-1&visibility_ms=5_000&dead=graves&\
             create=true&message_bytes_max=1048576&events_max=7&in_flight_max=8&dead_max=9&id=a&key=b",
        );
        let expect = Options {
            dead: "graves".to_owned(),
            create: true,
            visibility_ms: 5_000,
            message_bytes_max: 1 << 20,
            events_max: 7,
            in_flight_max: 8,
            dead_max: 9,
            ..Options::new(
                "http://127.0.0.1:4566",
                "0",
                "events",
                "us-east-1",
                Fields::named("a", "b"),
            )
        };
        assert_eq!(options.unwrap(), expect);
    }

    #[test]
    fn a_region_comes_from_the_url_the_host_or_the_environment() {
        let url = "sqs+http://127.0.0.1:1/0/q";
        let found = |name: &str| (name == "AWS_DEFAULT_REGION").then(|| "eu-west-1".to_owned());
        assert_eq!(read_with(url, &found).unwrap().region, "eu-west-1");
        assert!(read(url).unwrap_err().contains("AWS_REGION"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_no_key_is_taken_from_a_url() {
        for (url, expect) in [
            ("sqs:q", "needs //"),
            ("sqs://h/q?region=r", "a host, an account and a queue"),
            ("sqs://h/1/q/x?region=r", "a host, an account and a queue"),
            ("sqs://AKIA:s3cret@h/1/q?region=r", "AWS_PROFILE"),
            ("sqs://h/1/q?region=r&create=maybe", "\"true\" or \"false\""),
            ("sqs://h/1/q?region=r&lease_ms=1", "no option \"lease_ms\""),
            ("sqs://h/1/q.fifo?region=r&dead=plain", "of the same kind"),
            ("sqs://h/1/q?region=r&visibility_ms=50000000", "visibility_ms must be"),
            ("sqs://h/1/a%20b?region=r", "letters, digits"),
        ] {
            let refused = read(url).unwrap_err();
            assert!(refused.contains(expect) && !refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn a_buffer_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
        let identity = |url: &str| read(url).unwrap().identity();
        conformance::spelled(
            &identity,
            &[
                "sqs://sqs.eu-central-1.amazonaws.com/1/q.fifo",
                "sqs://sqs.eu-central-1.api.aws:443/1/q.fifo?region=eu-central-1&dead=d.fifo",
                "sqs://vpce-1.sqs.eu-central-1.vpce.amazonaws.com/1/q.fifo?region=eu-central-1",
            ],
            &[
                "sqs://sqs.eu-west-1.amazonaws.com/1/q.fifo",
                "sqs://sqs.eu-central-1.amazonaws.com/2/q.fifo",
            ],
        );
        conformance::spelled(
            &identity,
            &[
                "sqs+http://localhost/0/q?region=r",
                "sqs+http://127.0.0.1:80/0/q?region=r&create=true",
            ],
            &["sqs+http://localhost:81/0/q?region=r"],
        );
        let other = identity("sqs+http://h/0/other?region=r&dead=q");
        assert!(identity("sqs+http://h/0/q?region=r").overlaps(&other));
    }
}
