//! `[[table]]`: the keys of a table that is written behind. They are in the file alone.

use model::url::redacted;
use settings::{Error, Given, Item, Section, Settings, Shown, Value};
use store::Target;
use store::tables::{Column, Mode, Name, Type};

use crate::{Definition, Options};

/// The list of the file that the entries are in.
pub const LIST: &str = "table";
/// What the settings know of tables.
pub const SECTION: Section = Section {
    lists: &[LIST],
    check: |settings| read(settings).map(drop),
    shown: |settings| Ok(read(settings)?.iter().flat_map(|entry| entry.shown(settings)).collect()),
    ..Section::new(Vec::new)
};

/// What a table's batches and waits are unless it says otherwise.
const BATCH_MAX: i64 = 100;
const LINGER_MS: u64 = 5_000;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `forebay.toml:12`.
    pub place: String,
    /// Its name, and the table that it is written into.
    pub definition: Definition,
    /// The URL of its buffer; a journal of its own where there is none.
    pub buffer: Option<String>,
    /// The URL of the buffer that it moves to.
    pub next_buffer: Option<String>,
    /// The URL of the buffer that takes rows while its buffer is out of reach.
    pub spill: Option<String>,
    /// Whether it is made where it is missing.
    pub create: bool,
    /// Most rows in one transaction.
    pub batch_max: usize,
    /// How long a batch waits to fill, in milliseconds.
    pub linger_ms: u64,
    /// How many lanes settle it.
    pub lanes: usize,
    /// Bounds of what is known of its rows.
    pub front: Options,
}

/// Reads every entry.
///
/// # Errors
/// The first mistake, with the line of its entry.
pub fn read(settings: &Settings) -> Result<Vec<Entry>, Error> {
    let mut read: Vec<Entry> = Vec::new();
    for item in settings.items(LIST) {
        let entry = entry(item)?;
        if read.iter().any(|other| other.definition.name == entry.definition.name) {
            let name = &entry.definition.name;
            return Err(item.wrong(format!("there is a table {name} already; rename it")));
        }
        read.push(entry);
    }
    Ok(read)
}

impl Entry {
    /// What is shown of it: key, value, where it says so.
    fn shown(&self, settings: &Settings) -> Vec<Shown> {
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
        let url =
            |url: Option<&str>| Value::Text(redacted(&settings.filled(url.unwrap_or("none"))));
        let number = |number: usize| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let shown = [
            ("buffer", url(Some(&self.buffer_url()))),
            ("next_buffer", url(self.next_buffer.as_deref())),
            ("spill", url(self.spill.as_deref())),
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
        let line = |(key, value)| Shown {
            key: format!("{LIST}.{name}.{key}"),
            value,
            from: self.place.clone(),
        };
        shown.into_iter().map(line).collect()
    }

    /// The URL of its buffer.
    #[must_use]
    pub fn buffer_url(&self) -> String {
        let default = || format!("journal:{{data}}/tables/{}", self.definition.name);
        self.buffer.clone().unwrap_or_else(default)
    }
}

/// Reads one entry.
fn entry(item: &Item) -> Result<Entry, Error> {
    item.only(&KEYS)?;
    let definition = definition(item)?;
    let defaults = Options::default();
    let front = Options {
        pending_max: item.count("pending_max", 1, 100_000_000, defaults.pending_max)?,
        pending_bytes_max: item.count(
            "pending_mib_max",
            1,
            1 << 20,
            defaults.pending_bytes_max >> 20,
        )? << 20,
        cache_entries_max: item.count(
            "cache_entries_max",
            0,
            100_000_000,
            defaults.cache_entries_max,
        )?,
        cache_bytes_max: item.count("cache_mib_max", 1, 1 << 20, defaults.cache_bytes_max >> 20)?
            << 20,
        cache_ttl_ms: item.millis("cache_ttl_ms", HOUR_MS, defaults.cache_ttl_ms)?,
        negative_ttl_ms: item.millis("negative_ttl_ms", HOUR_MS, defaults.negative_ttl_ms)?,
    };
    Ok(Entry {
        place: item.place.clone(),
        definition,
        buffer: item.text("buffer")?,
        next_buffer: item.text("next_buffer")?,
        spill: item.text("spill")?,
        create: item.switch("create")?,
        batch_max: item.count("batch_max", 1, 10_000, BATCH_MAX)?,
        linger_ms: item.millis("linger_ms", LINGER_MS_MAX, LINGER_MS)?,
        lanes: item.count("lanes", 1, 64, LANES)?,
        front,
    })
}

/// What it is called, and where its rows go.
fn definition(item: &Item) -> Result<Definition, Error> {
    let name = item.needed("name", "\"prices\"")?;
    let columns = columns(item)?;
    let position = |of: &str, name: &str| {
        let at = columns.iter().position(|column| column.name.as_str() == name);
        at.ok_or_else(|| item.wrong(format!("{of}: \"{name}\" is not among the columns")))
    };
    let keys = item.texts("keys")?.ok_or_else(|| item.missing("keys", "[\"id\"]"))?;
    let keys = keys.iter().map(|key| position("keys", key)).collect::<Result<Vec<_>, _>>()?;
    let (version, stamped) = (item.text("version")?, item.switch("stamp")?);
    let mode = match item.needed("mode", "\"upsert\" or \"insert\"")?.as_str() {
        "insert" if version.is_some() => {
            return Err(item.wrong("version goes with mode = \"upsert\"; leave it out"));
        }
        "insert" if stamped => {
            return Err(item.wrong("stamp goes with mode = \"upsert\"; leave it out"));
        }
        "insert" => Mode::Insert,
        "upsert" => {
            let version = version.ok_or_else(|| {
                item.wrong(
                    "mode = \"upsert\" needs a version column, for an older write that comes \
                     again must not undo a newer one; name a bigint or timestamptz that grows \
                     with each write in version, and set stamp = true to have it filled in",
                )
            })?;
            Mode::Upsert { version: position("version", &version)?, stamped }
        }
        other => {
            let right = "it must be \"insert\" or \"upsert\"";
            return Err(item.wrong(format!("mode is \"{other}\"; {right}")));
        }
    };
    let (schema, table) = target(item, &name)?;
    let target = Target { schema, table, columns, keys, mode };
    let definition = Definition { name, target };
    definition.check().map_err(|problem| item.wrong(problem))?;
    Ok(definition)
}

/// Schema and table: `"prices"`, `"shop.prices"`, or as a list where a name has a dot.
fn target(item: &Item, default: &str) -> Result<(Option<Name>, Name), Error> {
    let parts = match item.get("target") {
        None => vec![default.to_owned()],
        Some(Given::Plain(Value::Text(text))) => text.split('.').map(str::to_owned).collect(),
        Some(_) => item.texts("target")?.unwrap_or_default(),
    };
    let name = |text: &String| {
        Name::new(text).map_err(|problem| item.wrong(format!("target: \"{text}\" {problem}")))
    };
    match parts.as_slice() {
        [table] => Ok((None, name(table)?)),
        [schema, table] => Ok((Some(name(schema)?), name(table)?)),
        _ => Err(item.wrong(
            "target must be a table, or a schema and a table: \"shop.prices\", or \
             [\"my.shop\", \"prices\"]",
        )),
    }
}

/// In the order of the file.
fn columns(item: &Item) -> Result<Vec<Column>, Error> {
    let example = "{ id = \"bigint\", name = \"text\", note = \"text?\" }";
    let columns = item.get("columns").ok_or_else(|| item.missing("columns", example))?;
    let Given::Table(columns) = columns else {
        return Err(item.wrong(format!("columns must be a table, e.g. {example}")));
    };
    let column = |(name, kind): &(String, Given)| {
        let written = kind.text().unwrap_or_default();
        let (kind, nullable) = match written.strip_suffix('?') {
            Some(kind) => (kind, true),
            None => (written, false),
        };
        let kind = Type::named(kind.trim()).ok_or_else(|| {
            let kinds: Vec<_> = Type::ALL.iter().map(|kind| kind.name()).collect();
            item.wrong(format!(
                "column \"{name}\" is \"{written}\"; it must be one of {}, with a ? behind it \
                 where it may be null",
                kinds.join(", ")
            ))
        })?;
        let name = Name::new(name)
            .map_err(|problem| item.wrong(format!("column \"{name}\" {problem}")))?;
        Ok(Column { name, kind, nullable })
    };
    columns.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use settings::{Program, Setting};

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
        let program = Program { name: "forebay", folder: "data" };
        let data = || vec![Setting::text("data", "./data")];
        let mut settings = Settings::new(program, vec![Section::new(data), SECTION]);
        settings.apply_text(Path::new("forebay.toml"), text)?;
        read(&settings)
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
        assert_eq!(entry.buffer_url(), "journal:{data}/tables/prices");
        assert_eq!(entry.front, Options::default());
    }

    #[test]
    fn the_names_of_a_table_and_its_columns_keep_the_blanks_they_are_written_with() {
        let quoted = |from: &str, to: &str| {
            let entry = entries(&GOOD.replace(from, to)).unwrap().remove(0);
            let target = entry.definition.target;
            format!("{} {}", target.quoted(), target.quoted_columns())
        };
        let columns = "\"sku\", \"price\", \"at\"";
        let check = |to: &str, table: &str| {
            assert_eq!(quoted("\"shop.prices\"", to), format!("{table} {columns}"));
        };
        check("\" prices\"", "\" prices\"");
        check("\"shop. prices \"", "\"shop\".\" prices \"");
        check("[\"my shop\", \"prices \"]", "\"my shop\".\"prices \"");
        // The name of a column is written twice: as a key of `columns` and in `keys`.
        let text = GOOD.replace("[\"sku\"]", "[\" sku\"]").replace("{ sku", "{ \" sku\"");
        let entry = entries(&text.replace("\"upsert\"", "\" upsert \"")).unwrap().remove(0);
        assert_eq!(entry.definition.target.columns[0].name.as_str(), " sku");
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
