//! Moves between buffers: one step after the other, and each process's last word.

use model::route::{Phase, Route};

use crate::Moves;
use crate::moves::{Report, Start, Step};

fn step(number: u64, before: u8, share: u8, phase: Phase) -> Step {
    Step { number, route: Route { before, share, phase } }
}

/// Of two who take the same step one does, none is passed over, and what was there at the start stays.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_step_is_taken_once_and_after_the_one_before(moves: &dyn Moves) {
    let start =
        Start { settled: 7, pending: 5, dead: 2, duplicates: u64::from(u32::MAX) + 1, offered: 9 };
    assert_eq!(moves.step("a to b").await, Ok(None));
    assert_eq!(moves.start("a to b").await, Ok(None));
    assert_eq!(moves.last().await, Ok(None));
    let none = Start::default();
    assert_eq!(moves.advance("a to b", step(2, 0, 10, Phase::Hold), none).await, Ok(false));
    let first = step(1, 0, 10, Phase::Hold);
    assert_eq!(moves.advance("a to b", first, start).await, Ok(true));
    assert_eq!(moves.advance("a to b", first, none).await, Ok(false));
    let third = step(3, 0, 10, Phase::Open);
    assert_eq!(moves.advance("a to b", third, none).await, Ok(false));
    assert_eq!(moves.step("a to b").await, Ok(Some(first)));
    for (number, phase) in [(2, Phase::Drain), (3, Phase::Open)] {
        let next = step(number, 0, 10, phase);
        let [one, other] =
            [moves.advance("a to b", next, none), moves.advance("a to b", next, none)];
        let (one, other) = tokio::join!(one, other);
        assert!(one.expect("it can be written") != other.expect("it can be written"));
        assert_eq!(moves.step("a to b").await, Ok(Some(next)));
    }
    assert_eq!(moves.start("a to b").await, Ok(Some(start)));
    assert_eq!(moves.step("b to a").await, Ok(None), "another move");
    let report = Report { process: "host:1:a".into(), ..Report::default() };
    assert_eq!(moves.report("a to b", &report).await, Ok(()));
    assert_eq!(moves.report("b to a", &report).await, Ok(()));
    // The way back begins: the way there is over, and begins anew if it is gone again.
    assert_eq!(moves.advance("b to a", first, none).await, Ok(true));
    assert_eq!(moves.last().await, Ok(Some(("b to a".to_owned(), first))));
    assert_eq!(moves.step("a to b").await, Ok(None));
    assert_eq!(moves.reports("a to b").await, Ok(Vec::new()));
    assert_eq!(moves.reports("b to a").await.expect("they can be read").len(), 1);
}

/// What a process said last counts, and one that can't say so itself is taken for ended.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_a_process_said_last_counts(moves: &dyn Moves) {
    let first = Report {
        process: "host:1:a".into(),
        step: 3,
        drained: true,
        ended: false,
        offered: [1, 2],
        done: [3, 4],
        pending: [5, 6],
        dead: [7, u64::from(u32::MAX) + 8],
    };
    let other = Report { process: "host:2:b".into(), step: 2, ..Report::default() };
    let last = Report { step: 4, drained: false, offered: [10, 20], ..first.clone() };
    for report in [&first, &other, &last] {
        assert_eq!(moves.report("a to b", report).await, Ok(()));
    }
    let said = async || -> Vec<Report> {
        let heard = moves.reports("a to b").await.expect("they can be read");
        assert!(heard.iter().all(|heard| heard.ago_ms < 60_000), "{heard:?}");
        heard.into_iter().map(|heard| heard.report).collect()
    };
    assert_eq!(said().await, [last.clone(), other.clone()]);
    assert_eq!(moves.reports("b to a").await, Ok(Vec::new()));
    assert_eq!(moves.forget("a to b", "host:3:c").await, Ok(false));
    assert_eq!(moves.forget("a to b", "host:2:b").await, Ok(true));
    assert_eq!(said().await, [last, Report { ended: true, ..other }]);
}
