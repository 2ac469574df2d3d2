//! Writes a payment as JSON, as fast as its fields can be copied.

use super::fields::Payment;

pub(super) fn payment(payment: &Payment<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"tx_id\":");
    text(&payment.tx_id, out);
    out.extend_from_slice(b",\"card_number\":");
    text(&payment.card_number, out);
    out.extend_from_slice(b",\"user_id\":");
    text(&payment.user_id, out);
    out.extend_from_slice(b",\"tier\":\"");
    out.extend_from_slice(payment.tier.name().as_bytes());
    out.extend_from_slice(b"\",\"amount\":");
    integer(payment.amount, out);
    out.extend_from_slice(b",\"merchant\":");
    text(&payment.merchant, out);
    out.extend_from_slice(b",\"category\":");
    text(&payment.category, out);
    out.extend_from_slice(b",\"created_at\":");
    integer(payment.created_at_ms, out);
    out.push(b'}');
}

fn text(value: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing text to memory does not fail");
}

fn integer(value: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("writing a number to memory does not fail");
}
