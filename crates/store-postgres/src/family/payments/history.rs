//! What cards did before.

use store::card::Fingerprint;
use store::{Error, History, Recent};
use tokio_postgres::Row;

use crate::error::Stage;
use crate::schema::Schema;
use crate::session::Pool;
use crate::time::Timestamp;

/// The statements, for one schema.
#[derive(Debug)]
pub(super) struct Statements {
    histories: String,
    is_empty: String,
}

impl Statements {
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            // One statement, so one snapshot for all cards. The sum comes in two halves of 32 bits:
            // each fits 64 bits for up to 2^31 payments of a card, and the whole of it 128.
            histories: format!(
                "SELECT total.count, total.high, total.low, latest.ids, latest.times \
                 FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (card, nth) \
                 CROSS JOIN LATERAL ( \
                     SELECT count(*) AS count, coalesce(sum(amount >> 32), 0)::bigint AS high, \
                            coalesce(sum(amount & 4294967295), 0)::bigint AS low \
                     FROM {schema}.transactions WHERE card_fingerprint = asked.card \
                 ) AS total \
                 CROSS JOIN LATERAL ( \
                     SELECT array_agg(tx_id ORDER BY created_at, id) AS ids, \
                            array_agg(created_at ORDER BY created_at, id) AS times \
                     FROM ( \
                         SELECT tx_id, created_at, id FROM {schema}.transactions \
                         WHERE card_fingerprint = asked.card \
                         ORDER BY created_at DESC, id DESC LIMIT $2 \
                     ) AS last \
                 ) AS latest \
                 ORDER BY asked.nth"
            ),
            is_empty: format!("SELECT NOT EXISTS (SELECT FROM {schema}.transactions)"),
        }
    }
}

/// The histories of `cards`, in their order, all from the same moment.
pub(super) async fn read(
    pool: &Pool,
    statements: &Statements,
    cards: &[Fingerprint],
    recent_max: usize,
) -> Result<Vec<History>, Error> {
    let cards: Vec<&[u8]> = cards.iter().map(|card| &card.0[..]).collect();
    let limit = i64::try_from(recent_max).unwrap_or(i64::MAX);
    let session = pool.session(Stage::Read).await?;
    let rows = session.bounded(async {
        let read = session.client().prepare_cached(&statements.histories).await?;
        session.client().query(&read, &[&cards, &limit]).await
    });
    let rows = rows.await?;
    session.keep();
    rows.iter().map(one).collect::<Result<_, _>>().map_err(|error| {
        Error::Unavailable(format!("a history can't be read: {}", crate::error::text(&error)))
    })
}

/// Whether there is no payment.
pub(super) async fn is_empty(pool: &Pool, statements: &Statements) -> Result<bool, Error> {
    let session = pool.session(Stage::Read).await?;
    let row = session.bounded(session.client().query_one(&statements.is_empty, &[])).await?;
    session.keep();
    Ok(row.get(0))
}

fn one(row: &Row) -> Result<History, tokio_postgres::Error> {
    let (count, high, low): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // Aggregates of no rows are NULL.
    let ids: Vec<String> = row.try_get::<_, Option<_>>(3)?.unwrap_or_default();
    let times: Vec<Timestamp> = row.try_get::<_, Option<_>>(4)?.unwrap_or_default();
    let recent = ids.into_iter().zip(times);
    Ok(History {
        count: count.unsigned_abs(),
        sum: (i128::from(high) << 32) + i128::from(low),
        recent: recent.map(|(tx_id, time)| Recent { tx_id, created_at_ms: time.ms() }).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use crate::options::Role;
    use crate::{Options, migrate, tls};

    /// What the server plans on a connection for work, for a table of 20,000 rows.
    #[tokio::test]
    async fn histories_are_read_along_the_cards_index_and_nothing_is_sorted_or_scanned() {
        let server = testbed::Postgres::start_with(&[("fsync", "off")]).unwrap();
        let options = Options::from_url(&server.url()).unwrap();
        migrate(&options).await.unwrap();
        let fill = "INSERT INTO fds.transactions (tx_id, card_number, card_fingerprint, user_id, \
            tier, amount, merchant, category, ruleset_version, created_at, accepted_at) \
            SELECT n, n, decode(md5((n % 500)::text), 'hex'), 'u', 'vip', n, 'm', 'c', 1, now(), now() \
            FROM generate_series(1, 20000) AS n; VACUUM ANALYZE fds.transactions";
        for statement in fill.split(';') {
            server.execute(statement).unwrap();
        }
        let link = Link::open(&options, Role::Work, tls::connector(&options).unwrap()).await;
        let statements = Statements::new(&options.check().unwrap());
        let sql = statements
            .histories
            .replace("$1::bytea[]", "ARRAY['\\x00112233445566778899aabbccddeeff']::bytea[]")
            .replace("$2", "10");
        let plan = link.unwrap().client.query(&format!("EXPLAIN {sql}"), &[]).await.unwrap();
        let plan: Vec<&str> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Only Scan using idx_fds_transactions_card_history"), "{plan}");
        assert!(
            plan.contains("Index Scan Backward using idx_fds_transactions_card_history"),
            "{plan}"
        );
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort Key: transactions"), "{plan}");
    }
}
