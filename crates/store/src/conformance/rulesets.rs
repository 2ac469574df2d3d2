//! A ruleset has one version, and a version one ruleset.

use std::collections::BTreeMap;

use super::Subject;
use crate::Error;
use crate::rulesets::RULES_BYTES_MAX;

/// Tasks that ask at once.
const ASKING: usize = 8;

/// Each content gets the next number, and its old number when it is used again, also by another
/// process. What differs in one byte is another content.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_ruleset_that_is_used_again_has_its_version_again(subject: &mut dyn Subject) {
    let all = ["{\"a\":1}", "{\"a\":2}", "{\"A\":1}", "{\"a\":1} ", "좋아요 \"' \\"];
    for (rules, version) in all.iter().zip(1..) {
        assert_eq!(subject.store().rulesets().ruleset_version(rules).await, Ok(version), "{rules}");
    }
    subject.reopen().await;
    for (rules, version) in all.iter().rev().zip([5, 4, 3, 2, 1]) {
        assert_eq!(subject.store().rulesets().ruleset_version(rules).await, Ok(version), "{rules}");
    }
    assert_eq!(subject.store().rulesets().ruleset_version("{}").await, Ok(6));
    let recorded = subject.rulesets().await;
    let texts: Vec<_> = recorded.iter().map(|one| one.rules.as_deref().unwrap_or("")).collect();
    assert_eq!(texts, [&all[..], &["{}"]].concat());
    assert!(recorded.iter().all(|one| one.first_used_at_ms > 0), "{recorded:?}");
}

/// Tasks that ask for the same rulesets at once are told the same versions, without a gap.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn processes_that_begin_at_once_agree_on_versions(subject: &mut dyn Subject) {
    let tasks: Vec<_> = (0..ASKING)
        .map(|task| {
            let store = subject.store();
            tokio::spawn(async move {
                let mut told = BTreeMap::new();
                for nth in 0..4 {
                    let rules = format!("{{\"rule\":{}}}", (task + nth) % 4);
                    told.insert(rules.clone(), store.rulesets().ruleset_version(&rules).await);
                }
                told
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.expect("a task does not panic"));
    }
    assert!(all.windows(2).all(|two| two[0] == two[1]), "{all:?}");
    let versions: Vec<_> = subject.rulesets().await.iter().map(|one| one.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
}

/// # Panics
/// If the guarantee does not hold.
pub async fn a_ruleset_past_its_bound_is_rejected(subject: &mut dyn Subject) {
    let longest = "x".repeat(RULES_BYTES_MAX);
    assert_eq!(subject.store().rulesets().ruleset_version(&longest).await, Ok(1));
    let longer = subject.store().rulesets().ruleset_version(&format!("{longest}x")).await;
    assert!(matches!(longer, Err(Error::Rejected(_))), "{longer:?}");
}
