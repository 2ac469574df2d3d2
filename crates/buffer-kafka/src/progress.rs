//! What is done of a partition, as it is committed: the offset below which all is done, and, in the
//! commit's metadata, the runs above it that are done too.
//!
//! Kafka's own notion of progress is one offset. What was acked above it would come again after a
//! restart; it is deduped, but the fewer the better. The metadata is `f1:` and the lengths of
//! runs, undone and done in turn, in base 36: `f1:3.4.7.1` is three undone, four done, seven undone,
//! one done. A broker takes 4,096 bytes at most: runs beyond come again.

use std::collections::BTreeSet;

/// What our metadata begins with.
const MARK: &str = "f1:";
/// Most bytes of metadata: a broker's default is 4,096.
const METADATA_BYTES_MAX: usize = 4_000;
/// Most events that metadata may call done, so that a strange one costs no memory.
const DONE_MAX: i64 = 1 << 20;

/// The metadata of a commit at `low`, for what is done above it.
pub(crate) fn metadata(low: i64, done: &BTreeSet<i64>) -> String {
    let mut text = String::new();
    let mut at = low;
    let mut offsets = done.range(low..).copied().peekable();
    while let Some(from) = offsets.next() {
        let mut to = from + 1;
        while offsets.next_if_eq(&to).is_some() {
            to += 1;
        }
        let run = format!("{}.{}.", base36(from - at), base36(to - from));
        if MARK.len() + text.len() + run.len() > METADATA_BYTES_MAX {
            break;
        }
        text.push_str(&run);
        at = to;
    }
    if text.is_empty() { text } else { format!("{MARK}{}", text.trim_end_matches('.')) }
}

/// What was done above `low`, by a commit's metadata. What is not ours, or can't be read from some
/// point on, says nothing.
pub(crate) fn done(low: i64, metadata: &str) -> BTreeSet<i64> {
    let mut done = BTreeSet::new();
    let Some(runs) = metadata.strip_prefix(MARK) else { return done };
    let mut at = low;
    let mut left = DONE_MAX;
    let mut lengths = runs.split('.').map(|run| i64::from_str_radix(run, 36));
    while let (Some(Ok(undone)), Some(Ok(run))) = (lengths.next(), lengths.next()) {
        let from = at.checked_add(undone).filter(|_| undone >= 0);
        let Some((from, to)) = from.and_then(|from| Some((from, from.checked_add(run)?))) else {
            break;
        };
        if run <= 0 || run > left {
            break;
        }
        left -= run;
        done.extend(from..to);
        at = to;
    }
    done
}

fn base36(number: i64) -> String {
    let mut left = number.unsigned_abs();
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(left % 36).expect("below 36");
        digits.push(char::from_digit(digit, 36).expect("below 36"));
        left /= 36;
        if left == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(low: i64, offsets: &[i64], expect: &str) {
        let set: BTreeSet<i64> = offsets.iter().copied().collect();
        let text = metadata(low, &set);
        assert_eq!(text, expect);
        assert_eq!(done(low, &text), set);
    }

    #[test]
    fn what_is_done_above_the_watermark_is_read_back() {
        check(5, &[], "");
        check(5, &[8, 9, 10, 11, 19], "f1:3.4.7.1");
        check(1_000_000, &[1_000_036], "f1:10.1");
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let every_other: BTreeSet<i64> = (0..10_000).map(|n| n * 2 + 1).collect();
        let text = metadata(0, &every_other);
        assert!(text.len() <= METADATA_BYTES_MAX && text.len() > METADATA_BYTES_MAX - 10);
        let read = done(0, &text);
        assert!(read.len() > 900 && read.iter().eq(every_other.iter().take(read.len())));
    }

    #[test]
    fn what_is_not_ours_says_nothing_and_does_not_panic() {
        for text in ["", "x", "f1:", "f1:1", "f1:-1.5", "f1:1.-5", "f1:1.zzzzzzzzzzzz", "f1:a.b.💳"]
        {
            let read = done(7, text);
            assert!(read.len() <= 11, "{text}: {read:?}");
        }
        assert!(done(i64::MAX, "f1:1.1").is_empty());
    }
}
