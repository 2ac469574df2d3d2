//! Rows as the bytes of a binary COPY.
//!
//! Format (`COPY`, "Binary Format", in PostgreSQL's documentation): a signature, flags and the
//! length of an extension; for each row the number of fields, and each field as its length and its
//! bytes, -1 for NULL; at the end -1 where a number of fields would be.

use bytes::{BufMut, Bytes, BytesMut};
use model::clock::EpochMs;
use model::event::{ID_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX};
use serde_json::{Value, json};
use store::tables::show_time;
use store::{Error, Row};

use crate::column::sound;
use crate::time::Timestamp;

/// The columns, in the order of the bytes.
pub(crate) const COLUMNS: &str = "tx_id, card_number, card_fingerprint, user_id, tier, amount, \
    merchant, category, is_fraud, fraud_rules, fraud_detail, ruleset_version, created_at, \
    accepted_at, processed_at";
const COLUMN_COUNT: i16 = 15;
/// The longest explanation of a row's hits, in bytes.
const DETAIL_BYTES_MAX: usize = 1024 * 1024;
/// The longest name of a rule, in bytes.
const RULE_BYTES_MAX: usize = 1024;
/// Bytes that most rows fit in.
const ROW_BYTES: usize = 384;
/// Bytes handed to the socket at once. From 16 KiB up, no length was measurably faster.
const CHUNK_BYTES: usize = 128 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The object id of TEXT, which an array's bytes name.
const TEXT_OID: i32 = 25;

/// All of `rows`, as chunks to be sent one after the other. What a column does not take is found
/// here where that is cheap, and by the server where it is not (whether an explanation is JSON).
pub(crate) fn rows(rows: &[Row], now_ms: EpochMs) -> Result<Vec<Bytes>, Error> {
    let mut out = BytesMut::with_capacity(ROW_BYTES * rows.len());
    out.put_slice(SIGNATURE);
    out.put_i32(0);
    out.put_i32(0);
    for (index, row) in rows.iter().enumerate() {
        put(&mut out, row, now_ms)
            .map_err(|problem| Error::Rejected(format!("row {index}: {problem}")))?;
    }
    out.put_i16(-1);
    let mut all = out.freeze();
    let mut chunks = Vec::with_capacity(all.len() / CHUNK_BYTES + 1);
    while all.len() > CHUNK_BYTES {
        chunks.push(all.split_to(CHUNK_BYTES));
    }
    chunks.push(all);
    Ok(chunks)
}

fn put(out: &mut BytesMut, row: &Row, now_ms: EpochMs) -> Result<(), String> {
    out.put_i16(COLUMN_COUNT);
    if row.tx_id.is_empty() {
        return Err(format!("tx_id: is empty; must be 1 to {ID_BYTES_MAX} bytes"));
    }
    text(out, "tx_id", &row.tx_id, ID_BYTES_MAX)?;
    text(out, "card_number", &row.card_number, KEY_BYTES_MAX)?;
    field(out, &row.card_fingerprint.0);
    text(out, "user_id", &row.user_id, PAYLOAD_BYTES_MAX)?;
    field(out, row.tier.name().as_bytes());
    if row.amount < 0 {
        return Err("amount: is negative; must be 0 or more".into());
    }
    field(out, &row.amount.to_be_bytes());
    text(out, "merchant", &row.merchant, PAYLOAD_BYTES_MAX)?;
    text(out, "category", &row.category, PAYLOAD_BYTES_MAX)?;
    field(out, &[u8::from(!row.fraud_rules.is_empty())]);
    rules(out, &row.fraud_rules)?;
    detail(out, row.fraud_detail.as_deref())?;
    field(out, &row.ruleset_version.to_be_bytes());
    time(out, "created_at", row.created_at_ms)?;
    time(out, "accepted_at", row.accepted_at_ms)?;
    time(out, "processed_at", now_ms)
}

/// What makes each of `rows` the payment that it is, as a JSON array of objects whose names are
/// those of columns. The rows have to be such as [`rows()`] takes.
pub(crate) fn json(rows: &[Row]) -> String {
    let one = |row: &Row| {
        json!({
            "tx_id": row.tx_id,
            "card_fingerprint": format!("\\x{}", row.card_fingerprint),
            "user_id": row.user_id,
            "tier": row.tier.name(),
            "amount": row.amount,
            "merchant": row.merchant,
            "category": row.category,
            "created_at": show_time(row.created_at_ms.saturating_mul(1_000)),
        })
    };
    Value::from_iter(rows.iter().map(one)).to_string()
}

/// A field shorter than 2 GiB.
fn field(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(length(bytes.len()));
    out.put_slice(bytes);
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("every column is bounded far below 2 GiB")
}

fn text(out: &mut BytesMut, column: &str, value: &str, bytes_max: usize) -> Result<(), String> {
    sound(column, value, bytes_max)?;
    field(out, value.as_bytes());
    Ok(())
}

/// TEXT[]: dimensions, whether any is NULL, the elements' type; then for the one dimension its
/// length and first index, and each element like a field.
fn rules(out: &mut BytesMut, rules: &[&str]) -> Result<(), String> {
    let start = out.len();
    out.put_i32(0);
    out.put_i32(i32::from(!rules.is_empty()));
    out.put_i32(0);
    out.put_i32(TEXT_OID);
    if !rules.is_empty() {
        let count = i32::try_from(rules.len()).map_err(|_| "fraud_rules: are too many")?;
        out.put_i32(count);
        out.put_i32(1);
        for rule in rules {
            text(out, "fraud_rules", rule, RULE_BYTES_MAX)?;
        }
    }
    let bytes = i32::try_from(out.len() - start - size_of::<i32>())
        .map_err(|_| "fraud_rules: are too long")?;
    out[start..start + size_of::<i32>()].copy_from_slice(&bytes.to_be_bytes());
    Ok(())
}

/// JSONB: the version of its format, then JSON as text. Empty text is no JSON and says as much as
/// JSON's null, which is not SQL's NULL.
fn detail(out: &mut BytesMut, detail: Option<&str>) -> Result<(), String> {
    let Some(json) = detail else {
        out.put_i32(-1);
        return Ok(());
    };
    sound("fraud_detail", json, DETAIL_BYTES_MAX)?;
    let json = if json.is_empty() { "null" } else { json };
    out.put_i32(length(1 + json.len()));
    out.put_u8(1);
    out.put_slice(json.as_bytes());
    Ok(())
}

fn time(out: &mut BytesMut, column: &str, ms: EpochMs) -> Result<(), String> {
    let time = Timestamp::new(ms)
        .ok_or_else(|| format!("{column}: lies outside the years 1 to 9999; send milliseconds"))?;
    field(out, &time.micros().to_be_bytes());
    Ok(())
}
