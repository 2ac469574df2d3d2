//! What columns take: texts, times and counts, refused here where that is cheap.

use model::clock::EpochMs;
use tokio_postgres::Row;

use crate::time::Timestamp;

/// Refuses what TEXT does not take, or what is past the column's bound.
pub(crate) fn sound(column: &str, value: &str, bytes_max: usize) -> Result<(), String> {
    if value.len() > bytes_max {
        return Err(format!("{column}: is {} bytes; must be at most {bytes_max}", value.len()));
    }
    if value.as_bytes().contains(&0) {
        return Err(format!(
            "{column}: holds a NUL, which PostgreSQL keeps in no text; leave it out"
        ));
    }
    Ok(())
}

pub(crate) fn time(column: &str, ms: EpochMs) -> Result<Timestamp, String> {
    Timestamp::new(ms)
        .ok_or_else(|| format!("{column}: lies outside the years 1 to 9999; give milliseconds"))
}

pub(crate) fn count(column: &str, count: u64) -> Result<i64, String> {
    i64::try_from(count).map_err(|_| format!("{column}: is past {}, the column's end", i64::MAX))
}

/// A count as its column keeps it, or else the column's end.
pub(crate) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a column of counts holds.
pub(crate) fn counted(row: &Row, at: usize) -> u64 {
    row.get::<_, i64>(at).max(0).unsigned_abs()
}
