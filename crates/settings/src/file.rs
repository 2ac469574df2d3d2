//! The file's layer: `forebay.toml`.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::schema::line_of;
use crate::{Error, Given, Item, Origin, Settings};

impl Settings {
    /// Applies the file `named`, or else `NAME.toml` of the working directory if it is there.
    ///
    /// # Errors
    /// If the named file can't be read, is no TOML, or sets what it can't.
    pub fn apply_file(&mut self, named: Option<&Path>) -> Result<(), Error> {
        let default = format!("{}.toml", self.program.name);
        let path = named.unwrap_or(Path::new(&default));
        match std::fs::read_to_string(path) {
            Ok(text) => self.apply_text(path, &text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(()),
            Err(e) => Err(Error(format!(
                "cannot read {}: {e}; mend the file or its rights, or name another",
                path.display()
            ))),
        }
    }

    /// The file that [`Settings::apply_file`] reads, if there is one.
    #[must_use]
    pub fn file(&self, named: Option<&Path>) -> Option<PathBuf> {
        let default = PathBuf::from(format!("{}.toml", self.program.name));
        let default = || default.exists().then_some(default);
        named.map(Path::to_owned).or_else(default)
    }

    /// Applies the text of the file `path`.
    ///
    /// # Errors
    /// If it is no TOML, or sets what it can't.
    pub fn apply_text(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let table = DeTable::parse(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(text, span.start));
            Error(format!("{}:{line}: {}", path.display(), e.message().replace('\n', ", ")))
        })?;
        apply_table(self, path, text, "", table.get_ref())
    }
}

fn apply_table(
    settings: &mut Settings,
    path: &Path,
    text: &str,
    section: &str,
    table: &DeTable<'_>,
) -> Result<(), Error> {
    // Walked in the order of the file, so that the first mistake told is the first in the file.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name = format!("{section}{}", key.get_ref());
        let line = line_of(text, key.span().start);
        match value.get_ref() {
            list if let Some(items) = settings.items_mut(&name) => {
                *items = items_of(path, text, &name, list)?;
            }
            DeValue::Table(inner) if settings.has_section(&name) => {
                apply_table(settings, path, text, &format!("{name}."), inner)?;
            }
            _ => apply_value(settings, path, text, line, &name, value)?,
        }
    }
    Ok(())
}

fn apply_value(
    settings: &mut Settings,
    path: &Path,
    text: &str,
    line: usize,
    name: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<(), Error> {
    let place = format!("{}:{line}", path.display());
    let setting =
        settings.find(name, &place, &format!("\"{name}\""), |key| format!("\"{key}\""))?;
    let Some(read) = Given::of(value.get_ref()).read(setting.kind) else {
        let came = match value.get_ref() {
            DeValue::Table(_) => "a table",
            DeValue::Array(_) => "a list",
            _ => text.get(value.span()).unwrap_or("unreadable"),
        };
        return Err(Error(format!("{place}: {name} is {came}; it must be {}", setting.kind)));
    };
    settings.set(&setting.key, read, Origin::File { path: path.to_owned(), line });
    Ok(())
}

/// The entries of a list.
fn items_of(path: &Path, text: &str, name: &str, list: &DeValue<'_>) -> Result<Vec<Item>, Error> {
    let items = list.as_array().filter(|all| all.iter().all(|one| one.get_ref().is_table()));
    let items = items.ok_or_else(|| {
        let path = path.display();
        Error(format!("{path}: {name} must be written as [[{name}]], once for each"))
    })?;
    let item = |item: &Spanned<DeValue<'_>>| {
        let place = format!("{}:{}", path.display(), line_of(text, item.span().start));
        let values = item.get_ref().as_table().map(Given::of_table).unwrap_or_default();
        Item::new(name, place, values)
    };
    Ok(items.iter().map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&[(&str, &str, &str)], &str>) {
        let mut settings = crate::settings::tests::sample();
        let got = settings.apply_text(Path::new("forebay.toml"), text);
        match (got, expect) {
            (Ok(()), Ok(expect)) => {
                for (key, value, origin) in expect {
                    let entry = settings.entry(key);
                    assert_eq!(entry.value.to_string(), *value);
                    assert_eq!(entry.origin.to_string(), *origin);
                }
            }
            (Err(error), Err(expect)) => assert_eq!(error.to_string(), expect),
            (got, expect) => panic!("{text}: got {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn values_are_read_with_their_lines() {
        let text = "data = \"/srv\"\n\n[engine]\nlanes = 0x4\n# more\nbatch_max = 1_000\n";
        check(
            text,
            Ok(&[
                ("data", "/srv", "forebay.toml:1"),
                ("engine.lanes", "4", "forebay.toml:4"),
                ("engine.batch_max", "1000", "forebay.toml:6"),
                ("engine.attempts_max", "5", "default"),
            ]),
        );
        check("http.bind = \"[::1]:1\"", Ok(&[("http.bind", "[::1]:1", "forebay.toml:1")]));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        check(
            "[engine]\nlane = 4\n",
            Err("forebay.toml:2: unknown key \"engine.lane\"; did you mean \"engine.lanes\"?"),
        );
        check(
            "[engin]\nlanes = 4\n",
            Err("forebay.toml:1: unknown key \"engin\"; did you mean \"engine\"?"),
        );
        check(
            "zzzzzzzzzzzz = 4\n",
            Err("forebay.toml:1: unknown key \"zzzzzzzzzzzz\"; `forebay config show` lists all"),
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_names_the_key_what_came_and_what_is_right() {
        check(
            "[engine]\n\nlanes = \"four\"\n",
            Err(
                "forebay.toml:3: engine.lanes is \"four\"; it must be a whole number from 1 to 256",
            ),
        );
        check(
            "engine = 4\n",
            Err(
                "forebay.toml:1: unknown key \"engine\"; it is a section: write [engine] and its keys below",
            ),
        );
        check(
            "data = [1]\n",
            Err("forebay.toml:1: data is a list; it must be text that is not empty"),
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let mut settings = crate::settings::tests::sample();
        let error = settings.apply_text(Path::new("x.toml"), "a = 1\nb = = 2\n").unwrap_err();
        assert!(error.to_string().starts_with("x.toml:2: "), "{error}");
    }

    #[test]
    fn the_entries_of_a_list_are_read_in_order_with_their_lines() {
        let mut settings = crate::settings::tests::sample();
        let text = "data = \"/srv\"\n[[table]]\nz = 1\na = [\"b\"]\n\n[[table]]\nz = 1.5\n";
        settings.apply_text(Path::new("forebay.toml"), text).unwrap();
        let [first, second] = settings.items("table") else { panic!("{settings:?}") };
        assert_eq!((&*first.place, &*second.place), ("forebay.toml:2", "forebay.toml:6"));
        assert_eq!(first.count("z", 1, 9, 2), Ok(1));
        assert_eq!(first.texts("a"), Ok(Some(vec!["b".to_owned()])));
        assert_eq!(second.count("a", 1, 9, 2), Ok(2));
        let refused = second.count("z", 1, 9, 2).unwrap_err().to_string();
        assert_eq!(refused, "forebay.toml:6: z must be a whole number from 1 to 9");
        let refused = first.only(&["zz", "a"]).unwrap_err().to_string();
        assert_eq!(
            refused,
            "forebay.toml:2: unknown key \"z\" of a [[table]]; did you mean \"zz\"?"
        );
    }

    #[test]
    fn a_list_that_is_written_otherwise_is_refused() {
        check(
            "table = 4\n",
            Err("forebay.toml: table must be written as [[table]], once for each"),
        );
    }
}
