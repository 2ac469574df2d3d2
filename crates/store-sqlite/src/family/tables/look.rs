//! Whether a table is as its target says.

use rusqlite::{Connection, OptionalExtension};
use store::tables::{Bound, Column, Takes, Type};
use store::{Error, Target};

use crate::migrations;

/// One column as it is there.
struct There {
    name: String,
    /// As it was declared, in upper case.
    declared: String,
    not_null: bool,
    has_default: bool,
    /// Its place in the primary key, from 1; 0 when it is not in it.
    key: i64,
    generated: bool,
}

/// Refuses a target that is one of the store's own tables.
pub(super) fn refuse_ours(target: &Target) -> Result<(), Error> {
    let ours = || -> Result<Vec<String>, Error> {
        let unreadable = |error: rusqlite::Error| Error::Fatal(error.to_string());
        let mut db = Connection::open_in_memory().map_err(unreadable)?;
        migrations::run(&mut db)?;
        let mut names = db.prepare("SELECT name FROM sqlite_schema").map_err(unreadable)?;
        let names = names.query_map([], |row| row.get(0)).map_err(unreadable)?;
        names.collect::<rusqlite::Result<_>>().map_err(unreadable)
    };
    let name = target.table.as_str().to_ascii_lowercase();
    if name.starts_with("sqlite_") || ours()?.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
        let problem = format!("{target} is a table of the store's own; name another");
        return Err(Error::Fatal(problem));
    }
    Ok(())
}

/// Whether there is a table, or a view, of that name.
pub(super) fn is_there(db: &Connection, target: &Target) -> rusqlite::Result<bool> {
    Ok(kind(db, target)?.is_some())
}

/// What keeps rows from being written, one sentence each.
pub(super) fn problems(db: &Connection, target: &Target) -> rusqlite::Result<Vec<String>> {
    match kind(db, target)?.as_deref() {
        Some("table") => {}
        Some(other) => return Ok(vec![format!("{target} is a {other}; name a table")]),
        None => {
            return Ok(vec![format!(
                "there is no table {target} in the store; make it, or set create = true"
            )]);
        }
    }
    let there = columns(db, target)?;
    let mut problems = Vec::new();
    for column in &target.columns {
        let name = column.name.as_str();
        match there.iter().find(|there| there.name.eq_ignore_ascii_case(name)) {
            None => problems.push(format!("{target} has no column \"{name}\"; add it")),
            Some(there) => problems.extend(mismatch(target, column, there)),
        }
    }
    for there in &there {
        let name = &there.name;
        let named = target.columns.iter().any(|c| c.name.as_str().eq_ignore_ascii_case(name));
        if !named && there.not_null && !there.has_default && !there.generated {
            problems.push(format!(
                "{target}: column \"{name}\" takes no NULL and has no default; name it in columns"
            ));
        }
    }
    if problems.is_empty() && !is_unique(db, target, &there)? {
        let keys = target.quoted_keys();
        problems.push(format!(
            "{target} has no unique key of exactly ({keys}); make one: \
             CREATE UNIQUE INDEX … ON {} ({keys})",
            target.quoted()
        ));
    }
    problems.extend(collations(db, target)?);
    Ok(problems)
}

/// What each column takes: SQLite keeps no bound of a declared type. `None` where one is missing.
pub(super) fn bounds(db: &Connection, target: &Target) -> rusqlite::Result<Option<Vec<Bound>>> {
    let there = columns(db, target)?;
    let bound = |column: &Column| {
        let name = column.name.as_str();
        let there = there.iter().find(|there| there.name.eq_ignore_ascii_case(name))?;
        let shown = there.declared.clone();
        Some(Bound { not_null: there.not_null, takes: Takes::All, shown })
    };
    Ok(target.columns.iter().map(bound).collect())
}

/// Unique indexes that do not tell apart what this program takes for two keys.
fn collations(db: &Connection, target: &Target) -> rusqlite::Result<Vec<String>> {
    let mut found = db.prepare(
        "SELECT DISTINCT x.name, x.coll FROM pragma_index_list(?1) AS i \
         JOIN pragma_index_xinfo(i.name) AS x \
         WHERE i.\"unique\" = 1 AND x.key = 1 AND x.name IS NOT NULL AND x.coll <> 'BINARY'",
    )?;
    let found = found.query_map([target.table.as_str()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut problems = Vec::new();
    for found in found {
        let (name, collation) = found?;
        let is = |key: &usize| target.columns[*key].name.as_str().eq_ignore_ascii_case(&name);
        if target.keys.iter().any(is) {
            problems.push(format!(
                "{target}: key column \"{name}\" has the collation {collation}, which takes \
                 different texts for equal; give it BINARY"
            ));
        }
    }
    Ok(problems)
}

fn kind(db: &Connection, target: &Target) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE \
               AND type IN ('table', 'view')";
    db.query_row(sql, [target.table.as_str()], |row| row.get(0)).optional()
}

fn columns(db: &Connection, target: &Target) -> rusqlite::Result<Vec<There>> {
    let mut columns = db.prepare(
        "SELECT name, upper(type), \"notnull\", dflt_value IS NOT NULL, pk, hidden \
         FROM pragma_table_xinfo(?1)",
    )?;
    let columns = columns.query_map([target.table.as_str()], |row| {
        let (declared, key): (String, i64) = (row.get(1)?, row.get(4)?);
        Ok(There {
            name: row.get(0)?,
            not_null: row.get(2)?,
            // An INTEGER PRIMARY KEY numbers itself.
            has_default: row.get::<_, bool>(3)? || (key > 0 && declared == "INTEGER"),
            generated: row.get::<_, i64>(5)? != 0,
            declared,
            key,
        })
    })?;
    columns.collect()
}

/// Affinities, by the words in a declared type (SQLite, "Datatypes In SQLite", 3.1).
fn mismatch(target: &Target, column: &Column, there: &There) -> Option<String> {
    let (name, declared) = (&column.name, &there.declared);
    if there.generated {
        return Some(format!("{target}: column \"{name}\" is generated and can't be written"));
    }
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    let integer = has(&["INT"]);
    let text = !integer && has(&["CHAR", "CLOB", "TEXT"]);
    let real = !integer && !text && has(&["REAL", "FLOA", "DOUB"]);
    let (fits, right) = match column.kind {
        Type::Bigint => (integer, "INTEGER"),
        Type::Bool => (integer || declared == "BOOLEAN" || declared == "BOOL", "INTEGER"),
        Type::Double => (real, "REAL"),
        _ => (text, "TEXT"),
    };
    if !fits {
        let kind = column.kind.name();
        return Some(format!(
            "{target}: column \"{name}\" is {declared}; {kind} is kept in {right}"
        ));
    }
    if column.nullable && there.not_null {
        return Some(format!(
            "{target}: column \"{name}\" takes no NULL; leave the ? out of its type"
        ));
    }
    None
}

/// Whether exactly the target's key is unique.
fn is_unique(db: &Connection, target: &Target, there: &[There]) -> rusqlite::Result<bool> {
    let wanted = |mut names: Vec<String>| {
        let mut keys: Vec<_> = target
            .keys
            .iter()
            .map(|&key| target.columns[key].name.as_str().to_ascii_lowercase())
            .collect();
        names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        keys.sort();
        names.sort();
        keys == names
    };
    let primary = there.iter().filter(|column| column.key > 0);
    if wanted(primary.map(|column| column.name.clone()).collect()) {
        return Ok(true);
    }
    let mut indexes =
        db.prepare("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" = 1 AND partial = 0")?;
    let indexes = indexes.query_map([target.table.as_str()], |row| row.get::<_, String>(0))?;
    for index in indexes {
        let mut columns = db.prepare("SELECT name FROM pragma_index_info(?1)")?;
        let names = columns.query_map([index?], |row| row.get::<_, Option<String>>(0))?;
        // An expression has no name.
        let names: Option<Vec<String>> = names.collect::<rusqlite::Result<_>>()?;
        if names.is_some_and(wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}
