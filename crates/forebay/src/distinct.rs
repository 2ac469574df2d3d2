//! Whether a configuration uses one buffer twice.

use buffer::distinct::{self, Named};

use crate::config::{Config, Error, Next};

/// Refuses a configuration that uses one buffer twice, as far as the text of its URLs tells.
///
/// # Errors
/// If it does.
pub(crate) fn written(config: &Config) -> Result<(), Error> {
    distinct::written(&all(config)).map_err(|twice| Error(twice.to_string()))
}

/// The same, with the addresses of hosts that are spelled differently.
///
/// # Errors
/// If a buffer is used twice.
pub(crate) async fn check(config: &Config) -> Result<(), Error> {
    distinct::check(&all(config)).await.map_err(|twice| Error(twice.to_string()))
}

/// Each buffer, and what the configuration calls it.
fn all(config: &Config) -> Vec<Named> {
    let named = |name: String, identity| Named { name, identity, leaves: None };
    let mut all = vec![named("buffer".to_owned(), config.buffer.identity())];
    let add_next = |all: &mut Vec<Named>, name: &str, next: &Option<Next>| {
        let leaves = all.len().checked_sub(1);
        let next = next.as_ref().map(|next| next.buffer.identity());
        all.extend(next.map(|next| Named { leaves, ..named(name.to_owned(), next) }));
    };
    add_next(&mut all, "next_buffer", &config.next);
    all.extend(config.spill.as_ref().map(|spill| named("spill".to_owned(), spill.identity())));
    for table in &config.tables {
        let of = format!("buffer of table {} ({})", table.name(), table.place);
        all.push(named(of.clone(), table.buffer.identity()));
        add_next(&mut all, &format!("next_{of}"), &table.next);
        let spill = table.spill.as_ref().map(|spill| spill.identity());
        let of = format!("spill of table {} ({})", table.name(), table.place);
        all.extend(spill.map(|spill| named(of, spill)));
    }
    all
}

#[cfg(test)]
mod tests {
    use buffer::{Identity, distinct};

    use crate::registry;

    fn identity(url: &str) -> Identity {
        registry::buffer_of_payments(url).unwrap().identity()
    }

    /// One identity for all spellings, and another one for every other URL.
    fn check(spellings: &[&str], others: &[&str]) {
        let first = identity(spellings[0]);
        for url in spellings {
            assert!(identity(url).is_same(&first), "{url}: {} and not {first}", identity(url));
            // What is recorded is read as the same buffer.
            let recorded = identity(url).to_string();
            assert_eq!(identity(&recorded).to_string(), recorded);
        }
        for url in others {
            assert!(!identity(url).is_same(&first), "{url} is {first}");
        }
    }

    #[test]
    fn each_backend_has_one_identity_for_all_spellings_and_options_are_no_part_of_it() {
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
        check(
            &["kafka://a,b:9093/t?group=fds", "kafka://u:p@B:9093/t?partitions=3&group=fds"],
            &["kafka://a/t?group=other", "kafka://a/u?group=fds", "kafka://a:1/t?group=fds"],
        );
        check(
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
        check(
            &[
                "sqs+http://localhost/0/q?region=r",
                "sqs+http://127.0.0.1:80/0/q?region=r&create=true",
            ],
            &["sqs+http://localhost:81/0/q?region=r"],
        );
        check(
            &["journal:./data/b", "journal:data/../data//b/?sync=os&lease_ms=500"],
            &["journal:./data/c", "memory:"],
        );
    }

    #[test]
    fn what_shares_keys_or_records_overlaps() {
        for (one, other) in [
            ("redis://h?stream=q&group=a", "redis://h?stream=q&group=b"),
            ("redis://h?stream=q", "redis://h?list=q"),
            ("kafka://h/t?group=a", "kafka://h/t?group=b"),
            ("kafka://h/t", "kafka://h/t.dead"),
            ("sqs+http://h/0/q?region=r", "sqs+http://h/0/other?region=r&dead=q"),
            ("journal:./data/b", "journal:./data/b/dead"),
        ] {
            assert!(identity(one).overlaps(&identity(other)), "{one} and {other}");
        }
        assert!(!identity("redis://h?list=q").overlaps(&identity("redis://h?list=r")));
        assert!(!identity("memory:").overlaps(&identity("memory:?capacity=3")));
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
