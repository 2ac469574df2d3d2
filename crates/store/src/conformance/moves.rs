//! Moves between buffers: one step after the other, and each process's last word.

use model::route::{Phase, Route};
use model::{Class, Classify};

use super::Subject;
use crate::Moves;
use crate::moves::{BUFFER_BYTES_MAX, Buffers, LEFT_MAX, Recorded, Report, Start, Step};
use crate::pipelines::NAME_BYTES_MAX;
use crate::processes::TEXT_BYTES_MAX;

fn step(number: u64, before: u8, share: u8, phase: Phase) -> Step {
    Step { number, route: Route { before, share, phase } }
}

fn buffers(source: &str, target: &str) -> Buffers {
    Buffers { source: source.to_owned(), target: target.to_owned() }
}

fn recorded(buffers: Buffers, step: Step) -> Recorded {
    of("payments", buffers, step)
}

fn of(pipeline: &str, buffers: Buffers, step: Step) -> Recorded {
    Recorded { pipeline: pipeline.to_owned(), buffers, step }
}

/// Of two who take the same step one does, none is passed over, and what was there at the start stays.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_step_is_taken_once_and_after_the_one_before(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
    let start = Start {
        settled: 7,
        pending: 5,
        dead: 2,
        duplicates: u64::from(u32::MAX) + 1,
        offered: 9,
        empty: 4,
        done: 3,
    };
    let (name, none, there) = ("payments", Start::default(), buffers("list:a", "list:b"));
    assert_eq!(moves.recorded("payments").await, Ok(None));
    assert_eq!(moves.start(name).await, Ok(None));
    assert_eq!(moves.advance(name, step(2, 0, 10, Phase::Hold)).await, Ok(false));
    let first = recorded(there.clone(), step(1, 0, 10, Phase::Hold));
    assert_eq!(moves.begin(&first, start).await, Ok(true));
    assert_eq!(moves.begin(&first, none).await, Ok(false));
    assert_eq!(moves.advance(name, step(3, 0, 10, Phase::Open)).await, Ok(false));
    assert_eq!(moves.recorded("payments").await, Ok(Some(first)));
    for (number, phase) in [(2, Phase::Drain), (3, Phase::Open)] {
        let next = step(number, 0, 10, phase);
        let [one, other] = [moves.advance(name, next), moves.advance(name, next)];
        let (one, other) = tokio::join!(one, other);
        assert!(one.expect("it can be written") != other.expect("it can be written"));
        assert_eq!(moves.recorded("payments").await, Ok(Some(recorded(there.clone(), next))));
    }
    assert_eq!(moves.start(name).await, Ok(Some(start)));
    assert_eq!(moves.start("another").await, Ok(None));
}

/// Another move is recorded in place of a finished one alone, and its steps count on.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn another_move_begins_only_when_one_is_finished(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
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
    assert_eq!(moves.recorded("payments").await, Ok(Some(back(6))));
    assert_eq!(moves.start(name).await, Ok(Some(start)));
    // The buffers have new addresses.
    let new = buffers("list:new", "list:a");
    assert_eq!(moves.rename("another", &new).await, Ok(false));
    assert_eq!(moves.rename(name, &new).await, Ok(true));
    let found = moves.recorded(name).await;
    assert_eq!(found.map(|found| found.map(|found| found.buffers)), Ok(Some(new)));
}

/// Two pipelines move at the same time, and no call on one changes what is recorded of the other.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn each_pipeline_has_moves_of_its_own(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
    let (one, other) = ("payments", "table:prices");
    let first = of(one, buffers("list:a", "list:b"), step(1, 0, 10, Phase::Hold));
    let second = of(other, buffers("list:c", "list:d"), step(1, 0, 50, Phase::Hold));
    let starts = [1, 2].map(|settled| Start { settled, done: settled * 3, ..Start::default() });
    assert_eq!(moves.begin(&first, starts[0]).await, Ok(true));
    assert_eq!(moves.begin(&second, starts[1]).await, Ok(true), "the other one is unfinished");
    assert_eq!(moves.begin(&second, starts[1]).await, Ok(false));
    let drain = step(2, 0, 50, Phase::Drain);
    assert_eq!(moves.advance(other, drain).await, Ok(true));
    let second = Recorded { step: drain, ..second };
    assert_eq!(moves.recorded(one).await, Ok(Some(first.clone())));
    assert_eq!(moves.recorded(other).await, Ok(Some(second.clone())));
    assert_eq!(moves.recorded("table:orders").await, Ok(None));
    assert_eq!(moves.all().await, Ok(vec![first, second]));
    assert_eq!(moves.start(one).await, Ok(Some(starts[0])));
    assert_eq!(moves.start(other).await, Ok(Some(starts[1])));
    assert_eq!(moves.rename(other, &buffers("list:e", "list:f")).await, Ok(true));
    let kept = moves.recorded(one).await.expect("it can be read").expect("it was recorded");
    assert_eq!(kept.buffers, buffers("list:a", "list:b"));
    // One process settles both.
    let report = |number| Report { process: "host:1:a".into(), step: number, ..Report::default() };
    assert_eq!(moves.report(one, &report(1)).await, Ok(()));
    assert_eq!(moves.report(other, &report(2)).await, Ok(()));
    assert_eq!(moves.forget(one, "host:1:a").await, Ok(true));
    assert_eq!(moves.sweep(other).await, Ok(()));
    assert_eq!(said(moves, one).await, [Report { ended: true, ..report(1) }]);
    assert_eq!(said(moves, other).await, [report(2)]);
    assert_eq!(moves.sweep(one).await, Ok(()));
    assert_eq!(said(moves, one).await, []);
    assert_eq!(said(moves, other).await, [report(2)]);
}

/// The buffers that earlier moves of a pipeline have left are kept, the last ones of many, each once.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_earlier_moves_left_is_kept(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
    let (name, none) = ("payments", Start::default());
    let list = |number: usize| format!("list:{number}");
    let way = |number: usize| buffers(&list(number), &list(number + 1));
    let mut number = 1;
    for at in 0..LEFT_MAX + 4 {
        let first = recorded(way(at), step(number, 0, 100, Phase::Hold));
        assert_eq!(moves.begin(&first, none).await, Ok(true));
        assert_eq!(moves.begin(&first, none).await, Ok(false), "nothing is left twice");
        for phase in [Phase::Drain, Phase::Open] {
            number += 1;
            assert_eq!(moves.advance(name, step(number, 0, 100, phase)).await, Ok(true));
        }
        number += 1;
        let left = at.saturating_sub(LEFT_MAX)..at;
        let expect: Vec<String> = left.rev().map(list).collect();
        assert_eq!(moves.left(name).await, Ok(expect), "after {at} moves and one");
    }
    // A move that was rolled back has left its target.
    let last = LEFT_MAX + 4;
    let aside = recorded(buffers(&list(last), "list:aside"), step(number, 0, 10, Phase::Hold));
    assert_eq!(moves.begin(&aside, none).await, Ok(true));
    assert_eq!(moves.advance(name, step(number + 1, 0, 0, Phase::Open)).await, Ok(true));
    let next = recorded(way(last), step(number + 2, 0, 10, Phase::Hold));
    assert_eq!(moves.begin(&next, none).await, Ok(true));
    let left = moves.left(name).await.expect("it can be read");
    assert_eq!((left.len(), &*left[0], &*left[1]), (LEFT_MAX, "list:aside", &*list(last - 1)));
    assert_eq!(moves.left("another").await, Ok(Vec::new()));
}

async fn said(moves: &dyn Moves, pipeline: &str) -> Vec<Report> {
    let heard = moves.reports(pipeline).await.expect("they can be read");
    assert!(heard.iter().all(|heard| heard.ago_ms < 60_000), "{heard:?}");
    heard.into_iter().map(|heard| heard.report).collect()
}

/// What a process reported last counts, and one that can't report is taken for ended.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_a_process_said_last_counts(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
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
    let name = "payments";
    for report in [&first, &other, &last] {
        assert_eq!(moves.report(name, report).await, Ok(()));
    }
    assert_eq!(said(moves, name).await, [last.clone(), other.clone()]);
    assert_eq!(moves.forget(name, "host:3:c").await, Ok(false));
    assert_eq!(moves.forget(name, "host:2:b").await, Ok(true));
    let ended = Report { ended: true, ..other };
    assert_eq!(said(moves, name).await, [last.clone(), ended]);
    assert_eq!(moves.sweep(name).await, Ok(()));
    assert_eq!(said(moves, name).await, [last]);
}

/// Names of pipelines and processes and identities of buffers have bounds, and what is out of bounds changes
/// nothing.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_is_out_of_bounds_of_a_move_is_rejected(subject: &mut dyn Subject) {
    let moves = subject.beside().moves();
    let moves = &*moves;
    let (name, process) = ("n".repeat(NAME_BYTES_MAX), "p".repeat(TEXT_BYTES_MAX));
    let identity = "b".repeat(BUFFER_BYTES_MAX);
    let longest = of(&name, buffers(&identity, &identity), step(1, 0, 10, Phase::Hold));
    assert_eq!(moves.begin(&longest, Start::default()).await, Ok(true));
    let kept = Report { process, buffers: longest.buffers.clone(), ..Report::default() };
    assert_eq!(moves.report(&name, &kept).await, Ok(()));
    let rejected = |refused: Result<bool, crate::Error>| {
        assert_eq!(refused.expect_err("it is out of bounds").class(), Class::Rejected);
    };
    let names = ["".to_owned(), "a\0b".to_owned(), "n".repeat(NAME_BYTES_MAX + 1)];
    for name in names {
        let first = Recorded { pipeline: name.clone(), ..longest.clone() };
        rejected(moves.begin(&first, Start::default()).await);
        rejected(moves.report(&name, &kept).await.map(|()| true));
    }
    for process in ["".to_owned(), "a\0b".to_owned(), "p".repeat(TEXT_BYTES_MAX + 1)] {
        let report = Report { process, ..kept.clone() };
        rejected(moves.report("payments", &report).await.map(|()| true));
    }
    for identity in ["a\0b".to_owned(), "b".repeat(BUFFER_BYTES_MAX + 1)] {
        for wrong in [buffers(&identity, "list:b"), buffers("list:a", &identity)] {
            let first = recorded(wrong.clone(), step(1, 0, 10, Phase::Hold));
            rejected(moves.begin(&first, Start::default()).await);
            rejected(moves.rename(&name, &wrong).await);
            let report = Report { buffers: wrong, ..kept.clone() };
            rejected(moves.report("payments", &report).await.map(|()| true));
        }
    }
    assert_eq!(moves.all().await, Ok(vec![longest]));
    assert_eq!(said(moves, &name).await, [kept]);
    assert_eq!(said(moves, "payments").await, []);
}
