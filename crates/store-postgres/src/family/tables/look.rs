//! Whether a table is as its target says.

use deadpool_postgres::ClientWrapper;
use store::Target;
use store::tables::{Column, Mode};
use tokio_postgres::Error;

use super::columns::{There, columns, schema};
use super::{types, version};

/// The table, or whatever else has its name: its object id, and what it is.
pub(super) async fn oid(
    client: &ClientWrapper,
    target: &Target,
) -> Result<Option<(u32, String)>, Error> {
    let sql = "SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class AS c \
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = $2";
    let found = client.query_opt(sql, &[&schema(target), &target.table.as_str()]).await?;
    found.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// What keeps rows from being written, one sentence each.
pub(super) async fn problems(
    client: &ClientWrapper,
    target: &Target,
) -> Result<Vec<String>, Error> {
    let table = match oid(client, target).await? {
        Some((table, kind)) if matches!(kind.as_str(), "r" | "p") => table,
        Some(_) => return Ok(vec![format!("{target} is no table; name one")]),
        None => {
            return Ok(vec![format!(
                "there is no table {target}; make it, or set create = true and run \
                 `forebay store migrate`"
            )]);
        }
    };
    let there = columns(client, target).await?;
    let mut problems = Vec::new();
    for column in &target.columns {
        match there.iter().find(|there| there.name == column.name.as_str()) {
            None => {
                problems.push(format!("{target} has no column \"{}\"; add it", column.name));
            }
            Some(there) => problems.extend(mismatch(target, column, there)),
        }
    }
    for There { name, not_null, has_default, closed, .. } in &there {
        let named = target.columns.iter().any(|column| column.name.as_str() == name);
        if !named && *not_null && !has_default && !closed {
            problems.push(format!(
                "{target}: column \"{name}\" takes no NULL and has no default; name it in columns"
            ));
        }
    }
    if problems.is_empty() && !is_unique(client, table, target).await? {
        let keys = target.quoted_keys();
        problems.push(format!(
            "{target} has no unique key of exactly ({keys}); make one: \
             CREATE UNIQUE INDEX ON {} ({keys})",
            target.quoted()
        ));
    }
    if problems.is_empty() {
        problems.extend(version::problems(client, table, target).await?);
    }
    problems.extend(rounded(target, &there));
    problems.extend(keys(client, table, target).await?);
    problems.extend(version::rules(client, table, target).await?);
    rights(client, table, target, &mut problems).await?;
    Ok(problems)
}

fn mismatch(target: &Target, column: &Column, there: &There) -> Option<String> {
    let (name, is) = (&column.name, &there.base);
    let taken = types::taken_by(column.kind);
    if there.closed {
        return Some(format!("{target}: column \"{name}\" is generated and can't be written"));
    }
    if !taken.contains(&is.as_str()) {
        let (kind, right) = (column.kind.name(), taken.join(" or "));
        return Some(format!("{target}: column \"{name}\" is {is}; {kind} goes into {right}"));
    }
    if column.nullable && there.not_null {
        return Some(format!(
            "{target}: column \"{name}\" takes no NULL; leave the ? out of its type"
        ));
    }
    None
}

/// Whether exactly the target's key is unique, at once and in all rows.
async fn is_unique(client: &ClientWrapper, table: u32, target: &Target) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_index AS i \
        WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
            AND i.indpred IS NULL AND i.indexprs IS NULL \
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") \
                 FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (attnum) \
                 JOIN pg_catalog.pg_attribute AS a \
                     ON a.attrelid = i.indrelid AND a.attnum = k.attnum) = $2::text[])";
    let mut keys: Vec<&str> =
        target.keys.iter().map(|&key| target.columns[key].name.as_str()).collect();
    keys.sort_unstable();
    client.query_one(sql, &[&table, &keys]).await?.try_get(0)
}

/// Key columns that round two times to one.
fn rounded(target: &Target, there: &[There]) -> Vec<String> {
    let is_key = |there: &&There| {
        target.keys.iter().any(|&key| target.columns[key].name.as_str() == there.name)
    };
    let rounds = there.iter().filter(is_key).filter(|there| there.rounds_times());
    let problem = |there: &There| {
        format!(
            "{target}: key column \"{}\" rounds times; make it timestamptz without a precision",
            there.name
        )
    };
    rounds.map(problem).collect()
}

/// Key columns whose collation takes different texts for equal.
async fn keys(client: &ClientWrapper, table: u32, target: &Target) -> Result<Vec<String>, Error> {
    // A collation may be the column's, or that of an index over it.
    let sql = "SELECT a.attname::text, \
            EXISTS (SELECT FROM pg_catalog.pg_collation AS l \
                WHERE NOT l.collisdeterministic AND (l.oid = a.attcollation OR l.oid IN \
                    (SELECT unnest((i.indcollation::oid[])[0:i.indnkeyatts - 1]) \
                     FROM pg_catalog.pg_index AS i WHERE i.indrelid = $1 AND i.indisunique \
                         AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))) \
        FROM pg_catalog.pg_attribute AS a \
        WHERE a.attrelid = $1 AND a.attname::text = ANY ($2::text[]) AND NOT a.attisdropped \
        ORDER BY a.attnum";
    let keys: Vec<&str> =
        target.keys.iter().map(|&key| target.columns[key].name.as_str()).collect();
    let mut problems = Vec::new();
    for row in client.query(sql, &[&table, &keys]).await? {
        let name: String = row.try_get(0)?;
        if row.try_get(1)? {
            problems.push(format!(
                "{target}: key column \"{name}\" has a collation that takes different texts for \
                 equal; give it a deterministic one"
            ));
        }
    }
    Ok(problems)
}

async fn rights(
    client: &ClientWrapper,
    table: u32,
    target: &Target,
    problems: &mut Vec<String>,
) -> Result<(), Error> {
    let mut needed = vec!["SELECT", "INSERT"];
    if matches!(target.mode, Mode::Upsert { .. }) {
        needed.push("UPDATE");
    }
    for right in needed {
        let sql = "SELECT pg_catalog.has_table_privilege($1::oid, $2)";
        if !client.query_one(sql, &[&table, &right]).await?.try_get::<_, bool>(0)? {
            problems.push(format!("this role may not {right} on {target}; grant it"));
        }
    }
    Ok(())
}
