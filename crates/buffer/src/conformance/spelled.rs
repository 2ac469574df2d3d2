//! One buffer has one identity, however its URL is spelled.

use crate::Identity;

/// One identity for all spellings, and another one for every other URL.
///
/// # Panics
/// If that is not so.
pub fn spelled(identity: &dyn Fn(&str) -> Identity, spellings: &[&str], others: &[&str]) {
    let first = identity(spellings[0]);
    for url in spellings {
        assert!(identity(url).is_same(&first), "{url}: {} and not {first}", identity(url));
        // What is recorded is read as the same buffer.
        let recorded = identity(url).to_string();
        assert_eq!(identity(&recorded).to_string(), recorded);
    }
    for url in others {
        assert!(!identity(url).is_same(&first), "{url} is {first}");
    }
}
