//! The environment's layer: `FOREBAY_BUFFER`, `FOREBAY_HTTP_BIND`, `FOREBAY_ENGINE__BATCH_MAX`.
//!
//! Between a section and its key two underscores or one: `FOREBAY_HTTP__BIND` is
//! `FOREBAY_HTTP_BIND`.

use std::collections::BTreeMap;

use crate::{Error, Origin, Settings, service_links};

impl Settings {
    /// Applies every variable that begins with the program's name, but those that `skip` names.
    ///
    /// # Errors
    /// If one names no key, or holds no value of it, or two name the same.
    pub fn apply_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        skip: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let prefix = prefix(self.program.name);
        let flat: BTreeMap<String, String> = self
            .entries()
            .map(|entry| (flatten(&entry.setting.key), entry.setting.key.clone()))
            .collect();
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            if skip(&name) {
                continue;
            }
            let dotted = rest.to_lowercase().replace("__", ".");
            let key = flat.get(&flatten(&dotted)).unwrap_or(&dotted);
            if !flat.contains_key(&flatten(key)) && service_links::is_one(&name, &text) {
                continue;
            }
            let setting = self.find(key, "environment", &name, |key| spell(&prefix, key))?;
            if let Some(other) = seen.insert(setting.key.clone(), name.clone()) {
                let problem = format!("{other} and {name} both set {}; unset one", setting.key);
                return Err(Error(problem));
            }
            self.set_text(&setting.key, &text, Origin::Environment(name))?;
        }
        Ok(())
    }
}

/// What the variables of a program begin with.
fn prefix(program: &str) -> String {
    format!("{}_", program.to_uppercase())
}

/// How a key is spelled in the environment.
fn spell(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.replace('.', "__").to_uppercase())
}

fn flatten(key: &str) -> String {
    key.replace("__", "_").replace('.', "_")
}

#[cfg(test)]
mod tests {
    fn check(variables: &[(&str, &str)], expect: Result<(&str, &str), &str>) {
        let mut settings = crate::settings::tests::sample();
        let variables = variables.iter().map(|(name, text)| ((*name).into(), (*text).into()));
        let asked = |name: &str| matches!(name, "FOREBAY_LOG" | "FOREBAY_JOURNAL_KEY");
        match (settings.apply_environment(variables.collect::<Vec<_>>(), asked), expect) {
            (Ok(()), Ok((key, value))) => {
                assert_eq!(settings.entry(key).value.to_string(), value);
            }
            (Err(error), Err(expect)) => assert_eq!(error.to_string(), expect),
            (got, expect) => panic!("got {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn sections_are_parted_by_two_underscores_or_one() {
        check(&[("FOREBAY_HTTP_BIND", "[::1]:1")], Ok(("http.bind", "[::1]:1")));
        check(&[("FOREBAY_HTTP__BIND", "[::1]:1")], Ok(("http.bind", "[::1]:1")));
        check(&[("FOREBAY_ENGINE__BATCH_MAX", "9")], Ok(("engine.batch_max", "9")));
        check(&[("FOREBAY_DATA", "/tmp/x"), ("OTHER", "")], Ok(("data", "/tmp/x")));
        check(&[("FOREBAY_LOG", "debug")], Ok(("data", "./data")));
        check(&[("FOREBAY_JOURNAL_KEY", "x")], Ok(("data", "./data")));
    }

    #[test]
    fn variables_that_kubernetes_makes_of_a_service_are_no_settings() {
        let service = [
            ("FOREBAY_SERVICE_HOST", "10.0.0.7"),
            ("FOREBAY_SERVICE_PORT", "8080"),
            ("FOREBAY_PORT", "tcp://10.0.0.7:8080"),
            ("FOREBAY_PORT_8080_TCP", "tcp://10.0.0.7:8080"),
            ("FOREBAY_PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("FOREBAY_DATA", "/tmp/x"),
        ];
        check(&service, Ok(("data", "/tmp/x")));
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest() {
        let expect = "environment: unknown key FOREBAY_ENGINE__LANE; \
                      did you mean FOREBAY_ENGINE__LANES?";
        check(&[("FOREBAY_ENGINE__LANE", "4")], Err(expect));
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_the_key_what_came_and_what_is_right() {
        let expect = "env FOREBAY_CARDS__STORE: cards.store is \"open\"; \
                      it must be \"masked\" or \"clear\"";
        check(&[("FOREBAY_CARDS__STORE", "open")], Err(expect));
    }

    #[test]
    fn two_spellings_of_one_key_are_refused() {
        let expect = "FOREBAY_HTTP_BIND and FOREBAY_HTTP__BIND both set http.bind; unset one";
        check(&[("FOREBAY_HTTP_BIND", "a"), ("FOREBAY_HTTP__BIND", "b")], Err(expect));
    }
}
