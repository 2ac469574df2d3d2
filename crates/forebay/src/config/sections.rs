//! The sections of all domains, one line each.

use super::error::Error;
use super::payments;
use super::schema::{self, Setting};
use super::section::Section;
use super::settings::Settings;

const SECTIONS: &[Section] = &[payments::SECTION];

/// Every key there is, in the order they are shown in.
pub(super) fn keys() -> Vec<Setting> {
    let of_domains = SECTIONS.iter().flat_map(|section| (section.keys)());
    schema::general().into_iter().chain(of_domains).collect()
}

/// Checks the values of each domain.
///
/// # Errors
/// The first that does not fit.
pub(super) fn check(settings: &Settings) -> Result<(), Error> {
    SECTIONS.iter().try_for_each(|section| (section.check)(settings))
}
