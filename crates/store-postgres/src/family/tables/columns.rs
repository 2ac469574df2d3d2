//! A table's columns as the catalog has them, domains taken apart.

use deadpool_postgres::ClientWrapper;
use store::Target;
use store::tables::{Bound, Takes, Type};
use tokio_postgres::Error;

/// What `varchar(n)` and `numeric(p, s)` add to the number that is their modifier.
const MODIFIER_OFFSET: i32 = 4;

/// One column.
#[derive(Debug)]
pub(super) struct There {
    pub(super) name: String,
    /// Its full type, as it stands in a cast.
    pub(super) full: String,
    /// The type's name in the catalog; of a domain, that of its base.
    pub(super) base: String,
    /// The base type's modifier, such as a length; below 0 where it has none.
    pub(super) modifier: i32,
    /// The column, or a domain that its type is made of, takes no NULL.
    pub(super) not_null: bool,
    /// What it is without a value: a default, or the next number of an identity.
    pub(super) has_default: bool,
    /// Generated, or an identity that takes no values.
    pub(super) closed: bool,
}

/// The columns of `target`'s table, in the table's order; none where there is no table.
pub(super) async fn columns(client: &ClientWrapper, target: &Target) -> Result<Vec<There>, Error> {
    // A domain has the modifier of what it is made of. Its default is that of the column.
    let sql = "WITH RECURSIVE held (place, name, full_type, type, modifier, not_null, \
            has_default, closed) AS ( \
            SELECT a.attnum, a.attname::text, \
                pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, a.atttypmod, \
                a.attnotnull, a.atthasdef OR a.attidentity <> '', \
                a.attgenerated <> '' OR a.attidentity = 'a' \
            FROM pg_catalog.pg_attribute AS a \
            JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid \
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped \
            UNION ALL SELECT h.place, h.name, h.full_type, t.typbasetype, t.typtypmod, \
                h.not_null OR t.typnotnull, h.has_default OR t.typdefault IS NOT NULL, h.closed \
            FROM held AS h JOIN pg_catalog.pg_type AS t ON t.oid = h.type WHERE t.typtype = 'd') \
        SELECT h.name, h.full_type, t.typname::text, h.modifier, h.not_null, h.has_default, \
            h.closed \
        FROM held AS h JOIN pg_catalog.pg_type AS t ON t.oid = h.type WHERE t.typtype <> 'd' \
        ORDER BY h.place";
    let statement = client.prepare_cached(sql).await?;
    let table = target.table.as_str();
    let rows = client.query(&statement, &[&schema(target), &table]).await?;
    let there = |row: &tokio_postgres::Row| {
        Ok(There {
            name: row.try_get(0)?,
            full: row.try_get(1)?,
            base: row.try_get(2)?,
            modifier: row.try_get(3)?,
            not_null: row.try_get(4)?,
            has_default: row.try_get(5)?,
            closed: row.try_get(6)?,
        })
    };
    rows.iter().map(there).collect()
}

/// The schema that the table lies in.
pub(super) fn schema(target: &Target) -> &str {
    target.schema.as_ref().map_or("public", store::tables::Name::as_str)
}

/// What the columns of `target` take. `None` where one is missing.
pub(super) async fn bounds(
    client: &ClientWrapper,
    target: &Target,
) -> Result<Option<Vec<Bound>>, Error> {
    let there = columns(client, target).await?;
    let bounds = target.columns.iter().enumerate().map(|(at, column)| {
        let there = there.iter().find(|there| there.name == column.name.as_str())?;
        let takes = there.takes(column.kind, target.keys.contains(&at));
        Some(Bound { not_null: there.not_null, takes, shown: there.full.clone() })
    });
    Ok(bounds.collect())
}

impl There {
    /// Whether it rounds a time to fewer than six digits of a second.
    pub(super) fn rounds_times(&self) -> bool {
        self.base == "timestamptz" && (0..6).contains(&self.modifier)
    }

    fn takes(&self, kind: Type, in_key: bool) -> Takes {
        let modified = self.modifier.checked_sub(MODIFIER_OFFSET).filter(|bits| *bits >= 0);
        match (kind, self.base.as_str(), modified) {
            (Type::Bigint, "int2", _) => Takes::Whole(i16::MIN.into(), i16::MAX.into()),
            (Type::Bigint, "int4", _) => Takes::Whole(i32::MIN.into(), i32::MAX.into()),
            (Type::Text, "varchar", Some(max)) => {
                Takes::Characters { max: usize::try_from(max).unwrap_or(usize::MAX), in_key }
            }
            // 16 bits of precision; 11 of scale, the uppermost of which is its sign.
            (Type::Numeric, "numeric", Some(bits)) => Takes::Digits {
                precision: bits >> 16 & 0xffff,
                scale: ((bits & 0x7ff) ^ 0x400) - 0x400,
            },
            (Type::Json, "jsonb", _) => Takes::Jsonb,
            _ => Takes::All,
        }
    }
}
