//! The name of the pipeline of vouchers, and its keys in `forebay.toml`.

use forebay::keys_of_line;
use settings::Setting;

pub(super) const PIPELINE: &str = "vouchers";
pub(super) const PREFIX: &str = "vouchers.";
/// The service that pays.
pub(super) const URL: &str = "vouchers.url";
/// What the limit of calls under way never falls below.
pub(super) const CALLS_MIN: &str = "vouchers.calls_min";
pub(super) const CALLS_MAX: &str = "vouchers.calls_max";
pub(super) const TIMEOUT_MS: &str = "vouchers.timeout_ms";

pub(super) fn keys() -> Vec<Setting> {
    let mut keys = keys_of_line(PREFIX, "journal:{data}/vouchers").to_vec();
    keys.push(Setting::text(URL, ""));
    keys.push(Setting::whole(CALLS_MIN, 1, 10_000, 1));
    keys.push(Setting::whole(CALLS_MAX, 1, 10_000, 100));
    keys.push(Setting::whole(TIMEOUT_MS, 1, 3_600_000, 5_000));
    keys
}
