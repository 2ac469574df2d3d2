//! Rows as JSON: one object, a field for each column.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use store::Target;
use store::tables::{Mode, Record, Type, Value, show_time};

use crate::version::Version;
use crate::{Reject, key, value};

/// The most that is repeated of a field's name that is no column's, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Reads a row. Columns of `path`, the key out of a request's path, may be left out, and so may
/// those that may be null. A byte order mark in front is passed over.
pub(crate) fn read(
    target: &Target,
    json: &[u8],
    path: Option<&[Value]>,
    version: Version,
) -> Result<Record, Reject> {
    let json = model::event::without_mark(json);
    let text = std::str::from_utf8(json).map_err(|error| {
        Reject::row(format!("is not UTF-8 at byte {}; send UTF-8", error.valid_up_to()))
    })?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Reject::row("is no JSON object; send one, with a field for each column"));
    }
    let fields = fields(target, text)?;
    let mut row = Vec::with_capacity(target.columns.len());
    for (at, (column, field)) in target.columns.iter().zip(fields).enumerate() {
        let name = column.name.as_str();
        let is_version = matches!(target.mode, Mode::Upsert { version, .. } if version == at);
        let stamped = is_version && matches!(version, Version::Stamped(_));
        let read = match field.map(RawValue::get) {
            Some(_) if stamped => {
                let problem =
                    "is the version, which is given when the row is accepted; leave it out";
                return Err(Reject::new(name, problem));
            }
            Some("null") if column.nullable => Value::Null,
            Some(json) => value::of_json(column.kind, json).ok_or_else(|| {
                Reject::new(name, format!("must be {}", value::right(column.kind)))
            })?,
            None => match (is_version, version) {
                (true, Version::Stamped(version) | Version::GivenOr(version)) => {
                    match column.kind {
                        Type::Timestamptz => Value::Timestamptz(version),
                        _ => Value::Bigint(version),
                    }
                }
                _ => absent(target, at, path)?,
            },
        };
        row.push(read);
    }
    for (nth, &at) in target.keys.iter().enumerate() {
        let name = target.columns[at].name.as_str();
        key::check(&row[at]).map_err(|problem| Reject::new(name, problem))?;
        if path.is_some_and(|path| path[nth] != row[at]) {
            return Err(Reject::new(name, "is not the one in the path; send the same or none"));
        }
    }
    Ok(row)
}

/// The key of a row that may be no row of the table otherwise.
pub(crate) fn read_key(target: &Target, json: &[u8]) -> Option<Vec<Value>> {
    let json = std::str::from_utf8(model::event::without_mark(json)).ok()?;
    let fields: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    let keys = target.keys.iter().map(|&key| {
        let column = &target.columns[key];
        value::of_json(column.kind, fields.get(column.name.as_str())?.get())
    });
    keys.collect()
}

/// The value of a column that the row leaves out.
fn absent(target: &Target, at: usize, path: Option<&[Value]>) -> Result<Value, Reject> {
    let column = &target.columns[at];
    let nth = target.keys.iter().position(|&key| key == at);
    if let (Some(nth), Some(path)) = (nth, path) {
        return Ok(path[nth].clone());
    }
    if column.nullable {
        return Ok(Value::Null);
    }
    let problem = format!("is missing; must be {}", value::right(column.kind));
    Err(Reject::new(column.name.as_str(), problem))
}

/// Writes a row as one JSON object, its columns in the target's order.
pub(crate) fn write(target: &Target, row: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 * row.len());
    for (column, value) in target.columns.iter().zip(row) {
        out.push(if out.is_empty() { b'{' } else { b',' });
        quote(column.name.as_str(), &mut out);
        out.push(b':');
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(on) => out.extend_from_slice(if *on { b"true" } else { b"false" }),
            Value::Bigint(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Double(number) => {
                // Finite, so it is JSON.
                serde_json::to_writer(&mut out, number).expect("a vector takes all bytes");
            }
            Value::Json(json) => out.extend_from_slice(json.as_bytes()),
            Value::Timestamptz(micros) => quote(&show_time(*micros), &mut out),
            Value::Text(text) | Value::Numeric(text) | Value::Uuid(text) => quote(text, &mut out),
        }
    }
    out.push(b'}');
    out
}

fn quote(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a vector takes all bytes");
}

/// What the object says of each column.
fn fields<'j>(target: &Target, text: &'j str) -> Result<Vec<Option<&'j RawValue>>, Reject> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut trouble = None;
    let fields = Fields { target, trouble: &mut trouble }.deserialize(&mut json);
    let fields = fields.and_then(|fields| json.end().map(|()| fields));
    fields.map_err(|error| {
        trouble.unwrap_or_else(|| {
            let (line, column) = (error.line(), error.column());
            Reject::row(format!("is no JSON from line {line}, column {column} on; mend it"))
        })
    })
}

/// Reads the object. What is wrong with it, beyond its being no JSON, goes into `trouble`.
struct Fields<'t> {
    target: &'t Target,
    trouble: &'t mut Option<Reject>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = vec![None; self.target.columns.len()];
        while let Some(found) = map.next_key_seed(Field(self.target))? {
            let value: &RawValue = map.next_value()?;
            let trouble = match found {
                Ok(at) if fields[at].is_none() => {
                    fields[at] = Some(value);
                    continue;
                }
                Ok(at) => Reject::new(
                    self.target.columns[at].name.as_str(),
                    "is there twice; send it once",
                ),
                Err(name) => {
                    let known = self.target.columns.iter().map(|column| column.name.as_str());
                    let known = known.collect::<Vec<_>>().join(", ");
                    Reject::new(&name, format!("is no column of this table; it has {known}"))
                }
            };
            *self.trouble = Some(trouble);
            return Err(A::Error::custom("trouble"));
        }
        Ok(fields)
    }
}

/// Which column a field is, or else its name.
struct Field<'t>(&'t Target);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Field<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let at = self.0.columns.iter().position(|column| column.name.as_str() == name);
        Ok(at.ok_or_else(|| name.chars().take(NAME_CHARS_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::tests::prices;

    fn row(price: Value, version: i64) -> Record {
        vec![Value::Text("a".into()), Value::Bigint(7), price, Value::Bigint(version)]
    }

    fn check(json: &str, path: Option<&str>, version: Version, expect: Result<Record, &str>) {
        let target = prices().target;
        let path = path.map(|path| key::parse(&target, path).unwrap());
        match (read(&target, json.as_bytes(), path.as_deref(), version), expect) {
            (Ok(row), Ok(expect)) => assert_eq!(row, expect, "{json}"),
            (Err(reject), Err(expect)) => {
                assert!(reject.to_string().starts_with(expect), "{json}: {reject}");
            }
            (got, expect) => panic!("{json}: {got:?}, expected {expect:?}"),
        }
    }

    fn given(json: &str, expect: Result<Record, &str>) {
        check(json, None, Version::Given, expect);
    }

    #[test]
    fn a_row_is_read_whatever_the_order_of_its_fields() {
        let price = Value::Numeric("12.50".into());
        let json = r#" {"version": 3, "price": 12.50, "shop": 7, "sku": "a"} "#;
        given(json, Ok(row(price, 3)));
        given(r#"{"version":3,"shop":7,"sku":"a"}"#, Ok(row(Value::Null, 3)));
        given("\u{feff}{\"version\":3,\"shop\":7,\"sku\":\"a\"}", Ok(row(Value::Null, 3)));
        given(r#"{"version":3,"shop":7,"sku":"\u0061","price":null}"#, Ok(row(Value::Null, 3)));
    }

    #[test]
    fn the_path_stands_for_the_key_and_may_not_gainsay_it() {
        let path = Some("7,a");
        check(r#"{"version":3}"#, path, Version::Given, Ok(row(Value::Null, 3)));
        check(r#"{"version":3,"shop":7}"#, path, Version::Given, Ok(row(Value::Null, 3)));
        let expect = Err("shop: is not the one in the path");
        check(r#"{"version":3,"shop":8}"#, path, Version::Given, expect);
    }

    #[test]
    fn a_stamped_version_is_not_the_clients_to_give() {
        let (path, stamped) = (Some("7,a"), Version::Stamped(99));
        check("{}", path, stamped, Ok(row(Value::Null, 99)));
        let expect = Err("version: is the version, which is given when the row is accepted");
        check(r#"{"version":3}"#, path, stamped, expect);
        check(r#"{"version":3}"#, path, Version::GivenOr(99), Ok(row(Value::Null, 3)));
        check("{}", path, Version::GivenOr(99), Ok(row(Value::Null, 99)));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        given("", Err("row: is no JSON object"));
        given("[1]", Err("row: is no JSON object"));
        given(r#"{"sku":"a""#, Err("row: is no JSON from line 1, column 10 on"));
        given(r#"{"sku":"a"} x"#, Err("row: is no JSON"));
        given(r#"{"shop":7,"version":3}"#, Err("sku: is missing; must be text"));
        given(r#"{"sku":"a","shop":7}"#, Err("version: is missing; must be a whole number"));
        given(r#"{"sku":"a","shop":"7","version":3}"#, Err("shop: must be a whole number"));
        given(r#"{"sku":null,"shop":7,"version":3}"#, Err("sku: must be text"));
        given(
            r#"{"sku":"","shop":7,"version":3}"#,
            Err("sku: is 0 bytes; in a key it must be 1 to"),
        );
        given(r#"{"sku":"a","sku":"b"}"#, Err("sku: is there twice"));
        given(
            r#"{"Sku":"a"}"#,
            Err("Sku: is no column of this table; it has sku, shop, price, version"),
        );
        assert!(read(&prices().target, b"{\"sku\":\"\xff\"}", None, Version::Given).is_err());
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        for json in [r#"{"sku":4000123412341234}"#, r#"{"shop":"4000123412341234"}"#] {
            let reject = read(&prices().target, json.as_bytes(), None, Version::Given).unwrap_err();
            assert!(!reject.to_string().contains("4000123412341234"), "{reject}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sku in "[^\0]{1,40}", shop: i64, version: i64) {
            let target = prices().target;
            let price = Value::Numeric("0.10".into());
            let row = vec![Value::Text(sku), Value::Bigint(shop), price, Value::Bigint(version)];
            let json = write(&target, &row);
            prop_assert_eq!(read(&target, &json, None, Version::Given).unwrap(), row);
        }

        #[test]
        fn nothing_from_outside_makes_it_panic(bytes: Vec<u8>) {
            let _ = read(&prices().target, &bytes, None, Version::Given);
        }
    }
}
