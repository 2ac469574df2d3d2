//! Whether a table can keep the versions that are sent.

use deadpool_postgres::ClientWrapper;
use store::Target;
use store::tables::Mode;
use tokio_postgres::Error;

/// What keeps versions from being stored as they are sent, one sentence each.
pub(super) async fn problems(
    client: &ClientWrapper,
    table: u32,
    target: &Target,
) -> Result<Vec<String>, Error> {
    let Mode::Upsert { version, stamped } = target.mode else { return Ok(Vec::new()) };
    let name = target.columns[version].name.as_str();
    // A domain has the modifier of what it is made of.
    let sql = "WITH RECURSIVE held (type, modifier, shown) AS ( \
            SELECT a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod) \
            FROM pg_catalog.pg_attribute AS a \
            WHERE a.attrelid = $1 AND a.attname = $2 AND NOT a.attisdropped \
            UNION ALL SELECT t.typbasetype, t.typtypmod, held.shown || ', a domain over ' \
                || pg_catalog.format_type(t.typbasetype, t.typtypmod) \
            FROM held JOIN pg_catalog.pg_type AS t ON t.oid = held.type WHERE t.typtype = 'd') \
        SELECT t.typname::text, held.modifier, held.shown \
        FROM held JOIN pg_catalog.pg_type AS t ON t.oid = held.type WHERE t.typtype <> 'd'";
    let Some(row) = client.query_opt(sql, &[&table, &name]).await? else { return Ok(Vec::new()) };
    let (kind, modifier, shown): (String, i32, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let problem = match kind.as_str() {
        "timestamptz" if (0..6).contains(&modifier) => {
            Some("it rounds the microseconds of a version; make it timestamptz")
        }
        "int2" => Some("its versions end at 32767; make it bigint"),
        "int4" if stamped => {
            Some("it cannot hold stamps, which are microseconds since 1970; make it bigint")
        }
        _ => None,
    };
    let problem =
        problem.map(|problem| format!("{target}: version column \"{name}\" is {shown}: {problem}"));
    Ok(problem.into_iter().collect())
}

/// Rules, with which ON CONFLICT does not go.
pub(super) async fn rules(
    client: &ClientWrapper,
    table: u32,
    target: &Target,
) -> Result<Option<String>, Error> {
    let sql = "SELECT rulename::text FROM pg_catalog.pg_rewrite \
        WHERE ev_class = $1 AND ev_type IN ('2', '3') ORDER BY rulename LIMIT 1";
    let rule = client.query_opt(sql, &[&table]).await?;
    let rule: Option<String> = rule.map(|row| row.try_get(0)).transpose()?;
    Ok(rule.map(|rule| {
        format!(
            "{target} has a rule \"{rule}\" on INSERT or UPDATE, which upserts and inserts do not \
             go with; drop the rule, or make it a trigger"
        )
    }))
}
