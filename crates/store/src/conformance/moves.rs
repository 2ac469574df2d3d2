//! Moves between buffers: one step after the other, and each process's last word.

use model::route::{Phase, Route};

use crate::Moves;
use crate::moves::{Buffers, Recorded, Report, Start, Step};

fn step(number: u64, before: u8, share: u8, phase: Phase) -> Step {
    Step { number, route: Route { before, share, phase } }
}

fn buffers(source: &str, target: &str) -> Buffers {
    Buffers { source: source.to_owned(), target: target.to_owned() }
}

fn recorded(buffers: Buffers, step: Step) -> Recorded {
    Recorded { name: "payments".to_owned(), buffers, step }
}

/// Of two who take the same step one does, none is passed over, and what was there at the start stays.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_step_is_taken_once_and_after_the_one_before(moves: &dyn Moves) {
    let start = Start {
        settled: 7,
        pending: 5,
        dead: 2,
        duplicates: u64::from(u32::MAX) + 1,
        offered: 9,
        empty: 4,
    };
    let (name, none, there) = ("payments", Start::default(), buffers("list:a", "list:b"));
    assert_eq!(moves.recorded().await, Ok(None));
    assert_eq!(moves.start(name).await, Ok(None));
    assert_eq!(moves.advance(name, step(2, 0, 10, Phase::Hold)).await, Ok(false));
    let first = recorded(there.clone(), step(1, 0, 10, Phase::Hold));
    assert_eq!(moves.begin(&first, start).await, Ok(true));
    assert_eq!(moves.begin(&first, none).await, Ok(false));
    assert_eq!(moves.advance(name, step(3, 0, 10, Phase::Open)).await, Ok(false));
    assert_eq!(moves.recorded().await, Ok(Some(first)));
    for (number, phase) in [(2, Phase::Drain), (3, Phase::Open)] {
        let next = step(number, 0, 10, phase);
        let [one, other] = [moves.advance(name, next), moves.advance(name, next)];
        let (one, other) = tokio::join!(one, other);
        assert!(one.expect("it can be written") != other.expect("it can be written"));
        assert_eq!(moves.recorded().await, Ok(Some(recorded(there.clone(), next))));
    }
    assert_eq!(moves.start(name).await, Ok(Some(start)));
    assert_eq!(moves.start("another").await, Ok(None));
}

/// Another move is recorded in place of a finished one alone, and its steps count on.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn another_move_begins_only_when_one_is_finished(moves: &dyn Moves) {
    let (name, none) = ("payments", Start::default());
    let there = recorded(buffers("list:a", "list:b"), step(1, 0, 50, Phase::Hold));
    assert_eq!(moves.begin(&there, none).await, Ok(true));
    let back = |number| recorded(buffers("list:b", "list:a"), step(number, 0, 10, Phase::Hold));
    for (number, share, phase) in
        [(2, 50, Phase::Drain), (3, 50, Phase::Open), (4, 100, Phase::Drain)]
    {
        assert_eq!(moves.begin(&back(number), none).await, Ok(false));
        assert_eq!(moves.advance(name, step(number, 50, share, phase)).await, Ok(true));
    }
    assert_eq!(moves.advance(name, step(5, 50, 100, Phase::Open)).await, Ok(true));
    assert_eq!(moves.begin(&back(1), none).await, Ok(false), "its step counts on");
    let start = Start { settled: 1, ..none };
    assert_eq!(moves.begin(&back(6), start).await, Ok(true));
    assert_eq!(moves.recorded().await, Ok(Some(back(6))));
    assert_eq!(moves.start(name).await, Ok(Some(start)));
    // What an earlier version recorded under another name is over when a move begins.
    let other = Recorded { name: "a to b".to_owned(), ..back(1) };
    assert_eq!(moves.begin(&other, none).await, Ok(true));
    assert_eq!(moves.recorded().await, Ok(Some(other)));
    // The buffers have new addresses.
    let new = buffers("list:new", "list:a");
    assert_eq!(moves.rename("payments", &new).await, Ok(false));
    assert_eq!(moves.rename("a to b", &new).await, Ok(true));
    assert_eq!(moves.recorded().await.map(|found| found.map(|found| found.buffers)), Ok(Some(new)));
}

/// What a process reported last counts, under whatever name, and one that can't report is taken for ended.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_a_process_said_last_counts(moves: &dyn Moves) {
    let first = Report {
        process: "host:1:a".into(),
        buffers: buffers("list:a", "list:b"),
        step: 3,
        drained: true,
        ended: false,
        offered: [1, 2],
        done: [3, 4],
        pending: [5, 6],
        empty: [9, u64::from(u32::MAX) + 10],
        dead: [7, u64::from(u32::MAX) + 8],
    };
    let other = Report { process: "host:2:b".into(), step: 2, ..Report::default() };
    let last = Report {
        step: 4,
        drained: false,
        offered: [10, 20],
        buffers: buffers("list:a", "list:c"),
        ..first.clone()
    };
    for (name, report) in [("payments", &first), ("a to b", &other), ("payments", &last)] {
        assert_eq!(moves.report(name, report).await, Ok(()));
    }
    let said = async || -> Vec<(String, Report)> {
        let heard = moves.reports().await.expect("they can be read");
        assert!(heard.iter().all(|heard| heard.ago_ms < 60_000), "{heard:?}");
        heard.into_iter().map(|heard| (heard.name, heard.report)).collect()
    };
    let last = ("payments".to_owned(), last);
    assert_eq!(said().await, [last.clone(), ("a to b".to_owned(), other.clone())]);
    assert_eq!(moves.forget("host:3:c").await, Ok(false));
    assert_eq!(moves.forget("host:2:b").await, Ok(true));
    let ended = Report { ended: true, ..other };
    assert_eq!(said().await, [last.clone(), ("a to b".to_owned(), ended)]);
    assert_eq!(moves.sweep().await, Ok(()));
    assert_eq!(said().await, [last]);
}
