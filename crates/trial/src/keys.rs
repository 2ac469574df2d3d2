//! The keys of tickets in `forebay.toml`.

use forebay::keys_of_line;
use settings::{Error, Section, Setting, Settings};

pub(crate) const PREFIX: &str = "tickets.";
pub(crate) const AMOUNT_MAX: &str = "tickets.amount_max";
const AMOUNT_TYPICAL: &str = "tickets.amount_typical";

pub(crate) const SECTION: Section = Section { check, ..Section::new(keys) };

fn keys() -> Vec<Setting> {
    let mut keys = keys_of_line(PREFIX, "journal:{data}/tickets").to_vec();
    keys.push(Setting::whole(AMOUNT_MAX, 1, 1_000_000, 100));
    keys.push(Setting::whole(AMOUNT_TYPICAL, 1, 1_000_000, 1));
    keys
}

/// Each value is within its bounds by now; what they are together is checked here.
fn check(settings: &Settings) -> Result<(), Error> {
    let [typical, most] = [AMOUNT_TYPICAL, AMOUNT_MAX].map(|key| settings.whole(key));
    if typical <= most {
        return Ok(());
    }
    let problem =
        format!("{AMOUNT_TYPICAL} is {typical}; it must be at most {AMOUNT_MAX}, which is {most}");
    Err(settings.blame(AMOUNT_TYPICAL, Error(problem)))
}
