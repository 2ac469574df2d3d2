//! Settings that were read again while a program runs, held against those that it runs with.

use crate::{Entry, Settings};

impl Settings {
    /// The keys that `new` has with other values, in the order of the sections. Lists are no keys.
    #[must_use]
    pub fn differing(&self, new: &Self) -> Vec<String> {
        let is_other = |entry: &&Entry| self.entry(&entry.setting.key).value != entry.value;
        new.entries().filter(is_other).map(|entry| entry.setting.key.clone()).collect()
    }

    /// The same settings, with the lists of `new` and the variables that these name.
    #[must_use]
    pub fn with_lists_of(&self, new: &Self) -> Self {
        let mut both = Self { lists: new.lists.clone(), ..self.clone() };
        both.asked.0.extend(new.asked.0.clone());
        both
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::tests::sample;

    fn settings(text: &str) -> Settings {
        let mut settings = sample();
        settings.apply_text(Path::new("forebay.toml"), text).unwrap();
        settings
    }

    #[test]
    fn keys_with_other_values_are_named_wherever_they_are_set() {
        let before = settings("[engine]\nlanes = 3\nbatch_max = 9\n[[table]]\nz = 1\n");
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(before.differing(&settings(text)), expect, "{text}");
        };
        check("\n[engine]\nbatch_max = 9\nlanes = 3\n[[table]]\nz = 2\n", &[]);
        check("data = \"x\"\n[engine]\nlanes = 4\nbatch_max = 9\n", &["data", "engine.lanes"]);
        check("", &["engine.lanes", "engine.batch_max"]);
        assert_eq!(sample().differing(&settings("[engine]\nlanes = 2\n")), [""; 0], "its default");
    }

    #[test]
    fn only_lists_are_taken_over() {
        let (before, new) =
            (settings("data = \"a\"\n"), settings("data = \"b\"\n[[table]]\nz = 1\n"));
        let both = before.with_lists_of(&new);
        assert_eq!((both.text("data"), both.items("table").len()), ("a".to_owned(), 1));
    }
}
