//! What a column takes, where that is less than its type: known before a row is written.
//!
//! A bound refuses exactly what the table would refuse. What only the table can tell (a check, a
//! trigger, a policy, a unique key) has no bound here.

use super::{Value, jsonb};

/// The bounds of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Whether the column, or the domain of its type, takes no NULL.
    pub not_null: bool,
    /// Which values it takes.
    pub takes: Takes,
    /// The column's type as the store shows it.
    pub shown: String,
}

/// Which values a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// All of its type.
    All,
    /// Whole numbers from the first to the second.
    Whole(i64, i64),
    /// Text of so many characters at most. Blanks at its end count only in a key: elsewhere the
    /// store cuts them off.
    Characters {
        /// The most of them.
        max: usize,
        /// Whether the column is part of the key.
        in_key: bool,
    },
    /// Decimal numbers of so many digits, rounded to so many of them behind the point.
    Digits {
        /// The most of them, from 1.
        precision: i32,
        /// How many stand behind the point; below 0, how many before it are rounded to 0.
        scale: i32,
    },
    /// JSON that PostgreSQL's `jsonb` can hold.
    Jsonb,
}

impl Bound {
    /// # Errors
    /// What is wrong with `value` and what would be right. Repeats no value.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let Self { not_null, takes, shown } = self;
        match (takes, value) {
            (_, Value::Null) if *not_null => {
                Err(format!("must not be null; the column is {shown} NOT NULL"))
            }
            (Takes::Whole(min, max), Value::Bigint(number)) if !(min..=max).contains(&number) => {
                Err(format!("must be from {min} to {max}; the column is {shown}"))
            }
            (Takes::Characters { max, in_key }, Value::Text(text)) => {
                let counted = if *in_key { text } else { text.trim_end_matches(' ') };
                let length = counted.chars().count();
                if length <= *max {
                    return Ok(());
                }
                Err(format!(
                    "is {length} characters; must be at most {max}, since the column is {shown}"
                ))
            }
            (Takes::Digits { precision, scale }, Value::Numeric(number))
                if digits(number, *scale) > i64::from(*precision) =>
            {
                let whole = precision - scale;
                Err(format!("must be below 10^{whole} once rounded; the column is {shown}"))
            }
            (Takes::Jsonb, Value::Json(json)) => {
                jsonb::check(json).map_err(|problem| format!("{problem}; the column is {shown}"))
            }
            _ => Ok(()),
        }
    }
}

/// How many digits `number` has, which is decimal without an exponent, once it is rounded to `scale`
/// digits behind the point: half a unit away from zero. Zeros in front do not count.
fn digits(number: &str, scale: i32) -> i64 {
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
    let cut = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(scale.into());
    let kept = usize::try_from(cut).unwrap_or(0).min(all.len());
    let rounds_up = cut >= 0 && all.get(kept).is_some_and(|digit| *digit >= 5);
    let zeros = all[..kept].iter().take_while(|digit| **digit == 0).count();
    let significant = &all[zeros..kept];
    let carries = rounds_up && significant.iter().all(|digit| *digit == 9);
    // Digits that the number does not have are zeros, which count behind one that does.
    let missing = cut.saturating_sub(i64::try_from(all.len()).unwrap_or(i64::MAX)).max(0);
    if significant.is_empty() && !carries {
        return 0;
    }
    i64::try_from(significant.len()).unwrap_or(i64::MAX) + missing + i64::from(carries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(takes: Takes) -> Bound {
        Bound { not_null: false, takes, shown: "narrow".into() }
    }

    fn check(takes: Takes, value: Value, expect: Result<(), &str>) {
        match (bound(takes).check(&value), expect) {
            (Ok(()), Ok(())) => {}
            (Err(problem), Err(expect)) => assert!(problem.starts_with(expect), "{problem}"),
            (got, expect) => panic!("{takes:?} {value:?}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn the_ends_of_a_bound_are_within_it() {
        let whole = Takes::Whole(-5, 5);
        for (number, fits) in [(-6, false), (-5, true), (5, true), (6, false)] {
            let expect = if fits { Ok(()) } else { Err("must be from -5 to 5") };
            check(whole, Value::Bigint(number), expect);
        }
        for (text, in_key, expect) in [
            ("값값값", true, Ok(())),
            ("값값값값", true, Err("is 4 characters; must be at most 3")),
            ("abc  ", false, Ok(())),
            ("abc  ", true, Err("is 5 characters")),
            ("abcd ", false, Err("is 4 characters")),
        ] {
            check(Takes::Characters { max: 3, in_key }, Value::Text(text.into()), expect);
        }
        let required = Bound { not_null: true, ..bound(Takes::All) };
        assert!(required.check(&Value::Null).unwrap_err().starts_with("must not be null"));
        assert_eq!(bound(whole).check(&Value::Null), Ok(()));
    }

    #[test]
    fn digits_are_counted_once_the_number_is_rounded() {
        for (number, scale, expect) in [
            ("0", 2, 0),
            ("0.00", 2, 0),
            ("000.004", 2, 0),
            ("0.005", 2, 1),
            ("999.994", 2, 5),
            ("-999.995", 2, 6),
            ("1", 2, 3),
            ("001", 2, 3),
            ("0.00099", 4, 2),
            ("0.1", 4, 4),
            ("12345", -2, 3),
            ("99950", -2, 4),
            ("5", -1, 1),
            ("4", -1, 0),
            ("9", -2, 0),
        ] {
            assert_eq!(digits(number, scale), expect, "{number} to {scale}");
        }
    }
}
