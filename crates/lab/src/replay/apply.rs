//! A record through a map: a payment's event, or the reason why not.

use std::borrow::Cow;

use model::clock::EpochMs;
use model::payment::{Reject, Tier};
use model::{Event, Payment};

use super::decimal::Decimal;
use super::map::{self, Map, TEXTS, Time};

/// Applies a map, with room for the texts of one record.
pub(super) struct Apply<'m> {
    map: &'m Map,
    texts: [String; TEXTS],
    text: String,
    json: Vec<u8>,
}

impl<'m> Apply<'m> {
    pub(super) fn new(map: &'m Map) -> Self {
        Self { map, texts: Default::default(), text: String::new(), json: Vec::new() }
    }

    /// The event of a record whose columns `value` gives.
    pub(super) fn event<'v>(
        &mut self,
        value: impl Fn(&str) -> Result<Cow<'v, str>, String>,
        now_ms: EpochMs,
    ) -> Result<Event, Reject> {
        for (index, (text, template)) in self.texts.iter_mut().zip(&self.map.texts).enumerate() {
            text.clear();
            template
                .fill(&value, text)
                .map_err(|problem| reject(map::text_field(index), problem))?;
        }
        self.text.clear();
        let filled = self.map.amount.fill(&value, &mut self.text);
        let amount = filled.and_then(|()| amount(self.text.trim(), self.map.scale));
        let amount = amount.map_err(|problem| reject("amount", problem))?;
        self.text.clear();
        let filled = self.map.created_at.fill(&value, &mut self.text);
        let created_at_ms = filled.and_then(|()| time(self.text.trim(), &self.map.time));
        let created_at_ms = created_at_ms.map_err(|problem| reject("created_at", problem))?;
        let [tx_id, card_number, user_id, tier, merchant, category] = &self.texts;
        let payment = Payment {
            tx_id: Cow::Borrowed(tx_id),
            card_number: Cow::Borrowed(card_number),
            user_id: Cow::Borrowed(user_id),
            tier: Tier::named(tier)
                .ok_or_else(|| reject("tier", "must be vip, premium or normal".to_owned()))?,
            amount,
            merchant: Cow::Borrowed(merchant),
            category: Cow::Borrowed(category),
            created_at_ms,
        };
        self.json.clear();
        payment.to_json(&mut self.json);
        // Read back, because what a payment may be is judged in one place.
        Payment::to_event(&self.json, now_ms)
    }
}

fn reject(field: &'static str, problem: String) -> Reject {
    Reject { field, problem }
}

fn amount(text: &str, scale: Option<Decimal>) -> Result<i64, String> {
    let amount = Decimal::parse(text).ok_or("must be a decimal number of at most 19 digits")?;
    if scale.is_none() && !amount.is_whole() {
        return Err("has decimals, but the map gives amount no scale".to_owned());
    }
    let scaled = amount.times(scale.unwrap_or(Decimal::ONE)).round();
    scaled.ok_or_else(|| "is past 64 bits once scaled".to_owned())
}

fn time(text: &str, time: &Time) -> Result<EpochMs, String> {
    let whole = |scale: &str| {
        let scale = Decimal::parse(scale)?;
        Decimal::parse(text)?.times(scale).round()
    };
    match time {
        Time::Rfc3339 => text
            .parse::<jiff::Timestamp>()
            .map(jiff::Timestamp::as_millisecond)
            .map_err(|_| "must be RFC 3339, like 2018-04-01T00:00:31+09:00".to_owned()),
        // A civil time is read past its offset, and would then be taken for one of the map's zone.
        Time::Local(_) if has_zone(text) => {
            let problem = "has a time zone of its own, which the map's format local ignores; use \
                           format = \"rfc3339\", or leave the zone out";
            Err(problem.to_owned())
        }
        Time::Local(zone) => text
            .parse::<jiff::civil::DateTime>()
            .and_then(|local| local.to_zoned(zone.clone()))
            .map(|zoned| zoned.timestamp().as_millisecond())
            .map_err(|_| "must be a date and time, like 2018-04-01T00:00:31".to_owned()),
        Time::EpochS => whole("1000").ok_or_else(|| "must be epoch seconds".to_owned()),
        Time::EpochMs => whole("1").ok_or_else(|| "must be epoch milliseconds".to_owned()),
    }
}

/// Whether a date and time ends in `Z`, an offset, or the name of a zone.
fn has_zone(text: &str) -> bool {
    let time = text.find(['T', 't', ' ']).map_or("", |at| &text[at + 1..]);
    text.contains(['[', '+']) || text.ends_with(['Z', 'z']) || time.contains(['-', '\u{2212}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: EpochMs = 1_772_420_400_000;

    fn check(map: &str, columns: &[(&str, &str)]) -> Result<String, String> {
        let base = "tx_id = { column = \"id\" }
            card_number = { template = \"400000{id:010}\" }
            user_id = { constant = \"u\" }
            merchant = { constant = \"m\" }
            category = { constant = \"c\" }\n";
        let tier = if map.contains("tier") { "" } else { "tier = { constant = \"normal\" }\n" };
        let map = Map::parse(&format!("{base}{tier}{map}")).unwrap();
        let value = |name: &str| {
            let found = columns.iter().find(|(column, _)| *column == name);
            found.map(|(_, value)| Cow::Borrowed(*value)).ok_or_else(|| format!("no {name}"))
        };
        let event = Apply::new(&map).event(value, NOW_MS).map_err(|reject| reject.to_string())?;
        Ok(String::from_utf8(event.payload().to_vec()).unwrap())
    }

    #[test]
    fn a_record_becomes_a_payment() {
        let json = check(
            "amount = { column = \"amount\", scale = 1000 }
             created_at = { column = \"at\", format = \"local\", time_zone = \"Asia/Seoul\" }",
            &[("id", "7"), ("amount", "57.16"), ("at", "2018-04-01T00:00:31")],
        );
        let payment = json.unwrap();
        let payment = Payment::parse(payment.as_bytes(), NOW_MS).unwrap();
        assert_eq!(payment.card_number, "4000000000000007");
        assert_eq!((payment.amount, payment.created_at_ms), (57_160, 1_522_508_431_000));
    }

    #[test]
    fn the_four_ways_to_write_a_time_mean_the_same() {
        let at = |format: &str, text: &str| {
            let map = format!("created_at = {{ column = \"at\", {format} }}");
            check(&map, &[("id", "7"), ("amount", "1"), ("at", text)]).unwrap()
        };
        let expected = at("format = \"rfc3339\"", "2018-04-01T00:00:31+09:00");
        let seoul = "format = \"local\", time_zone = \"Asia/Seoul\"";
        assert_eq!(at(seoul, "2018-04-01 00:00:31"), expected);
        assert_eq!(at("format = \"epoch_s\"", "1522508431"), expected);
        assert_eq!(at("format = \"epoch_s\"", "1522508431.000"), expected);
        assert_eq!(at("format = \"epoch_ms\"", "1522508431000"), expected);
    }

    #[test]
    fn a_local_time_with_an_offset_is_refused_not_read_in_the_zone() {
        let seoul =
            "created_at = { column = \"at\", format = \"local\", time_zone = \"Asia/Seoul\" }";
        for at in [
            "2018-04-01T00:00:31+00:00",
            "2018-04-01T00:00:31-0930",
            "2018-04-01 00:00:31.5+09",
            "2018-04-01T00:00:31Z",
            "2018-04-01T00:00:31z",
            "2018-04-01T00:00:31[Asia/Seoul]",
            "2018-04-01T00:00:31+09:00[Asia/Seoul]",
        ] {
            let problem = check(seoul, &[("id", "7"), ("amount", "1"), ("at", at)]).unwrap_err();
            assert!(problem.starts_with("created_at: has a time zone"), "{at}: {problem}");
            assert!(problem.contains("rfc3339") && !problem.contains("2018"), "{at}: {problem}");
        }
        for at in
            ["2018-04-01T00:00:31", "2018-04-01 00:00:31.000", "2018-04-01 00:00", "2018-04-01"]
        {
            assert!(check(seoul, &[("id", "7"), ("amount", "1"), ("at", at)]).is_ok(), "{at}");
        }
    }

    #[test]
    fn amounts_of_up_to_19_digits_are_exact() {
        let amount = |map: &str, amount: &str| {
            check(map, &[("id", "7"), ("amount", amount), ("created_at", "2018-04-01T00:00:31Z")])
        };
        let max = amount("", "9223372036854775807").unwrap();
        assert!(max.contains("\"amount\":9223372036854775807"), "{max}");
        assert!(amount("", "1000000000000000000").is_ok());
        assert!(amount("", "9223372036854775808").unwrap_err().contains("past 64 bits"));
        let cents = "amount = { column = \"amount\", scale = 100 }";
        let scaled = amount(cents, "12345678901234567.89").unwrap();
        assert!(scaled.contains("\"amount\":1234567890123456789"), "{scaled}");
        assert!(amount(cents, "123456789012345678.90").unwrap_err().contains("past 64 bits"));
    }

    #[test]
    fn every_refusal_names_its_field() {
        let check = |map: &str, amount: &str, at: &str, expected: &str| {
            let columns = [("id", "7"), ("amount", amount), ("created_at", at)];
            let problem = check(map, &columns).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        };
        let at = "2018-04-01T00:00:31Z";
        check("", "57.16", at, "amount: has decimals");
        check("", "many", at, "amount: must be a decimal");
        check("", "-1", at, "amount: ");
        check(
            "amount = { column = \"amount\", scale = 100000000000 }",
            "999999999999",
            at,
            "amount: is past",
        );
        check("", "1", "yesterday", "created_at: must be RFC 3339");
        check("", "1", "1970-01-01T00:00:00Z", "created_at: ");
        check("tier = { constant = \"gold\" }", "1", at, "tier: must be vip");
    }

    #[test]
    fn a_refusal_never_repeats_a_value() {
        let columns = [("id", "4000001234567890"), ("amount", "1"), ("created_at", "x")];
        let problem = check("", &columns).unwrap_err();
        assert!(!problem.contains("4000001234567890"), "{problem}");
    }
}
