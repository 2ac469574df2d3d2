//! SQS URLs: a queue's own URL with `sqs:` in place of `https:`, and `sqs+http:` in place of `http:`.

use buffer::foreign::Fields;
use buffer_sqs::Options;

use super::{Parts, no_option, number};
use crate::config::Error;

/// What a buffer may be told in its URL.
const KEYS: [&str; 11] = [
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
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Reads the parts of a `sqs:` URL.
///
/// # Errors
/// If it names no host, account and queue, no region is known, or an option is out of bounds.
pub(super) fn options(parts: &Parts<'_>, fields: Fields) -> Result<Options, Error> {
    options_with(parts, fields, |name| std::env::var(name).ok())
}

fn options_with(
    parts: &Parts<'_>,
    fields: Fields,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Options, Error> {
    let invalid = |what: &str| {
        Error(format!(
            "buffer: {what}; write e.g. \
             sqs://sqs.eu-central-1.amazonaws.com/123456789012/events.fifo, or \
             sqs+http://127.0.0.1:4566/000000000000/events?region=us-east-1"
        ))
    };
    let rest = parts.path.strip_prefix("//").ok_or_else(|| invalid("an SQS URL needs //"))?;
    let mut names = rest.split('/');
    let (Some(host), Some(account), Some(queue), None) =
        (names.next(), names.next(), names.next(), names.next())
    else {
        return Err(invalid("an SQS URL names a host, an account and a queue"));
    };
    if host.contains('@') {
        let problem = "buffer: credentials don't belong into an SQS URL; set AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        return Err(Error(problem.to_owned()));
    }
    if host.is_empty() || account.is_empty() || queue.is_empty() {
        return Err(invalid("an SQS URL names a host, an account and a queue"));
    }
    let told = parts.query.iter().find(|(name, _)| *name == "region").map(|(_, text)| *text);
    let region = told
        .map(str::to_owned)
        .or_else(|| of_host(host).map(str::to_owned))
        .or_else(|| REGION_VARIABLES.iter().find_map(|name| variable(name)))
        .filter(|region| !region.is_empty())
        .ok_or_else(|| invalid("no region is known: add ?region=…, or set AWS_REGION"))?;
    let scheme = if parts.scheme == "sqs" { "https" } else { "http" };
    let mut options = Options::new(&format!("{scheme}://{host}"), account, queue, &region, fields);
    for (key, text) in &parts.query {
        set(&mut options, key, text)?;
    }
    options.validate().map_err(|error| Error(format!("buffer: {error}")))?;
    Ok(options)
}

fn set(options: &mut Options, key: &str, text: &str) -> Result<(), Error> {
    match key {
        "region" => {}
        "dead" => text.clone_into(&mut options.dead),
        "create" => {
            options.create = text.parse().map_err(|_| {
                Error(format!("buffer: create is \"{text}\"; it must be \"true\" or \"false\""))
            })?;
        }
        "visibility_ms" => options.visibility_ms = number("buffer", key, text, 100)?,
        "in_flight_max" => options.in_flight_max = number("buffer", key, text, 1)?,
        "events_max" => options.events_max = number("buffer", key, text, 1)?,
        "dead_max" => options.dead_max = number("buffer", key, text, 1)?,
        "message_bytes_max" => options.message_bytes_max = number("buffer", key, text, 1_024)?,
        "id" => text.clone_into(&mut options.fields.id),
        "key" => text.clone_into(&mut options.fields.key),
        "timeout_ms" => options.response_timeout_ms = number("buffer", key, text, 10)?,
        _ => return Err(no_option("buffer", key, &KEYS)),
    }
    Ok(())
}

/// The region in a host of AWS: `sqs.REGION.amazonaws.com`.
fn of_host(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("sqs.").or_else(|| host.strip_prefix("sqs-fips."))?;
    let (region, domain) = rest.split_once('.')?;
    matches!(domain, "amazonaws.com" | "amazonaws.com.cn" | "api.aws").then_some(region)
}

#[cfg(test)]
mod tests {
    use super::super::{Buffer, split};
    use super::*;

    fn fields() -> Fields {
        Fields::named("i", "k")
    }

    fn read(url: &str) -> Result<Options, String> {
        let parts = split("buffer", url, "").unwrap();
        options_with(&parts, fields(), |_| None).map_err(|error| error.to_string())
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
        let parts = split("buffer", url, "").unwrap();
        let found = |name: &str| (name == "AWS_DEFAULT_REGION").then(|| "eu-west-1".to_owned());
        assert_eq!(options_with(&parts, fields(), found).unwrap().region, "eu-west-1");
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
        assert!(Buffer::parse("sqs://h/1/q?region=r").unwrap().shared());
    }
}
