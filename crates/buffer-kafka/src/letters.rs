//! Which dead letters there are, as far as their topic has been read.

use std::collections::{BTreeMap, HashMap};

/// Which letters there are, as far as the topic has been read.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The offset that is read next.
    pub(crate) next: i64,
    /// The keys of their records.
    pub(crate) by_number: BTreeMap<i64, Vec<u8>>,
    by_key: HashMap<Vec<u8>, i64>,
}

impl Index {
    /// A record of this key was read: a letter, or that one is gone.
    pub(crate) fn take_in(&mut self, offset: i64, key: &[u8], is_letter: bool) {
        if let Some(before) = self.by_key.remove(key) {
            self.by_number.remove(&before);
        }
        if is_letter {
            self.by_key.insert(key.to_vec(), offset);
            self.by_number.insert(offset, key.to_vec());
        }
    }
}

/// Whether a record with this key is a letter of the topic whose keys begin with `letters_of`. A place
/// follows, which has no slash: so a topic of ours, whose keys begin with nothing, does not take the
/// letters that a source has written into the same topic.
pub(crate) fn is_of(letters_of: &str, key: &[u8]) -> bool {
    key.strip_prefix(letters_of.as_bytes()).is_some_and(|place| !place.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_has_its_own_letters_where_they_share_one() {
        let (own, source) = (b"0-7-1700000000000", b"others/0-7-1700000000000");
        assert!(is_of("", own) && is_of("others/", source));
        assert!(!is_of("others/", own) && !is_of("other/", source));
        assert!(!is_of("", source), "a source has written it");
    }

    #[test]
    fn an_event_buried_twice_is_one_letter_and_what_is_dropped_is_none() {
        let mut index = Index::default();
        index.take_in(0, b"a", true);
        index.take_in(1, b"b", true);
        index.take_in(2, b"a", true);
        assert_eq!(index.by_number.keys().copied().collect::<Vec<_>>(), [1, 2]);
        index.take_in(3, b"b", false);
        index.take_in(4, b"c", false);
        assert_eq!(index.by_number.keys().copied().collect::<Vec<_>>(), [2]);
    }
}
