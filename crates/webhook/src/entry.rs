//! `[[webhook]]`: the keys of a webhook. They are in the file alone.

use std::fmt;
use std::time::Duration;

use buffer::foreign::Fields;
use guard::{BreakerOptions, BudgetOptions, LimitOptions, Pace};
use http::Uri;
use notify::{Secret, Signer};
use settings::{Error, Item, Section, Settings, Shown, Value, check_name};

/// The list of the file that the entries are in.
pub const LIST: &str = "webhook";
/// What the settings know of webhooks.
pub const SECTION: Section = Section {
    lists: &[LIST],
    check: |settings| read(settings).map(drop),
    shown: |settings| Ok(read(settings)?.iter().flat_map(|entry| entry.shown(settings)).collect()),
    ..Section::new(Vec::new)
};

/// Attempts that an event may have in one process.
pub(crate) const ATTEMPTS_MAX: u32 = 10_000;
/// How much longer the engine waits than the sender, in milliseconds: the sender knows the cause.
const MARGIN_MS: u64 = 100;
/// Deliveries under way before it is known what the receiver can take.
const FIRST_MAX: u32 = 20;
/// Events held for each delivery under way: those of keys that wait hold up no others.
const HELD_FOR_A_CALL: usize = 8;

const CALLS_MAX: i64 = 100;
const TIMEOUT_MS: i64 = 5_000;
const RATE_PER_S_MAX: i64 = 1_000_000;
const BACKOFF_MIN_MS: i64 = 1_000;
const BACKOFF_MAX_MS: i64 = 300_000;
const GIVE_UP_H: i64 = 24;
const HOUR_MS: i64 = 3_600_000;
const YEAR_H: i64 = 8_760;
/// All keys of an entry.
const KEYS: [&str; 14] = [
    "name",
    "url",
    "secret",
    "buffer",
    "next_buffer",
    "spill",
    "id_field",
    "key_field",
    "calls_max",
    "timeout_ms",
    "rate_per_s",
    "backoff_min_ms",
    "backoff_max_ms",
    "give_up_h",
];

/// One entry as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `forebay.toml:12`.
    pub place: String,
    /// What it is called in paths, metrics and folders.
    pub name: String,
    url: Hidden,
    secret: Option<Hidden>,
    /// The URL of its buffer; a journal of its own where there is none.
    pub buffer: Option<String>,
    /// The URL of the buffer that it moves to.
    pub next_buffer: Option<String>,
    /// The URL of the buffer that takes events while its buffer is out of reach.
    pub spill: Option<String>,
    /// The fields of an event that are its id and its key.
    pub fields: Fields,
    /// Deliveries under way at once.
    pub calls_max: usize,
    /// How long one delivery may take, in milliseconds.
    pub timeout_ms: u64,
    /// Deliveries that may begin in a second, in all live processes together; 0 bounds none.
    pub rate_per_s: u32,
    /// The most that the first retry waits, in milliseconds; doubled for each further one, with full jitter.
    pub backoff_min_ms: u64,
    /// The most that any retry waits, in milliseconds.
    pub backoff_max_ms: u64,
    /// How old an event may become, in hours. After this it becomes a dead letter at its next failure.
    pub give_up_h: u64,
}

/// Text that may hold a secret: never displayed.
#[derive(Clone, PartialEq, Eq)]
struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// Reads every entry.
///
/// # Errors
/// The first mistake, with the line of its entry.
pub fn read(settings: &Settings) -> Result<Vec<Entry>, Error> {
    let mut read: Vec<Entry> = Vec::new();
    for item in settings.items(LIST) {
        let entry = entry(item)?;
        if read.iter().any(|other| other.name == entry.name) {
            let problem = format!("there is a webhook {} already; rename it", entry.name);
            return Err(item.wrong(problem));
        }
        read.push(entry);
    }
    Ok(read)
}

impl Entry {
    /// The URL of its buffer.
    #[must_use]
    pub fn buffer_url(&self) -> String {
        let default = || format!("journal:{{data}}/webhooks/{}", self.name);
        self.buffer.clone().unwrap_or_else(default)
    }

    /// Where events are POSTed to, with the environment variables that it names.
    ///
    /// # Errors
    /// If a variable is not set, or what comes out is no such URL. No part of it is shown.
    pub fn url(&self, settings: &Settings) -> Result<Uri, Error> {
        let url = settings.with_variables(&self.url.0).and_then(|url| target(&url));
        url.map_err(|problem| self.wrong("url", &problem))
    }

    /// What signs deliveries, if it has a secret.
    ///
    /// # Errors
    /// If a variable is not set, or what comes out is no secret. No part of it is shown.
    pub fn signer(&self, settings: &Settings) -> Result<Option<Signer>, Error> {
        let Some(Hidden(written)) = &self.secret else { return Ok(None) };
        let secret = settings.with_variables(written).and_then(|text| Secret::parse(&text));
        secret.map(|secret| Some(Signer::new(secret))).map_err(|why| self.wrong("secret", &why))
    }

    /// How long one delivery may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How old an event may become.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        Duration::from_secs(self.give_up_h * 3_600)
    }

    /// The bounds of the engine, where `shared` is what all pipelines have.
    ///
    /// # Errors
    /// If one delivery may take longer than a lease or a drain.
    pub fn engine(&self, shared: engine::Options) -> Result<engine::Options, engine::Error> {
        let shorter = shared.lease_ms.min(shared.drain_timeout_ms);
        let most = shorter.saturating_sub(MARGIN_MS + 1);
        if self.timeout_ms > most {
            let problem = format!(
                "must be less than the buffer's lease and engine.drain_timeout_ms: 1 to {most}, not {}",
                self.timeout_ms
            );
            return Err(engine::Error::Option { field: "timeout_ms", problem });
        }
        let held_max = shared.held_max.max(self.calls_max * HELD_FOR_A_CALL);
        Ok(engine::Options { held_max, ..shared })
    }

    /// The bounds of its calls.
    #[must_use]
    pub fn calls(&self) -> engine::calls::Options {
        engine::calls::Options {
            calls_max: self.calls_max,
            timeout_ms: self.timeout_ms + MARGIN_MS,
            attempts_max: ATTEMPTS_MAX,
            backoff_min_ms: self.backoff_min_ms,
            backoff_max_ms: self.backoff_max_ms,
        }
    }

    /// How the receiver is guarded.
    #[must_use]
    pub fn guard(&self) -> guard::Options {
        let max = u32::try_from(self.calls_max).unwrap_or(u32::MAX);
        let pace = match self.rate_per_s {
            0 => Pace { per_1000_s: u64::MAX, burst: u32::MAX },
            // No more begin at once than in a tenth of a second.
            rate => Pace::per_second(rate, rate.div_ceil(10)),
        };
        guard::Options {
            pace,
            limit: LimitOptions { min: 1, max, start: max.min(FIRST_MAX) },
            breaker: BreakerOptions { probe_timeout: self.timeout(), ..BreakerOptions::default() },
            // After an outage all that was under way has failed once: a tenth of it may be retried in a second.
            budget: BudgetOptions {
                saved_max: max,
                floor_per_1000_s: u64::from(max) * 100,
                ..BudgetOptions::default()
            },
        }
    }

    fn wrong(&self, key: &str, problem: &str) -> Error {
        Error(format!("{}: {key}: {problem}", self.place))
    }

    /// What is shown of it: key, value, where it says so.
    fn shown(&self, settings: &Settings) -> Vec<Shown> {
        let url = |url: Option<&str>| {
            let filled = settings.filled(url.unwrap_or("none"));
            Value::Text(model::url::redacted(&filled))
        };
        let number = |number: u64| Value::Whole(i64::try_from(number).unwrap_or(i64::MAX));
        let secret = if self.secret.is_some() { "***" } else { "none" };
        let shown = [
            ("url", Value::Text(self.shown_url())),
            ("secret", Value::Text(secret.to_owned())),
            ("buffer", url(Some(&self.buffer_url()))),
            ("next_buffer", url(self.next_buffer.as_deref())),
            ("spill", url(self.spill.as_deref())),
            ("id_field", Value::Text(self.fields.id.clone())),
            ("key_field", Value::Text(self.fields.key.clone())),
            ("calls_max", number(self.calls_max as u64)),
            ("timeout_ms", number(self.timeout_ms)),
            ("rate_per_s", number(self.rate_per_s.into())),
            ("backoff_min_ms", number(self.backoff_min_ms)),
            ("backoff_max_ms", number(self.backoff_max_ms)),
            ("give_up_h", number(self.give_up_h)),
        ];
        let line = |(key, value)| Shown {
            key: format!("{LIST}.{}.{key}", self.name),
            value,
            from: self.place.clone(),
        };
        shown.into_iter().map(line).collect()
    }

    /// The URL as the file has it, without its query, which may be a secret.
    #[must_use]
    pub fn shown_url(&self) -> String {
        match self.url.0.split_once('?') {
            Some((place, _)) => format!("{place}?***"),
            None => self.url.0.clone(),
        }
    }
}

/// Reads one entry.
fn entry(item: &Item) -> Result<Entry, Error> {
    item.only(&KEYS)?;
    let name = item.needed("name", "\"orders\"")?;
    check_name(&name).map_err(|problem| item.wrong(problem))?;
    let url = item.needed("url", "\"https://shop.example/hooks\"")?;
    let secret = item.text("secret")?;
    // What names a variable is checked once it is filled in.
    let is_whole = |text: &str| !text.contains("${");
    if is_whole(&url) {
        target(&url).map_err(|problem| item.wrong(format!("url: {problem}")))?;
    }
    if let Some(secret) = secret.as_deref().filter(|secret| is_whole(secret)) {
        Secret::parse(secret).map_err(|problem| item.wrong(format!("secret: {problem}")))?;
    }
    let field = |key: &str, default: &str| {
        Ok::<_, Error>(item.text(key)?.unwrap_or_else(|| default.to_owned()))
    };
    let millis = |key, max, default| item.count(key, 1, max, default).map(|ms| ms as u64);
    let entry = Entry {
        place: item.place.clone(),
        name,
        url: Hidden(url),
        secret: secret.map(Hidden),
        buffer: item.text("buffer")?,
        next_buffer: item.text("next_buffer")?,
        spill: item.text("spill")?,
        fields: Fields::named(&field("id_field", "id")?, &field("key_field", "key")?),
        calls_max: item.count("calls_max", 1, 10_000, CALLS_MAX)?,
        timeout_ms: millis("timeout_ms", HOUR_MS, TIMEOUT_MS)?,
        rate_per_s: u32::try_from(item.count("rate_per_s", 0, RATE_PER_S_MAX, 0)?)
            .expect("it is at most a million"),
        backoff_min_ms: millis("backoff_min_ms", 24 * HOUR_MS, BACKOFF_MIN_MS)?,
        backoff_max_ms: millis("backoff_max_ms", 24 * HOUR_MS, BACKOFF_MAX_MS)?,
        give_up_h: millis("give_up_h", YEAR_H, GIVE_UP_H)?,
    };
    if entry.backoff_min_ms > entry.backoff_max_ms {
        let (min, max) = (entry.backoff_min_ms, entry.backoff_max_ms);
        let problem = format!("backoff_max_ms must be at least backoff_min_ms, {min}, not {max}");
        return Err(item.wrong(problem));
    }
    Ok(entry)
}

/// Reads the URL of a receiver.
fn target(url: &str) -> Result<Uri, String> {
    let right = "must be http://HOST/PATH or https://HOST/PATH";
    let url: Uri = url.trim().parse().map_err(|_| right.to_owned())?;
    if let Some(why) = notify::unusable(&url) {
        return Err(format!("{right}; {why}"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(format!("{right}, without a user; sign with secret instead"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use settings::{Program, Setting};

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const GOOD: &str =
        "\n[[webhook]]\nname = \"orders\"\nurl = \"https://shop.example/hooks?t=S3CRET\"\n";

    fn settings(text: &str) -> Settings {
        let program = Program { name: "forebay", folder: "data" };
        let data = || vec![Setting::text("data", "./data")];
        let mut settings = Settings::new(program, vec![Section::new(data), SECTION]);
        settings.apply_text(Path::new("forebay.toml"), text).unwrap();
        settings
    }

    fn check(line: &str, expect: &str) {
        let error = read(&settings(&format!("{GOOD}{line}\n"))).unwrap_err().to_string();
        assert!(error.starts_with("forebay.toml:2: ") && error.contains(expect), "{error}");
        assert!(!error.contains("S3CRET"), "{error}");
    }

    fn check_url(url: &str, expect: &str) {
        let text = GOOD.replace("https://shop.example/hooks?t=S3CRET", url);
        let error = read(&settings(&text)).unwrap_err().to_string();
        assert!(error.contains("forebay.toml:2: url: must be http") && error.contains(expect));
        assert!(!error.contains("S3CRET"), "{error}");
    }

    #[test]
    fn an_entry_is_read_and_what_it_leaves_out_has_its_default() {
        let settings = settings(GOOD);
        let entry = read(&settings).unwrap().remove(0);
        assert_eq!(entry.buffer_url(), "journal:{data}/webhooks/orders");
        assert_eq!(entry.fields, Fields::named("id", "key"));
        assert_eq!((entry.calls_max, entry.timeout_ms, entry.rate_per_s), (100, 5_000, 0));
        assert_eq!((entry.backoff_min_ms, entry.backoff_max_ms), (1_000, 300_000));
        assert_eq!(entry.give_up(), Duration::from_secs(86_400));
        assert_eq!(entry.url(&settings).unwrap(), "https://shop.example/hooks?t=S3CRET");
        assert!(entry.signer(&settings).unwrap().is_none());
        let shown = format!("{entry:?} {:?}", settings.all_shown().unwrap());
        assert!(!shown.contains("S3CRET"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named_with_the_line_of_the_entry_and_without_a_secret() {
        check("secret = \"S3CRET\"", "secret: must be whsec_ followed by 24 to 64 bytes");
        check("calls_max = 10001", "calls_max must be a whole number from 1 to 10000");
        check("timeout_ms = 0", "timeout_ms must be a whole number from 1");
        check("give_up_h = 0", "give_up_h must be a whole number from 1");
        check("rate_per_s = -1", "rate_per_s must be a whole number from 0");
        check("backoff_max_ms = 10", "backoff_max_ms must be at least backoff_min_ms, 1000");
        check("calls_mx = 1", "did you mean \"calls_max\"?");
        check_url("ftp://h/S3CRET", "");
        check_url("shop.example", "");
        check_url("https:///x?S3CRET", "");
        check_url("https://me:S3CRET@h/x", "without a user");
        check_url("http://127.0.0.1:99999/S3CRET", "the port of the address is not 1 to 65535");
        let twice = read(&settings(&format!("{GOOD}{GOOD}"))).unwrap_err().to_string();
        assert!(twice.contains("there is a webhook orders already"), "{twice}");
        let text = GOOD.replace("\"orders\"", "\"Orders\"");
        let error = read(&settings(&text)).unwrap_err().to_string();
        assert!(error.contains("name: must be 1 to 63 of a-z"), "{error}");
    }

    #[test]
    fn a_secret_comes_from_the_environment_and_is_never_shown() {
        let mut settings = settings(&format!("{GOOD}secret = \"${{ORDERS_SECRET}}\"\n"));
        let entry = read(&settings).unwrap().remove(0);
        assert_eq!(settings.named_variables(), ["ORDERS_SECRET"]);
        let missing = entry.signer(&settings).unwrap_err().to_string();
        let expect =
            "forebay.toml:2: secret: the environment variable ORDERS_SECRET is not set; set it";
        assert_eq!(missing, expect);
        settings.keep([("ORDERS_SECRET".to_owned(), "S3CRET".to_owned())]);
        let wrong = entry.signer(&settings).unwrap_err().to_string();
        assert!(wrong.contains("must be whsec_") && !wrong.contains("S3CRET"), "{wrong}");
        settings.keep([("ORDERS_SECRET".to_owned(), SECRET.to_owned())]);
        let signer = entry.signer(&settings).unwrap().unwrap();
        let shown = format!("{signer:?} {settings:?} {:?}", settings.all_shown().unwrap());
        assert!(!shown.contains(&SECRET[6..]), "{shown}");
    }

    #[test]
    fn a_delivery_is_shorter_than_a_lease_and_a_drain() {
        let entry =
            |ms: u64| read(&settings(&format!("{GOOD}timeout_ms = {ms}\n"))).unwrap().remove(0);
        let shared =
            engine::Options { lease_ms: 30_000, drain_timeout_ms: 10_000, ..Default::default() };
        assert!(entry(9_899).engine(shared.clone()).is_ok());
        let error = entry(9_900).engine(shared.clone()).unwrap_err().to_string();
        assert!(error.contains("timeout_ms: must be less than") && error.contains("1 to 9899"));
        let many = Entry { calls_max: 10_000, ..entry(1) };
        assert_eq!(many.engine(shared).unwrap().held_max, 80_000);
    }
}
