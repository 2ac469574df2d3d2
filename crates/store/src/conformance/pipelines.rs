//! What is wanted of each pipeline: kept until it is changed, and changed part by part.

use model::{Class, Classify};

use super::Subject;
use crate::pipelines::{LANES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX};

/// Rows come back by name, as they were written, through every handle.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_is_wanted_comes_back_as_written(subject: &mut dyn Subject) {
    let (one, other) = (subject.store().pipelines(), subject.beside().pipelines());
    assert_eq!(one.wanted().await, Ok(vec![]));
    let prices =
        one.pause("table:prices", "teller@host: it's \"late\" ☃").await.expect("the store answers");
    assert_eq!((prices.name.as_str(), prices.paused), ("table:prices", true));
    assert_eq!((prices.reason.as_str(), prices.lanes), ("teller@host: it's \"late\" ☃", None));
    assert!(prices.since_ms > 1_600_000_000_000, "by the store's clock: {prices:?}");
    let batch = one.scale("consumer_batch", Some(LANES_MAX)).await.expect("the store answers");
    assert_eq!((batch.paused, batch.lanes, batch.reason.as_str()), (false, Some(256), ""));
    assert_eq!(other.wanted().await, Ok(vec![batch, prices]));
}

/// Pausing, resuming and scaling each leave alone what the others write; a pause that is paused again keeps
/// the time since when.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_change_leaves_the_other_parts_as_they_are(subject: &mut dyn Subject) {
    let pipelines = subject.store().pipelines();
    let first = pipelines.pause("a", "one").await.expect("the store answers");
    let scaled = pipelines.scale("a", Some(3)).await.expect("the store answers");
    assert_eq!(scaled, crate::pipelines::Wanted { lanes: Some(3), revision: 2, ..first.clone() });
    let again = pipelines.pause("a", "two").await.expect("the store answers");
    assert_eq!((again.since_ms, again.reason.as_str()), (first.since_ms, "two"));
    assert_eq!((again.lanes, again.revision), (Some(3), 3));
    let resumed = pipelines.resume("a").await.expect("the store answers");
    assert_eq!((resumed.paused, resumed.reason.as_str()), (false, ""));
    assert_eq!((resumed.lanes, resumed.revision), (Some(3), 4));
    let configured = pipelines.scale("a", None).await.expect("the store answers");
    assert_eq!((configured.lanes, configured.revision), (None, 5));
    assert_eq!(pipelines.wanted().await, Ok(vec![configured]));
}

/// Writers at the same time get a revision each, and undo nothing of one another.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn two_writers_get_two_revisions(subject: &mut dyn Subject) {
    let (one, other) = (subject.store().pipelines(), subject.beside().pipelines());
    let mut seen = Vec::new();
    for lanes in 1..=20 {
        let (paused, scaled) = tokio::join!(one.pause("a", "why"), other.scale("a", Some(lanes)));
        seen.extend([
            paused.expect("the store answers").revision,
            scaled.expect("the store answers").revision,
        ]);
        let now = one.wanted().await.expect("the store answers").remove(0);
        assert_eq!((now.paused, now.lanes), (true, Some(lanes)));
        let (resumed, scaled) = tokio::join!(one.resume("a"), other.scale("a", None));
        seen.extend([
            resumed.expect("the store answers").revision,
            scaled.expect("the store answers").revision,
        ]);
        let now = one.wanted().await.expect("the store answers").remove(0);
        assert_eq!((now.paused, now.lanes), (false, None));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=80).collect::<Vec<_>>());
}

/// Names, reasons and lanes have bounds, and what is out of bounds changes nothing.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_is_out_of_bounds_of_a_pipeline_is_rejected(subject: &mut dyn Subject) {
    let pipelines = subject.store().pipelines();
    let (longest, reason) = ("n".repeat(NAME_BYTES_MAX), "r".repeat(REASON_BYTES_MAX));
    let kept = pipelines.pause(&longest, &reason).await.expect("the store answers");
    assert_eq!((&kept.name, &kept.reason), (&longest, &reason));
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "a\0b", &long] {
        for refused in [pipelines.pause(name, "").await, pipelines.resume(name).await] {
            assert_eq!(
                refused.expect_err("it is out of bounds").class(),
                Class::Rejected,
                "{name}"
            );
        }
        let refused = pipelines.scale(name, Some(1)).await;
        assert_eq!(refused.expect_err("it is out of bounds").class(), Class::Rejected, "{name}");
    }
    for reason in ["a\0b".to_owned(), "r".repeat(REASON_BYTES_MAX + 1)] {
        let refused = pipelines.pause("a", &reason).await;
        assert_eq!(refused.expect_err("it is out of bounds").class(), Class::Rejected);
    }
    for lanes in [0, LANES_MAX + 1, u32::MAX] {
        let refused = pipelines.scale("a", Some(lanes)).await;
        assert_eq!(refused.expect_err("it is out of bounds").class(), Class::Rejected, "{lanes}");
    }
    assert_eq!(pipelines.wanted().await, Ok(vec![kept]));
}
