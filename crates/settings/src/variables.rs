//! `${NAME}` in texts of entries stands for an environment variable, so that no secret has to be in the file.

use crate::{Given, Settings};

/// What a name of a variable stands between.
const BEGIN: &str = "${";
const END: char = '}';

impl Settings {
    /// The variables that texts of entries name.
    #[must_use]
    pub fn named_variables(&self) -> Vec<String> {
        let items = self.lists.values().flatten();
        let texts = items.flat_map(|item| item.values().filter_map(Given::text));
        texts.flat_map(|text| split(text).1).map(|(name, _)| name.to_owned()).collect()
    }

    /// `text` with each variable that it names filled in, as [`Settings::keep`] has it.
    ///
    /// # Errors
    /// A clause that names the variable that is not set, or is empty.
    pub fn with_variables(&self, text: &str) -> Result<String, String> {
        let (mut filled, parts) = {
            let (first, parts) = split(text);
            (first.to_owned(), parts)
        };
        let variable = self.variable();
        for (name, rest) in parts {
            let value = variable(name).filter(|value| !value.is_empty());
            let value = value
                .ok_or_else(|| format!("the environment variable {name} is not set; set it"))?;
            filled += &value;
            filled += rest;
        }
        Ok(filled)
    }
}

/// What stands before the first variable; each variable, with what follows it.
fn split(text: &str) -> (&str, Vec<(&str, &str)>) {
    let mut parts = text.split(BEGIN);
    let first = parts.next().unwrap_or_default();
    let all: Option<Vec<_>> = parts.map(|part| part.split_once(END)).collect();
    // One that does not end is text.
    all.map_or((text, Vec::new()), |all| (first, all))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::settings::tests::sample;

    #[test]
    fn variables_of_entries_are_named_and_filled_in() {
        let mut settings = sample();
        let text = "[[table]]\nurl = \"https://h/${PATH_OF}?t=${TOKEN}\"\nz = \"${\"\n";
        settings.apply_text(Path::new("forebay.toml"), text).unwrap();
        assert_eq!(settings.named_variables(), ["PATH_OF", "TOKEN"]);
        settings.keep([("TOKEN".to_owned(), "s3cret".to_owned())]);
        assert_eq!(settings.with_variables("a${TOKEN}b").unwrap(), "as3cretb");
        assert_eq!(settings.with_variables("plain ${").unwrap(), "plain ${");
        let missing = settings.with_variables("${PATH_OF}").unwrap_err();
        assert_eq!(missing, "the environment variable PATH_OF is not set; set it");
    }
}
