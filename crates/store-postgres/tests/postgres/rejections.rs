//! What can't be stored, and whose fault a failure is.

use crate::fixture;
use crate::fixture::{class_of, count, open, options, rows, shared};
use model::{Class, Classify};
use proptest::prelude::*;
use store::conformance::{duplicates, row};
use store::{Claimed, Completion, Duplicate, Error, Row, Settlement};
use store_postgres::Options;
use tokio::runtime::Runtime;

/// Settles `bad` between two good rows: the batch is rejected, the reason names the column, and
/// nothing of it is there.
async fn check(store: &Claimed, column: &str, bad: Row) {
    let error = refused(store, column, bad).await;
    assert_eq!(error.class(), Class::Rejected, "{error}");
}

/// The same for what only the server finds: it may be the row's fault.
async fn check_server(store: &Claimed, state: &str, bad: Row) {
    let error = refused(store, state, bad).await;
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

async fn refused(store: &Claimed, column: &str, bad: Row) -> Error {
    let [first, last] = <[Row; 2]>::try_from(rows(0..2)).unwrap();
    let error = store.payments().settle(vec![first, bad, last]).await.unwrap_err();
    assert!(error.to_string().contains(column), "{column}: {error}");
    assert_eq!(store.payments().is_empty().await, Ok(true), "{column}");
    error
}

#[tokio::test]
async fn a_row_that_a_unique_index_of_others_refuses_is_no_duplicate_and_stops_nothing() {
    let server = shared();
    let options = options(server);
    let store = open(&options).await;
    let index = format!("CREATE UNIQUE INDEX theirs ON {}.transactions (merchant)", options.schema);
    server.execute(&index).unwrap();
    let at = |id: &str, merchant: &str| Row { merchant: merchant.into(), ..row(id, "4000", 1, 1) };
    assert_eq!(store.payments().settle(vec![at("a", "Cafe")]).await, Ok(Settlement::Settled));
    let refused = store.payments().settle(vec![at("b", "Cafe")]).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    assert_eq!(store.payments().settle(vec![at("c", "Bar")]).await, Ok(Settlement::Settled));
}

#[tokio::test]
async fn a_row_that_cannot_be_stored_is_refused_by_column_and_its_neighbours_go_in_without_it() {
    let options = options(shared());
    let store = open(&options).await;
    let good = || row("good", "4000", 1, 1);
    let long = "x".repeat(65_537);
    check(&store, "tx_id: holds a NUL", Row { tx_id: "a\0b".into(), ..good() }).await;
    check(&store, "tx_id: is 65 bytes", Row { tx_id: "x".repeat(65), ..good() }).await;
    check(&store, "tx_id: is empty", Row { tx_id: String::new(), ..good() }).await;
    check(&store, "card_number: holds a NUL", Row { card_number: "\0".into(), ..good() }).await;
    check(&store, "card_number: is 65", Row { card_number: "1".repeat(65), ..good() }).await;
    check(&store, "user_id: holds a NUL", Row { user_id: "u\0".into(), ..good() }).await;
    check(&store, "user_id: is 65537", Row { user_id: long.clone(), ..good() }).await;
    check(&store, "merchant: holds a NUL", Row { merchant: "\0m".into(), ..good() }).await;
    check(&store, "merchant: is 65537", Row { merchant: long.clone(), ..good() }).await;
    check(&store, "category: is 65537", Row { category: long, ..good() }).await;
    check(&store, "fraud_rules: holds a NUL", Row { fraud_rules: vec!["a", "b\0"], ..good() })
        .await;
    check(&store, "amount: is negative", Row { amount: -1, ..good() }).await;
    for ms in [i64::MAX, i64::MIN, 253_402_300_800_000, -62_135_596_800_001] {
        check(&store, "row 1: created_at", Row { created_at_ms: ms, ..good() }).await;
        check(&store, "row 1: accepted_at", Row { accepted_at_ms: ms, ..good() }).await;
    }
    let detail = |json: &str| Row { fraud_detail: Some(json.into()), ..good() };
    check(&store, "fraud_detail: holds a NUL", detail("[\0]")).await;
    // Only the server reads the JSON.
    check_server(&store, "SQLSTATE 22P02", detail("[4000123412341234")).await;
    check_server(&store, "SQLSTATE 22P05", detail(r#"["\u0000"]"#)).await;
    check_server(&store, "SQLSTATE 54001", detail(&"[".repeat(100_000))).await;
    assert_eq!(store.payments().settle(rows(0..2)).await, Ok(Settlement::Settled));
    let ends = [253_402_300_799_999, -62_135_596_800_000].map(|ms| Row {
        created_at_ms: ms,
        accepted_at_ms: ms,
        tx_id: ms.to_string(),
        ..good()
    });
    assert_eq!(store.payments().settle(ends.to_vec()).await, Ok(Settlement::Settled));
    assert_eq!(count(shared(), &options), "4");
}

#[tokio::test]
async fn a_refusal_of_the_server_repeats_no_row() {
    let options = options(shared());
    let store = open(&options).await;
    let constraint = format!(
        "ALTER TABLE {}.transactions ADD CONSTRAINT no_tea CHECK (category <> 'tea')",
        options.schema
    );
    shared().execute(&constraint).unwrap();
    let card = "4000123412341234";
    let tea = Row { category: "tea".into(), card_number: card.into(), ..row("a", card, 1, 1) };
    let error = store.payments().settle(vec![tea.clone()]).await.unwrap_err();
    assert!(error.to_string().contains("SQLSTATE 23514, constraint no_tea"), "{error}");
    assert!(!error.to_string().contains(card), "{error}");
    let json = Row { category: "x".into(), fraud_detail: Some(format!("[{card}")), ..tea };
    let error = store.payments().settle(vec![json]).await.unwrap_err();
    assert!(!error.to_string().contains(card), "{error}");
}

#[tokio::test]
async fn a_count_or_a_time_past_the_columns_is_rejected() {
    let store = open(&options(shared())).await;
    let good = Completion {
        pipeline: "consumer_batch".into(),
        started_at_ms: 1,
        completed_at_ms: 2,
        settled: 1,
        duplicates: 0,
        dead: 0,
    };
    let bad = [
        Completion { settled: u64::MAX, ..good.clone() },
        Completion { dead: u64::MAX, ..good.clone() },
        Completion { started_at_ms: i64::MAX, ..good.clone() },
        Completion { pipeline: "a\0".into(), ..good.clone() },
    ];
    for completion in bad {
        assert_eq!(class_of(store.completions().complete(completion).await), Class::Rejected);
    }
    assert_eq!(store.completions().complete(good).await, Ok(()));
}

/// A trigger fails with each state in turn.
#[tokio::test]
async fn each_class_of_failure_is_whose_fault_it_is_and_says_its_state() {
    let options = options(shared());
    let store = open(&options).await;
    let schema = &options.schema;
    let trigger = format!(
        "CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER fail BEFORE INSERT ON {schema}.transactions
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    );
    shared().execute(&trigger).unwrap();
    let outages = [
        "08006", "25006", "28P01", "3D000", "40001", "40P01", "53100", "53200", "53300", "55P03",
        "57014", "57P01", "57P03",
    ];
    // One row may be at fault, or the table takes none.
    let refusals = [
        "22001", "22003", "22021", "23502", "23503", "23514", "54000", "P0001", "45000", "AB123",
        "42501", "42703", "42P01", "0A000", "58030", "XX000",
    ];
    let ends = ["XX001", "XX002"];
    let cases = outages
        .map(|state| (state, "unavailable"))
        .into_iter()
        .chain(refusals.map(|state| (state, "refused")))
        .chain(ends.map(|state| (state, "fatal")));
    for (state, expect) in cases {
        let fail = format!(
            "CREATE OR REPLACE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION USING ERRCODE = ''{state}'', MESSAGE = ''no''; END'"
        );
        shared().execute(&fail).unwrap();
        let error = store.payments().settle(rows(0..3)).await.unwrap_err();
        let is = match &error {
            Error::Unavailable(_) => "unavailable",
            Error::Refused(_) => "refused",
            Error::Rejected(_) => "rejected",
            Error::Fatal(_) => "fatal",
        };
        assert_eq!(is, expect, "{error}");
        assert!(error.to_string().contains(&format!("no [SQLSTATE {state}")), "{error}");
    }
    // Whatever failed, the store goes on.
    shared().execute(&format!("DROP TRIGGER fail ON {schema}.transactions")).unwrap();
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
}

/// A commit can fail after every row was taken.
#[tokio::test]
async fn a_commit_that_fails_keeps_nothing() {
    let options = options(shared());
    let store = open(&options).await;
    let schema = &options.schema;
    let trigger = format!(
        "CREATE FUNCTION {schema}.late() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100'', MESSAGE = ''late''; END';
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {schema}.transactions
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.late()"
    );
    shared().execute(&trigger).unwrap();
    assert_eq!(class_of(store.payments().settle(rows(0..3)).await), Class::Retryable);
    shared().execute(&format!("DROP TRIGGER late ON {schema}.transactions")).unwrap();
    assert_eq!(store.payments().is_empty().await, Ok(true));
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
}

/// As after a backup was restored without its sequences.
#[tokio::test]
async fn a_sequence_behind_its_table_is_an_outage_that_says_so() {
    let options = options(shared());
    let store = open(&options).await;
    assert_eq!(store.payments().settle(rows(0..10)).await, Ok(Settlement::Settled));
    let sequence = format!("{}.transactions_id_seq", options.schema);
    shared().execute(&format!("ALTER SEQUENCE {sequence} RESTART WITH 1")).unwrap();
    let error = store.payments().settle(rows(10..12)).await.unwrap_err();
    assert!(error.to_string().contains("the sequence behind transactions.id"), "{error}");
    assert_eq!(error.class(), Class::Retryable);
    shared().execute(&format!("ALTER SEQUENCE {sequence} RESTART WITH 1000")).unwrap();
    assert_eq!(store.payments().settle(rows(10..12)).await, Ok(Settlement::Settled));
}

/// Anything a row may hold: mostly what is kept, now and then what is not.
fn any_row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![4 => "[^\\x00]{0,40}", 1 => any::<String>()];
    let ms = prop_oneof![4 => -62_135_596_800_000..=253_402_300_799_999_i64, 1 => any::<i64>()];
    let amount = prop_oneof![8 => 0..=i64::MAX, 1 => any::<i64>()];
    let rules = proptest::sample::subsequence(vec!["velocity", "dawn \"x\"", "", "금액,{}"], 0..=4);
    (text.clone(), text.clone(), text, amount, rules, ms.clone(), ms).prop_map(
        |(user_id, merchant, category, amount, fraud_rules, created_at_ms, accepted_at_ms)| Row {
            user_id,
            merchant,
            category,
            fraud_rules,
            accepted_at_ms,
            ..row("", "4000123412341234", amount, created_at_ms)
        },
    )
}

fn can_be_kept(row: &Row) -> bool {
    let sound = |text: &String| !text.contains('\0');
    let time = |ms: i64| (-62_135_596_800_000..=253_402_300_799_999).contains(&ms);
    [&row.user_id, &row.merchant, &row.category].into_iter().all(sound)
        && row.amount >= 0
        && time(row.created_at_ms)
        && time(row.accepted_at_ms)
}

/// What the table has of a payment, compared there with what it should be.
fn kept(options: &Options, row: &Row) -> bool {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let rules: Vec<_> = row.fraud_rules.iter().map(|rule| quoted(rule)).collect();
    let sql = format!(
        "SELECT user_id = {} AND merchant = {} AND category = {} AND amount = {}
             AND fraud_rules = ARRAY[{}]::text[] AND is_fraud = {}
             AND extract(epoch FROM created_at) * 1000 = {}
             AND extract(epoch FROM accepted_at) * 1000 = {}
         FROM {}.transactions WHERE tx_id = '{}'",
        quoted(&row.user_id),
        quoted(&row.merchant),
        quoted(&row.category),
        row.amount,
        rules.join(", "),
        !rules.is_empty(),
        row.created_at_ms,
        row.accepted_at_ms,
        options.schema,
        row.tx_id
    );
    fixture::value(shared(), &sql) == "t"
}

#[test]
fn whatever_a_row_holds_is_kept_as_it_is_or_refused() {
    let runtime = Runtime::new().unwrap();
    let options = options(shared());
    let store = runtime.block_on(open(&options));
    let ids = std::cell::Cell::new(0);
    proptest!(|(mut batch in proptest::collection::vec(any_row(), 1..6))| {
        for row in &mut batch {
            row.tx_id = format!("tx-{}", ids.replace(ids.get() + 1));
        }
        let settled = runtime.block_on(store.payments().settle(batch.clone()));
        if batch.iter().all(can_be_kept) {
            prop_assert_eq!(settled, Ok(Settlement::Settled));
            for row in &batch {
                prop_assert!(kept(&options, row), "{:?}", row);
            }
        } else {
            prop_assert_eq!(class_of(settled), Class::Rejected);
        }
    });
}

#[tokio::test]
async fn a_payment_that_a_trigger_skips_is_rejected_and_its_neighbours_stay_settled() {
    let options = options(shared());
    let store = open(&options).await;
    let schema = &options.schema;
    let trigger = format!(
        "CREATE FUNCTION {schema}.skip() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RETURN CASE WHEN new.tx_id = 'bad' THEN NULL ELSE new END; END $$; \
         CREATE TRIGGER skip BEFORE INSERT ON {schema}.transactions \
             FOR EACH ROW EXECUTE FUNCTION {schema}.skip()"
    );
    shared().execute(&trigger).unwrap();
    let bad = || row("bad", "4000", 1, 1);
    let [first, last] = <[Row; 2]>::try_from(rows(0..2)).unwrap();
    let batch = vec![first.clone(), bad(), last.clone()];
    let error = store.payments().settle(batch.clone()).await.unwrap_err();
    assert_eq!(error.class(), Class::Rejected, "{error}");
    assert!(error.to_string().contains("a trigger on transactions"), "{error}");
    // The next attempts find the neighbours, and then the one row that is at fault.
    assert_eq!(store.payments().settle(batch).await, Ok(duplicates([0, 2])));
    assert_eq!(class_of(store.payments().settle(vec![bad()]).await), Class::Rejected);
    assert_eq!(count(shared(), &options), "2");
}

#[tokio::test]
async fn a_payment_that_the_columns_store_in_another_way_is_the_same_when_it_comes_again() {
    let options = options(shared());
    let store = open(&options).await;
    let alter = format!(
        "ALTER TABLE {}.transactions ALTER created_at TYPE timestamptz(0), \
         ALTER merchant TYPE character(12), ALTER category TYPE varchar(6)",
        options.schema
    );
    shared().execute(&alter).unwrap();
    let sent = || row("a", "4000", 1, 1_700_000_000_499);
    assert_eq!(store.payments().settle(vec![sent()]).await, Ok(Settlement::Settled));
    assert_eq!(store.payments().settle(vec![sent(), sent()]).await, Ok(duplicates([0, 1])));
    let later = Row { created_at_ms: 1_700_000_000_500, merchant: "Cafe 2".into(), ..sent() };
    let differs = vec!["merchant", "created_at"];
    let named = Settlement::Duplicates(vec![Duplicate { index: 0, differs }]);
    assert_eq!(store.payments().settle(vec![later]).await, Ok(named));
}

#[tokio::test]
async fn a_batch_of_nothing_but_duplicates_is_compared_in_one_statement() {
    let options = options(shared());
    let store = open(&options).await;
    let all = rows(0..5_000);
    assert_eq!(store.payments().settle(all.clone()).await, Ok(Settlement::Settled));
    assert_eq!(store.payments().settle(all).await, Ok(duplicates(0..5_000)));
}
