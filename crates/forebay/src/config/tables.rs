//! `[[table]]`: the tables that are written behind. They are in the file alone.

use std::path::Path;

use model::url::redacted;
use store::Target;
use store::tables::{Column, Mode, Name, Type};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::DATA;
use super::value::{Kind, Value};
use super::{Error, schema};

/// What a table's batches and waits are unless it says otherwise.
const BATCH_MAX: i64 = 100;
const LINGER_MS: i64 = 5_000;
const LINGER_MS_MAX: i64 = 60_000;
const LANES: i64 = 2;
const HOUR_MS: i64 = 3_600_000;
/// All keys of an entry.
const KEYS: [&str; 20] = [
    "name",
    "buffer",
    "next_buffer",
    "spill",
    "target",
    "create",
    "keys",
    "columns",
    "mode",
    "version",
    "stamp",
    "batch_max",
    "linger_ms",
    "lanes",
    "pending_max",
    "pending_mib_max",
    "cache_entries_max",
    "cache_mib_max",
    "cache_ttl_ms",
    "negative_ttl_ms",
];

/// One entry as the file has it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// `forebay.toml:12`.
    pub(super) place: String,
    pub(super) definition: table::Definition,
    pub(super) buffer: Option<String>,
    pub(super) next_buffer: Option<String>,
    pub(super) spill: Option<String>,
    pub(super) create: bool,
    pub(super) batch_max: usize,
    pub(super) linger_ms: u64,
    pub(super) lanes: usize,
    pub(super) front: table::Options,
}

/// Reads every entry of `value`, which the file has under `table`.
pub(super) fn read(path: &Path, text: &str, value: &DeValue<'_>) -> Result<Vec<Entry>, Error> {
    let entries = value.as_array().filter(|all| all.iter().all(|one| one.get_ref().is_table()));
    let entries = entries.ok_or_else(|| {
        Error(format!("{}: table must be written as [[table]], once for each", path.display()))
    })?;
    let mut read: Vec<Entry> = Vec::new();
    for entry in entries.iter() {
        let line = schema::line_of(text, entry.span().start);
        let place = format!("{}:{line}", path.display());
        let table = entry.get_ref().as_table().expect("it was looked at");
        let entry = Fields { place: &place, table }.entry()?;
        if read.iter().any(|other| other.definition.name == entry.definition.name) {
            let name = &entry.definition.name;
            return Err(Error(format!("{place}: there is a table {name} already; name it anew")));
        }
        read.push(entry);
    }
    Ok(read)
}

impl Entry {
    /// What is shown of it: key, value, where it says so.
    pub(super) fn shown(&self, data: &str) -> Vec<(String, Value, String)> {
        let target = &self.definition.target;
        let names = |columns: &[usize]| {
            let names = columns.iter().map(|&at| target.columns[at].name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        let column = |column: &Column| {
            let null = if column.nullable { "?" } else { "" };
            format!("{} {}{null}", column.name, column.kind.name())
        };
        let columns: Vec<_> = target.columns.iter().map(column).collect();
        let mode = match target.mode {
            Mode::Insert => "insert".to_owned(),
            Mode::Upsert { version, .. } => format!("upsert by {}", names(&[version])),
        };
        let number = |number: usize| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let shown = [
            ("buffer", Value::Text(redacted(&self.url().replace(DATA, data)))),
            (
                "next_buffer",
                Value::Text(self.next_url(data).map_or("none".to_owned(), |url| redacted(&url))),
            ),
            ("spill", Value::Text(redacted(&self.spill_url(data)))),
            ("target", Value::Text(target.to_string())),
            ("keys", Value::Text(names(&target.keys))),
            ("columns", Value::Text(columns.join(", "))),
            ("mode", Value::Text(mode)),
            ("stamp", Value::Switch(self.definition.is_stamped())),
            ("create", Value::Switch(self.create)),
            ("batch_max", number(self.batch_max)),
            ("linger_ms", Value::Whole(i64::try_from(self.linger_ms).unwrap_or(i64::MAX))),
            ("lanes", number(self.lanes)),
            ("pending_max", number(self.front.pending_max)),
            ("cache_entries_max", number(self.front.cache_entries_max)),
        ];
        let name = &self.definition.name;
        let key = |key: &str| format!("table.{name}.{key}");
        shown.into_iter().map(|(of, value)| (key(of), value, self.place.clone())).collect()
    }

    pub(super) fn url(&self) -> String {
        let default = || format!("journal:{}/tables/{}", DATA, self.definition.name);
        self.buffer.clone().unwrap_or_else(default)
    }

    /// Where its rows go while its buffer is out of reach, or `none`.
    pub(super) fn spill_url(&self, data: &str) -> String {
        self.spill.as_deref().unwrap_or("none").replace(DATA, data)
    }

    /// Where it moves to, if it does.
    pub(super) fn next_url(&self, data: &str) -> Option<String> {
        let next = self.next_buffer.as_ref().filter(|next| *next != "none")?;
        Some(next.replace(DATA, data))
    }
}

/// One `[[table]]`.
struct Fields<'a> {
    place: &'a str,
    table: &'a DeTable<'a>,
}

impl Fields<'_> {
    fn entry(&self) -> Result<Entry, Error> {
        for (key, _) in self.table.iter() {
            let key = key.get_ref();
            if !KEYS.contains(&&**key) {
                let help = match schema::nearest(key, KEYS.into_iter()) {
                    Some(nearest) => format!("did you mean \"{nearest}\"?"),
                    None => format!("there are {}", KEYS.join(", ")),
                };
                return Err(self.wrong(format!("unknown key \"{key}\" of a [[table]]; {help}")));
            }
        }
        let definition = self.definition()?;
        let defaults = table::Options::default();
        let size = |bytes: usize| i64::try_from(bytes >> 20).unwrap_or(i64::MAX);
        let front = table::Options {
            pending_max: self.count("pending_max", 1, 100_000_000, count(defaults.pending_max))?,
            pending_bytes_max: self.count(
                "pending_mib_max",
                1,
                1 << 20,
                size(defaults.pending_bytes_max),
            )? << 20,
            cache_entries_max: self.count(
                "cache_entries_max",
                0,
                100_000_000,
                count(defaults.cache_entries_max),
            )?,
            cache_bytes_max: self.count(
                "cache_mib_max",
                1,
                1 << 20,
                size(defaults.cache_bytes_max),
            )? << 20,
            cache_ttl_ms: self.ms("cache_ttl_ms", HOUR_MS, defaults.cache_ttl_ms)?,
            negative_ttl_ms: self.ms("negative_ttl_ms", HOUR_MS, defaults.negative_ttl_ms)?,
        };
        let linger_ms = u64::try_from(LINGER_MS).expect("it is not negative");
        Ok(Entry {
            place: self.place.to_owned(),
            definition,
            buffer: self.text("buffer")?,
            next_buffer: self.text("next_buffer")?,
            spill: self.text("spill")?,
            create: self.switch("create")?,
            batch_max: self.count("batch_max", 1, 10_000, BATCH_MAX)?,
            linger_ms: self.ms("linger_ms", LINGER_MS_MAX, linger_ms)?,
            lanes: self.count("lanes", 1, 64, LANES)?,
            front,
        })
    }

    fn definition(&self) -> Result<table::Definition, Error> {
        let name = self.needed("name")?;
        let columns = self.columns()?;
        let position = |of: &str, name: &str| {
            let at = columns.iter().position(|column| column.name.as_str() == name);
            at.ok_or_else(|| self.wrong(format!("{of}: \"{name}\" is not among the columns")))
        };
        let keys = self.list("keys")?.ok_or_else(|| self.missing("keys", "[\"id\"]"))?;
        let keys = keys.iter().map(|key| position("keys", key)).collect::<Result<Vec<_>, _>>()?;
        let (version, stamped) = (self.text("version")?, self.switch("stamp")?);
        let mode = match self.needed("mode")?.as_str() {
            "insert" if version.is_some() => {
                return Err(self.wrong("version goes with mode = \"upsert\"; leave it out"));
            }
            "insert" if stamped => {
                return Err(self.wrong("stamp goes with mode = \"upsert\"; leave it out"));
            }
            "insert" => Mode::Insert,
            "upsert" => {
                let version = version.ok_or_else(|| {
                    self.wrong(
                        "mode = \"upsert\" needs a version column, for an older write that comes \
                         again must not undo a newer one; name a bigint or timestamptz that grows \
                         with each write in version, and set stamp = true to have it filled in",
                    )
                })?;
                Mode::Upsert { version: position("version", &version)?, stamped }
            }
            other => {
                let right = "it must be \"insert\" or \"upsert\"";
                return Err(self.wrong(format!("mode is \"{other}\"; {right}")));
            }
        };
        let (schema, table) = self.target(&name)?;
        let target = Target { schema, table, columns, keys, mode };
        let definition = table::Definition { name, target };
        definition.check().map_err(|problem| self.wrong(problem))?;
        Ok(definition)
    }

    /// Schema and table: `"prices"`, `"shop.prices"`, or as a list where a name has a dot.
    fn target(&self, default: &str) -> Result<(Option<Name>, Name), Error> {
        let parts = match self.value("target").map(Spanned::get_ref) {
            None => vec![default.to_owned()],
            Some(DeValue::String(text)) => text.split('.').map(str::to_owned).collect(),
            Some(_) => self.list("target")?.unwrap_or_default(),
        };
        let name = |text: &String| {
            Name::new(text).map_err(|problem| self.wrong(format!("target: \"{text}\" {problem}")))
        };
        match parts.as_slice() {
            [table] => Ok((None, name(table)?)),
            [schema, table] => Ok((Some(name(schema)?), name(table)?)),
            _ => Err(self.wrong(
                "target must be a table, or a schema and a table: \"shop.prices\", or \
                 [\"my.shop\", \"prices\"]",
            )),
        }
    }

    /// In the order of the file.
    fn columns(&self) -> Result<Vec<Column>, Error> {
        let example = "{ id = \"bigint\", name = \"text\", note = \"text?\" }";
        let columns = self.value("columns").ok_or_else(|| self.missing("columns", example))?;
        let Some(table) = columns.get_ref().as_table() else {
            return Err(self.wrong(format!("columns must be a table, e.g. {example}")));
        };
        let mut columns: Vec<_> = table.iter().collect();
        columns.sort_by_key(|(name, _)| name.span().start);
        let column = |(name, kind): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            let written = kind.get_ref().as_str().unwrap_or_default();
            let (kind, nullable) = match written.strip_suffix('?') {
                Some(kind) => (kind, true),
                None => (written, false),
            };
            let kind = Type::named(kind.trim()).ok_or_else(|| {
                let kinds: Vec<_> = Type::ALL.iter().map(|kind| kind.name()).collect();
                self.wrong(format!(
                    "column \"{name}\" is \"{written}\"; it must be one of {}, with a ? behind it \
                     where it may be null",
                    kinds.join(", ")
                ))
            })?;
            let name = Name::new(name)
                .map_err(|problem| self.wrong(format!("column \"{name}\" {problem}")))?;
            Ok(Column { name, kind, nullable })
        };
        columns.into_iter().map(column).collect()
    }

    fn value(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        let found = self.table.iter().find(|(name, _)| &**name.get_ref() == key);
        found.map(|(_, value)| value)
    }

    fn kind(&self, key: &str, kind: Kind) -> Result<Option<Value>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let read = kind.read_toml(value.get_ref());
        read.map(Some).ok_or_else(|| self.wrong(format!("{key} must be {kind}")))
    }

    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.kind(key, Kind::Text)?.map(|value| value.to_string()))
    }

    fn needed(&self, key: &str) -> Result<String, Error> {
        let example = match key {
            "mode" => "\"upsert\" or \"insert\"",
            _ => "\"prices\"",
        };
        self.text(key)?.ok_or_else(|| self.missing(key, example))
    }

    fn switch(&self, key: &str) -> Result<bool, Error> {
        Ok(self.kind(key, Kind::Switch)? == Some(Value::Switch(true)))
    }

    fn count(&self, key: &str, min: i64, max: i64, default: i64) -> Result<usize, Error> {
        let value = match self.kind(key, Kind::Whole { min, max })? {
            Some(Value::Whole(number)) => number,
            _ => default,
        };
        Ok(usize::try_from(value).expect("no bound is below 0"))
    }

    fn ms(&self, key: &str, max: i64, default: u64) -> Result<u64, Error> {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        self.count(key, 0, max, default).map(|ms| ms as u64)
    }

    fn list(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = value.get_ref().as_array().map(|all| {
            all.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>()
        });
        match texts.flatten() {
            Some(texts) => Ok(Some(texts)),
            None => Err(self.wrong(format!("{key} must be a list of names in quotes"))),
        }
    }

    fn missing(&self, key: &str, example: &str) -> Error {
        self.wrong(format!("a [[table]] needs {key}; write {key} = {example}"))
    }

    fn wrong(&self, problem: impl std::fmt::Display) -> Error {
        Error(format!("{}: {problem}", self.place))
    }
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[table]]
name = "prices"
target = "shop.prices"
keys = ["sku"]
mode = "upsert"
version = "at"
columns = { sku = "text", price = "numeric?", at = "timestamptz" }
"#;

    fn entries(text: &str) -> Result<Vec<Entry>, Error> {
        let file = DeTable::parse(text).unwrap();
        let (_, value) = file.get_ref().iter().next().unwrap();
        read(Path::new("forebay.toml"), text, value.get_ref())
    }

    fn check(from: &str, to: &str, expect: &str) {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let error = entries(&text).unwrap_err().to_string();
        assert!(error.starts_with("forebay.toml:2: "), "{error}");
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn an_entry_is_read_and_what_it_leaves_out_has_its_default() {
        let entry = entries(GOOD).unwrap().remove(0);
        let target = &entry.definition.target;
        assert_eq!(target.quoted(), "\"shop\".\"prices\"");
        assert_eq!(target.quoted_columns(), "\"sku\", \"price\", \"at\"");
        assert_eq!(target.mode, Mode::Upsert { version: 2, stamped: false });
        assert!(target.columns[1].nullable && !target.columns[0].nullable);
        assert_eq!((entry.batch_max, entry.linger_ms), (100, 5_000));
        assert_eq!(entry.url(), "journal:{data}/tables/prices");
        assert_eq!(entry.front, table::Options::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_line_of_the_entry() {
        check("name = \"prices\"", "", "a [[table]] needs name");
        check("\"prices\"", "\"Prices\"", "name: must be 1 to 63 of a-z");
        check(
            "version = \"at\"",
            "",
            "needs a version column, for an older write that comes again",
        );
        check("version = \"at\"", "version = \"sku\"", "version: \"sku\" is text");
        check("\"upsert\"", "\"insert\"", "version goes with mode = \"upsert\"");
        let stamped = "\"insert\"\nstamp = true\n#";
        check("\"upsert\"\nversion", stamped, "stamp goes with mode = \"upsert\"");
        check("\"upsert\"", "\"merge\"", "it must be \"insert\" or \"upsert\"");
        check("[\"sku\"]", "[\"id\"]", "keys: \"id\" is not among the columns");
        check("[\"sku\"]", "\"sku\"", "keys must be a list of names");
        check("numeric?", "decimal", "column \"price\" is \"decimal\"; it must be one of bigint");
        check("shop.prices", "a.b.c", "target must be a table, or a schema and a table");
        check("mode =", "batch_max = 0\nmode =", "batch_max must be a whole number from 1");
        check("mode =", "batchmax = 1\nmode =", "did you mean \"batch_max\"?");
    }

    #[test]
    fn two_tables_have_two_names() {
        let error = entries(&format!("{GOOD}{GOOD}")).unwrap_err().to_string();
        assert!(error.contains("there is a table prices already"), "{error}");
    }
}
