//! Rows come back as they were written.

use model::payment::Tier;

use crate::conformance::{Subject, row};
use crate::{Row, Settlement};

/// Every column survives, whatever the text: quotes, other scripts, emoji, newlines, nothing at
/// all; and the numbers at the ends of their types. The adapter's stamp is there, and the flag
/// follows the rules that fired.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn rows_come_back_as_written(subject: &mut dyn Subject) {
    let rows = vec![
        row("plain", "4000123412341234", 1_500, 1_700_000_000_123),
        Row {
            user_id: "'; DROP TABLE transactions; --".into(),
            merchant: "say \"좋아요\" 😀\u{200d}👩 \\ \n\t%_".into(),
            category: "department store".into(),
            tier: Tier::Vip,
            fraud_rules: vec!["velocity", "dawn_high_amount"],
            fraud_detail: Some(
                r#"[{"observed":"5 \"in\" 60 s"},{"observed":"₩5,000,000"}]"#.into(),
            ),
            ruleset_version: i64::MAX,
            ..row("거래 'één' \"ثلاثة\"", "4000123412341234", i64::MAX, 4_102_444_800_999)
        },
        Row {
            card_number: String::new(),
            user_id: String::new(),
            merchant: String::new(),
            category: String::new(),
            tier: Tier::Premium,
            fraud_rules: vec!["amount_spike"],
            fraud_detail: Some(String::new()),
            ruleset_version: 0,
            accepted_at_ms: 0,
            ..row(" ", "", 0, 0)
        },
        Row { merchant: "m".repeat(60_000), ..row(&"i".repeat(64), "4000", 1, 1) },
    ];
    assert_eq!(subject.store().payments().settle(rows.clone()).await, Ok(Settlement::Settled));
    let stored = subject.stored().await;
    assert_eq!(stored.iter().map(|s| s.is_fraud).collect::<Vec<_>>(), [false, true, true, false]);
    assert!(stored.iter().all(|s| s.processed_at_ms.is_some()), "each row is stamped");
    assert_eq!(stored.into_iter().map(|s| s.row).collect::<Vec<_>>(), rows);
}
