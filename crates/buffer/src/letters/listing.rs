//! Letters as lines for a person, and as JSON for a script.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use model::mask;
use model::terminal::escaped;
use model::units::time;
use serde_json::{Value, json};

use super::chosen::{Unknown, find};
use crate::DeadLetter;
use crate::backend::Report;

/// How many letters a group names.
const EXAMPLES_MAX: usize = 3;

/// What a letter is called.
pub type Name<'a> = &'a dyn Fn(&DeadLetter) -> String;

/// Letters, and what they are called.
pub struct Listing<'a> {
    letters: &'a [DeadLetter],
    name: Name<'a>,
}

impl<'a> Listing<'a> {
    /// Lists `letters` by their `name`.
    #[must_use]
    pub fn new(letters: &'a [DeadLetter], name: Name<'a>) -> Self {
        Self { letters, name }
    }

    /// How many letters there are for each reason, the most frequent first, with the first three of each.
    #[must_use]
    pub fn groups(&self) -> Report {
        let mut groups: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
        for letter in self.letters {
            groups.entry(&letter.reason).or_default().push(letter);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, letters)| Reverse(letters.len()));
        let mut lines = Vec::new();
        let mut json = Vec::new();
        for (reason, letters) in &groups {
            let first = &letters[..letters.len().min(EXAMPLES_MAX)];
            let ids: Vec<_> = first.iter().map(|letter| (self.name)(letter)).collect();
            let seqs: Vec<_> = first.iter().map(|letter| letter.seq).collect();
            let examples: Vec<_> =
                seqs.iter().zip(&ids).map(|(seq, id)| format!("{seq} ({})", escaped(id))).collect();
            let more = if letters.len() > EXAMPLES_MAX { ", …" } else { "" };
            lines.push(format!("{:>8}  {}", letters.len(), escaped(reason)));
            lines.push(format!("          e.g. {}{more}", examples.join(", ")));
            json.push(
                json!({ "reason": reason, "count": letters.len(), "seqs": seqs, "ids": ids }),
            );
        }
        if lines.is_empty() {
            lines.push("No dead letters.".to_owned());
        }
        Report { lines, json: json.into(), is_damaged: false }
    }

    /// Every letter, not grouped.
    #[must_use]
    pub fn each(&self) -> Report {
        let line = |letter: &DeadLetter| {
            let (id, reason) = (escaped(&(self.name)(letter)), escaped(&letter.reason));
            format!("{:>8}  {}  {id}  {reason}", letter.seq, time(letter.buried_at_ms))
        };
        let lines = self.letters.iter().map(line).collect();
        let json = self.letters.iter().map(|letter| self.object(letter)).collect();
        Report { lines, json, is_damaged: false }
    }

    /// One letter with its payload, in which card numbers are masked unless `reveal`.
    ///
    /// # Errors
    /// If there is no such letter.
    pub fn one(&self, seq: u64, reveal: bool) -> Result<Report, Unknown> {
        let letter = find(self.letters, seq)?;
        let payload = mask::unless(letter.event.payload(), reveal);
        let lines = vec![
            format!("seq       {seq}"),
            format!("id        {}", escaped(&(self.name)(letter))),
            format!("reason    {}", escaped(&letter.reason)),
            format!("accepted  {}", time(letter.accepted_at_ms)),
            format!("buried    {}", time(letter.buried_at_ms)),
            format!("leases    {}", letter.attempts),
            format!("payload   {}", escaped(&payload)),
        ];
        let mut json = self.object(letter);
        json["payload"] = payload.into();
        Ok(Report { lines, json, is_damaged: false })
    }

    fn object(&self, letter: &DeadLetter) -> Value {
        json!({
            "seq": letter.seq,
            "id": (self.name)(letter),
            "reason": letter.reason,
            "accepted_at": time(letter.accepted_at_ms),
            "buried_at": time(letter.buried_at_ms),
            "leases": letter.attempts,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::Event;

    use super::super::chosen::Choice;
    use super::*;

    fn letter(seq: u64, reason: &str) -> DeadLetter {
        DeadLetter {
            seq,
            reason: reason.to_owned(),
            buried_at_ms: 2_000,
            accepted_at_ms: 1_000,
            attempts: 1,
            event: Event::new(format!("tx\t{seq}").as_bytes(), b"", b"{}").unwrap(),
        }
    }

    fn name(letter: &DeadLetter) -> String {
        String::from_utf8_lossy(letter.event.id()).into_owned()
    }

    #[test]
    fn letters_are_grouped_by_reason_and_the_largest_group_comes_first() {
        let letters = [
            letter(1, "amount"),
            letter(2, "tier"),
            letter(3, "tier"),
            letter(4, "tier"),
            letter(5, "tier"),
        ];
        let Report { lines, json, .. } = Listing::new(&letters, &name).groups();
        let expect = [
            "       4  tier",
            r"          e.g. 2 (tx\t2), 3 (tx\t3), 4 (tx\t4), …",
            "       1  amount",
            r"          e.g. 1 (tx\t1)",
        ];
        assert_eq!(lines, expect);
        let tier = json!({ "reason": "tier", "count": 4, "seqs": [2, 3, 4], "ids": ["tx\t2", "tx\t3", "tx\t4"] });
        assert_eq!(json[0], tier);
        assert_eq!(Listing::new(&[], &name).groups().lines, ["No dead letters."]);
    }

    #[test]
    fn letters_are_chosen_by_number_by_reason_or_all_and_an_unknown_number_is_refused() {
        let letters = [letter(1, "amount: negative"), letter(4, "tier")];
        assert_eq!(Choice::Seqs(vec![4, 1]).of(&letters), Ok(vec![1, 4]));
        assert_eq!(Choice::Seqs(vec![1, 2, 3]).of(&letters), Err(Unknown(2)));
        assert_eq!(Choice::Reason("amount".to_owned()).of(&letters), Ok(vec![1]));
        assert_eq!(Choice::All.of(&letters), Ok(vec![1, 4]));
        assert_eq!(Listing::new(&letters, &name).one(9, false).unwrap_err(), Unknown(9));
    }
}
