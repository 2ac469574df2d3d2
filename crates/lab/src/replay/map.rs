//! What each field of a payment is made of.
//!
//! No error names anything but the map's own keys, positions and lengths.

use jiff::tz::TimeZone;
use toml::{Table, Value};

use super::decimal::Decimal;
use super::template::Template;

/// The fields of a payment, those that are text first.
const FIELDS: [&str; 8] =
    ["tx_id", "card_number", "user_id", "tier", "merchant", "category", "amount", "created_at"];
/// The fields that are text.
pub(super) const TEXTS: usize = 6;
/// Where in [`FIELDS`] the others are.
const AMOUNT: usize = 6;
const CREATED_AT: usize = 7;
/// How different a key may be from the one suggested for it, from 0 to 1 where 1 is the same.
const ALIKE_MIN: f64 = 0.6;

/// What each field of a payment is made of. Read from TOML:
///
/// ```toml
/// delimiter = ";"                                        # optional; CSV only
/// tx_id = { column = "id" }
/// card_number = { template = "400000{customer:010}" }    # padded with zeros to 10
/// tier = { constant = "normal" }
/// amount = { column = "amount", scale = 1000 }           # or scale = "0.01"
/// created_at = { column = "time", format = "local", time_zone = "Asia/Seoul" }
/// ```
///
/// A field that is left out is the column of the same name. `format` is `rfc3339` (the default),
/// `local` (a date and time without a zone), `epoch_s` or `epoch_ms`. Amounts are rounded to whole
/// KRW, halves away from zero, where a `scale` is given; without one an amount with decimals is rejected.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    pub(super) delimiter: u8,
    pub(super) texts: [Template; TEXTS],
    pub(super) amount: Template,
    pub(super) scale: Option<Decimal>,
    pub(super) created_at: Template,
    pub(super) time: Time,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Time {
    Rfc3339,
    Local(TimeZone),
    EpochS,
    EpochMs,
}

/// Why a text is not a map: one sentence that names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the map can't be used: {0}")]
pub struct Error(String);

impl Default for Map {
    /// Every field is the column of its name, amounts are whole KRW, times RFC 3339.
    fn default() -> Self {
        Self {
            delimiter: b',',
            texts: std::array::from_fn(|index| Template::column(FIELDS[index])),
            amount: Template::column(FIELDS[AMOUNT]),
            scale: None,
            created_at: Template::column(FIELDS[CREATED_AT]),
            time: Time::Rfc3339,
        }
    }
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// If it is not TOML, or holds a key or a value that does not belong there.
    pub fn parse(toml: &str) -> Result<Self, Error> {
        let table: Table = toml.parse().map_err(|error: toml::de::Error| {
            // The text of the error itself would show the line, which may be of any file.
            let before = error.span().and_then(|span| toml.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Error(format!("it is not TOML at line {line}: {}", error.message().replace('\n', ", ")))
        })?;
        let mut map = Self::default();
        for (key, value) in &table {
            map.set(key, value).map_err(Error)?;
        }
        Ok(map)
    }

    /// Checks that each column is among `present`, and once. Names of `present` are content of a
    /// file: a file without a header has card numbers there, so none is repeated.
    pub(super) fn check_columns(&self, present: &[&str]) -> Result<(), String> {
        let templates = self.texts.iter().chain([&self.amount, &self.created_at]).zip(FIELDS);
        for (template, field) in templates {
            for column in template.columns() {
                let mut at =
                    (1..).zip(present).filter(|(_, name)| **name == column).map(|(at, _)| at);
                match (at.next(), at.next()) {
                    (Some(_), None) => {}
                    (Some(first), Some(second)) => {
                        return Err(format!(
                            "the header names {column} twice, in columns {first} and {second}, and \
                             the map takes {field} from it; give each its own name"
                        ));
                    }
                    (None, _) => {
                        let near = most_alike(column, present)
                            .map(|at| format!("; the name of column {} is most like it", at + 1));
                        return Err(format!(
                            "line 1 has no column {column}, which the map takes {field} from{}; it \
                             must be a header, and has {} columns",
                            near.unwrap_or_default(),
                            present.len()
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        if key == "delimiter" {
            let delimiter = value.as_str().filter(|text| text.len() == 1);
            let delimiter = delimiter.ok_or("delimiter must be one ASCII character, like \";\"")?;
            self.delimiter = delimiter.as_bytes()[0];
            return Ok(());
        }
        let Some(field) = FIELDS.iter().position(|field| *field == key) else {
            let mut keys = FIELDS.to_vec();
            keys.push("delimiter");
            return Err(format!("there is no key {key}{}", nearest(key, &keys)));
        };
        let table = value.as_table().ok_or_else(|| {
            format!("{key} must say what it is made of, like {key} = {{ column = \"…\" }}")
        })?;
        let extra: &[&str] = match field {
            AMOUNT => &["scale"],
            CREATED_AT => &["format", "time_zone"],
            _ => &[],
        };
        let template = source(key, table, extra)?;
        match field {
            AMOUNT => {
                self.amount = template;
                self.scale = table.get("scale").map(scale).transpose()?;
            }
            CREATED_AT => {
                self.created_at = template;
                self.time = time(table)?;
            }
            text => self.texts[text] = template,
        }
        Ok(())
    }
}

/// The name of a text field.
pub(super) fn text_field(index: usize) -> &'static str {
    FIELDS[index]
}

fn source(key: &str, table: &Table, extra: &[&str]) -> Result<Template, String> {
    const SOURCES: [&str; 3] = ["column", "constant", "template"];
    let keys: Vec<&str> = SOURCES.iter().chain(extra).copied().collect();
    if let Some(unknown) = table.keys().find(|name| !keys.contains(&name.as_str())) {
        return Err(format!("{key} has no key {unknown}{}", nearest(unknown, &keys)));
    }
    let given: Vec<_> = SOURCES.iter().filter_map(|&name| Some((name, table.get(name)?))).collect();
    let [(name, value)] = given[..] else {
        return Err(format!("{key} needs exactly one of column, constant and template"));
    };
    match (name, value) {
        ("column", Value::String(column)) => Ok(Template::column(column)),
        ("constant", Value::String(text)) => Ok(Template::constant(text)),
        ("constant", Value::Integer(number)) => Ok(Template::constant(&number.to_string())),
        ("template", Value::String(text)) => {
            Template::parse(text).map_err(|problem| format!("{key}: {problem}"))
        }
        _ => Err(format!("{key}.{name} must be text in quotes")),
    }
}

fn scale(value: &Value) -> Result<Decimal, String> {
    let scale = match value {
        Value::Integer(number) => Decimal::parse(&number.to_string()),
        Value::String(text) => Decimal::parse(text),
        // A float has lost its decimals before we see it.
        _ => None,
    };
    scale.ok_or_else(|| {
        "amount.scale must be a whole number, or a decimal in quotes like \"0.01\"".to_owned()
    })
}

fn time(table: &Table) -> Result<Time, String> {
    const FORMATS: [&str; 4] = ["rfc3339", "local", "epoch_s", "epoch_ms"];
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("created_at.{key} must be text in quotes")),
    };
    let (format, zone) = (text("format")?.unwrap_or(FORMATS[0]), text("time_zone")?);
    match (format, zone) {
        ("local", None) => {
            Err("created_at.format local needs a time_zone, like \"Asia/Seoul\"".to_owned())
        }
        ("local", Some(zone)) => TimeZone::get(zone).map(Time::Local).map_err(|_| {
            format!("created_at.time_zone {zone} is not known; give one like \"Asia/Seoul\"")
        }),
        (_, Some(_)) => Err("created_at.time_zone is only for format = \"local\"".to_owned()),
        ("rfc3339", None) => Ok(Time::Rfc3339),
        ("epoch_s", None) => Ok(Time::EpochS),
        ("epoch_ms", None) => Ok(Time::EpochMs),
        (format, None) => {
            let hint = nearest(format, &FORMATS);
            Err(format!("there is no created_at.format {format}{hint}"))
        }
    }
}

/// `; did you mean …?` for the key most like `wrong`, or nothing when none is.
fn nearest(wrong: &str, known: &[&str]) -> String {
    let alike = most_alike(wrong, known);
    alike.map_or_else(String::new, |at| format!("; did you mean {}?", known[at]))
}

/// Which of the names is most like `wrong`, if one is like it at all.
fn most_alike(wrong: &str, known: &[&str]) -> Option<usize> {
    let alike = known.iter().map(|known| strsim::jaro_winkler(wrong, known)).enumerate();
    let best = alike.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, alike)| *alike >= ALIKE_MIN);
    best.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, expected: &str) {
        let error = Map::parse(toml).expect_err(toml).to_string();
        assert!(error.contains(expected), "{toml}: {error}");
    }

    #[test]
    fn an_empty_map_takes_every_field_from_the_column_of_its_name() {
        assert_eq!(Map::parse(""), Ok(Map::default()));
        assert_eq!(Map::default().check_columns(&FIELDS), Ok(()));
    }

    #[test]
    fn unknown_keys_suggest_the_nearest() {
        check("card_numbr = { column = \"c\" }", "no key card_numbr; did you mean card_number?");
        check("amount = { colum = \"c\" }", "amount has no key colum; did you mean column?");
        check("tier = { constant = \"vip\", scale = 1 }", "tier has no key scale");
        check("created_at = { column = \"t\", format = \"epochs\" }", "did you mean epoch_s?");
        check("zzz = 1", "there is no key zzz");
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        check("tx_id = \"id\"", "like tx_id = { column");
        check("tx_id = {}", "exactly one of column, constant and template");
        check("tx_id = { column = \"a\", constant = \"b\" }", "exactly one of");
        check("tx_id = { column = 1 }", "tx_id.column must be text");
        check("amount = { column = \"a\", scale = 0.01 }", "decimal in quotes");
        check("created_at = { column = \"t\", format = \"local\" }", "needs a time_zone");
        check("created_at = { column = \"t\", time_zone = \"UTC\" }", "only for format");
        check(
            "created_at = { column = \"t\", format = \"local\", time_zone = \"Asia/Soul\" }",
            "Asia/Soul is not known",
        );
        check("delimiter = \"::\"", "one ASCII character");
        check("tx_id = ", "not TOML");
    }

    #[test]
    fn a_column_the_file_does_not_have_is_named_with_the_place_of_the_nearest() {
        let map = Map::parse("user_id = { column = \"customerid\" }").unwrap();
        let present = ["tx_id", "card_number", "customer_id"];
        let problem = map.check_columns(&present).unwrap_err();
        assert!(problem.contains("no column customerid"), "{problem}");
        assert!(problem.contains("column 3 is most like it"), "{problem}");
        assert!(!problem.contains("customer_id"), "{problem}");
    }
}
