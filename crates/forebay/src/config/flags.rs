//! The flags' layer.

use std::path::PathBuf;

use settings::{Error, Origin, Settings};

/// Flags that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Flags {
    /// Read this file instead of ./forebay.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Set any key, e.g. --set engine.lanes=4 (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub(crate) set: Vec<String>,
    /// Where data lives [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<String>,
    /// Which buffer, e.g. journal:./data/buffer?sync=os
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) buffer: Option<String>,
    /// Which store, e.g. sqlite:./data/forebay.db
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) store: Option<String>,
    /// Look at the buffer of this [[table]] (advise, buffer, dead, monitor)
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) table: Option<String>,
    /// Look at the buffer of this pipeline (advise, buffer, dead, monitor)
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "table")]
    pub(crate) pipeline: Option<String>,
    /// Listen here: a flag of `serve` alone.
    #[arg(skip)]
    pub(crate) bind: Option<String>,
}

impl Flags {
    /// The same, with the name of the file that is read now: it is an error where it is missing later.
    pub(crate) fn pinned(self, settings: &Settings) -> Self {
        Self { config: settings.file(self.config.as_deref()), ..self }
    }

    /// Applies `--set` in order, then the flags that have a name of their own.
    ///
    /// # Errors
    /// If one names no key, or holds no value of it.
    pub(super) fn apply(&self, settings: &mut Settings) -> Result<(), Error> {
        settings.set_pairs("--set", &self.set)?;
        let named = [
            ("data", "--data", &self.data),
            ("buffer", "--buffer", &self.buffer),
            ("store", "--store", &self.store),
            ("http.bind", "--bind", &self.bind),
        ];
        for (key, flag, text) in named {
            if let Some(text) = text {
                settings.set_text(key, text, Origin::Flag(flag.to_owned()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_everything_and_the_last_set_wins() {
        let mut settings = super::super::layers::defaults([]);
        let flags = Flags {
            set: vec!["engine.lanes=2".into(), "engine.lanes = 3".into(), "data=a".into()],
            data: Some("b".into()),
            ..Flags::default()
        };
        flags.apply(&mut settings).unwrap();
        let lanes = settings.entry("engine.lanes");
        assert_eq!(
            (lanes.value.to_string(), lanes.origin.to_string()),
            ("3".into(), "flag --set".into())
        );
        let data = settings.entry("data");
        assert_eq!(
            (data.value.to_string(), data.origin.to_string()),
            ("b".into(), "flag --data".into())
        );
    }
}
