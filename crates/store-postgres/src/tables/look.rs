//! Whether a table is as its target says.

use deadpool_postgres::ClientWrapper;
use store::Target;
use store::tables::{Column, Mode};
use tokio_postgres::Error;

use super::{types, version};

/// One column as it is there.
struct There {
    name: String,
    /// A domain's is that of what it is made of.
    kind: String,
    not_null: bool,
    has_default: bool,
    /// Generated, or an identity that takes no values.
    closed: bool,
}

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
    let there = columns(client, table).await?;
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
    problems.extend(keys(client, table, target).await?);
    problems.extend(version::rules(client, table, target).await?);
    rights(client, table, target, &mut problems).await?;
    Ok(problems)
}

pub(super) fn schema(target: &Target) -> &str {
    target.schema.as_ref().map_or("public", store::tables::Name::as_str)
}

async fn columns(client: &ClientWrapper, table: u32) -> Result<Vec<There>, Error> {
    let sql = "SELECT a.attname::text, coalesce(b.typname, t.typname)::text, a.attnotnull, \
            a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a' \
        FROM pg_catalog.pg_attribute AS a \
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
        LEFT JOIN pg_catalog.pg_type AS b ON t.typtype = 'd' AND b.oid = t.typbasetype \
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(sql, &[&table]).await?;
    let there = |row: &tokio_postgres::Row| {
        Ok(There {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            not_null: row.try_get(2)?,
            has_default: row.try_get(3)?,
            closed: row.try_get(4)?,
        })
    };
    rows.iter().map(there).collect()
}

fn mismatch(target: &Target, column: &Column, there: &There) -> Option<String> {
    let (name, is) = (&column.name, &there.kind);
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

/// Key columns that do not tell apart what this program takes for two keys.
async fn keys(client: &ClientWrapper, table: u32, target: &Target) -> Result<Vec<String>, Error> {
    // A collation may be the column's, or that of an index over it.
    let sql = "SELECT a.attname::text, \
            CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END BETWEEN 0 AND 5 \
                AND coalesce(b.typname, t.typname) = 'timestamptz', \
            EXISTS (SELECT FROM pg_catalog.pg_collation AS l \
                WHERE NOT l.collisdeterministic AND (l.oid = a.attcollation OR l.oid IN \
                    (SELECT unnest((i.indcollation::oid[])[0:i.indnkeyatts - 1]) \
                     FROM pg_catalog.pg_index AS i WHERE i.indrelid = $1 AND i.indisunique \
                         AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])))) \
        FROM pg_catalog.pg_attribute AS a \
        JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
        LEFT JOIN pg_catalog.pg_type AS b ON t.typtype = 'd' AND b.oid = t.typbasetype \
        WHERE a.attrelid = $1 AND a.attname::text = ANY ($2::text[]) AND NOT a.attisdropped \
        ORDER BY a.attnum";
    let keys: Vec<&str> =
        target.keys.iter().map(|&key| target.columns[key].name.as_str()).collect();
    let mut problems = Vec::new();
    for row in client.query(sql, &[&table, &keys]).await? {
        let name: String = row.try_get(0)?;
        if row.try_get(1)? {
            problems.push(format!(
                "{target}: key column \"{name}\" rounds times; make it timestamptz without a \
                 precision"
            ));
        }
        if row.try_get(2)? {
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
