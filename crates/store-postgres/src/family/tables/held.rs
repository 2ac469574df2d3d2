//! What a table holds of rows that an insert left out.
//!
//! The server compares: each sent value is cast to its column's own type, modifiers included, and
//! is then held against what is stored. Nothing is read back, so nothing can be unreadable, and no
//! number passes through floating point.

use store::tables::{Record, Type};
use store::{Error, Target};
use tokio_postgres::types::ToSql;

use super::columns::{There, columns};
use super::types;
use crate::session::Session;

/// What the table holds of a row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// No row.
    Nothing,
    /// The row that was sent.
    Same,
    /// A row that differs in this column of the target.
    Another(usize),
}

/// What `target` holds of each of `rows`.
pub(super) async fn held(
    session: &Session<'_>,
    target: &Target,
    rows: &[&Record],
) -> Result<Vec<Held>, Error> {
    let client = session.client();
    let stored = session.bounded(columns(client, target)).await?;
    let columns = target.columns.iter().map(|column| {
        stored.iter().find(|stored| stored.name == column.name.as_str()).ok_or_else(|| {
            Error::Unavailable(format!("{target} has no column \"{}\" any more", column.name))
        })
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let sql = statement(target, &columns);
    let all: Vec<usize> = (0..target.columns.len()).collect();
    let arrays = types::arrays(target, &all, rows);
    let found = session.bounded(async {
        let statement = client.prepare_cached(&sql).await?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            arrays.iter().map(|array| &**array as _).collect();
        client.query(&statement, &parameters).await
    });
    let mut held = vec![Held::Nothing; rows.len()];
    for row in found.await? {
        let read = || -> Result<(i64, Held), tokio_postgres::Error> {
            for column in 0..target.columns.len() {
                if !row.try_get::<_, bool>(column + 1)? {
                    return Ok((row.try_get(0)?, Held::Another(column)));
                }
            }
            Ok((row.try_get(0)?, Held::Same))
        };
        let (nth, what) = read().map_err(|error| session.failed(&error))?;
        let slot = usize::try_from(nth - 1).ok().and_then(|nth| held.get_mut(nth));
        // A collation may find several rows of a key; the row itself decides.
        if let Some(slot) = slot
            && *slot != Held::Same
        {
            *slot = what;
        }
    }
    Ok(held)
}

fn statement(target: &Target, stored: &[&There]) -> String {
    let list = |items: Vec<String>, by: &str| items.join(by);
    let count = target.columns.len();
    let arrays = target.columns.iter().zip(1..);
    let arrays = arrays.map(|(column, n)| format!("${n}::{}[]", types::sent(column.kind)));
    let aliases = (0..count).map(|at| format!("c{at}"));
    let keys = target.keys.iter().map(|&key| {
        format!("t.{} = {}", target.columns[key].name.quoted(), cast(target, stored, key))
    });
    format!(
        "SELECT r.n, {} FROM unnest({}) WITH ORDINALITY AS r ({}, n) JOIN {} AS t ON {}",
        list((0..count).map(|at| same(target, stored, at)).collect(), ", "),
        list(arrays.collect(), ", "),
        list(aliases.collect(), ", "),
        target.quoted(),
        list(keys.collect(), " AND ")
    )
}

/// What was sent, as the column stores it.
fn cast(target: &Target, stored: &[&There], at: usize) -> String {
    let sent = types::cast(&format!("r.c{at}"), target.columns[at].kind);
    format!("{sent}::{}", stored[at].full)
}

/// Whether the stored value of a column is the one that was sent.
fn same(target: &Target, stored: &[&There], at: usize) -> String {
    let kind = target.columns[at].kind;
    let (there, sent) = (format!("t.{}", target.columns[at].name.quoted()), format!("r.c{at}"));
    let cast = cast(target, stored, at);
    // A key is what it was sent as, or it is another one.
    if target.keys.contains(&at) {
        let exact = if types::sent(kind) == "text" { " COLLATE \"C\"" } else { "" };
        return format!("{there}::{}{exact} IS NOT DISTINCT FROM {sent}", types::sent(kind));
    }
    match kind {
        // Unlike an assignment, a cast also cuts off what is no blank.
        Type::Text => format!(
            "({there}::text COLLATE \"C\" IS NOT DISTINCT FROM {cast}::text \
             AND rtrim({sent}) COLLATE \"C\" IS NOT DISTINCT FROM rtrim({cast}::text))"
        ),
        // What the type `json` keeps is the text, and it has no equality.
        Type::Json if stored[at].base == "json" => {
            format!("{there}::text COLLATE \"C\" IS NOT DISTINCT FROM {sent}")
        }
        _ => format!("{there} IS NOT DISTINCT FROM {cast}"),
    }
}
