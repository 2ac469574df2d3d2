use store::Load;

use super::*;
use crate::seen::tests::load;
use crate::verdict::{Thresholds, decide};

const ONE: Layout = Layout { machines: 1, redis: false, kafka: false, postgres: false, sqs: false };
/// 2026-03-02T12:00:00Z
const NOW_MS: i64 = 1_772_452_800_000;

/// Twelve minutes of 600 events a second each, before now; every batch was full, and one process could
/// do `capacity`.
fn report(capacity: u64, options: &Options, today: Layout) -> Report {
    let finished = 36_000;
    let worked_ms_max = finished * 1_000 / capacity;
    let minute = |minute: i64| Load {
        started_at_ms: NOW_MS - minute * 60_000,
        finished,
        batches: finished / 1_000,
        worked_ms: worked_ms_max * 2,
        worked_ms_max,
        peak_per_s: 1_234,
        backlog_first: 9,
        backlog_last: 9,
        backlog_max: 5_678,
        oldest_age_ms_max: 4_321,
        ..load(0)
    };
    let loads: Vec<_> = (1..=12).rev().map(minute).collect();
    let seen = Seen::of(&loads);
    let verdict = decide(&seen, &options.thresholds);
    Report {
        pipeline: "consumer_batch".to_owned(),
        hours: 24,
        now_ms: NOW_MS,
        seen,
        options: options.clone(),
        verdict,
        today,
        next: next(verdict, &today, "journal", "sqlite"),
    }
}

#[test]
fn a_load_that_fits_is_told_with_its_numbers_and_costs() {
    let report = report(6_000, &Options::default(), ONE);
    let expect = "\
consumer_batch, the last 24 h
  with load      12 min of 12 min seen
  mean           600 events/s
  busiest minute 600 events/s, by one process, at 2026-03-02T11:59:00Z
  busiest second 1,234 events
  lanes          10% at work in the busiest minute, one of them 10%
  backlog        at most 5,678 events, the oldest 4.3 s
  one process    can do 6,000 events/s (batches of 1,000 events, 100% full)

One machine with a journal is enough: the busiest minute brought 600 events/s, 10% of the 6,000 that one \
process can do; the limit is 80%.

Costs a month (730 h):
  today    $    37.96  1 machine
  advised  $    37.96  1 machine

Next:
  nothing to change";
    assert_eq!(report.text(false), expect);
    let drawn = report.text(true);
    assert!(drawn.contains("·······▁█") || drawn.contains("········█"), "{drawn}");
    assert!(drawn.contains("0 to 600 events/s, a bar for 30 min"), "{drawn}");
}

#[test]
fn a_load_that_does_not_fit_is_told_what_to_change() {
    let report = report(720, &Options::default(), ONE);
    let text = report.text(false);
    let says = "Redis, with 2 machines: the busiest minute brought 600 events/s, 83% of the 720 that one \
                process can do; the limit is 80%.";
    assert!(text.contains(says), "{text}");
    assert!(text.contains("  advised  $   109.50  2 machines, Redis, PostgreSQL"), "{text}");
    assert!(text.contains("PostgreSQL counts as $0; set advise.prices.postgres"), "{text}");
    for step in [
        "set next_buffer = \"redis://",
        "forebay buffer migrate",
        "set store = \"postgres://",
        "start 1 more",
    ] {
        assert!(text.contains(step), "{step}: {text}");
    }
    let json = report.json();
    assert_eq!((&json["verdict"], &json["rule"]), (&"redis".into(), &"too_much_for_one".into()));
    assert_eq!(json["costs"]["today"]["dollars_per_month"], 37.96);
    assert_eq!(json["costs"]["advised"]["dollars_per_month"], 109.5);
    assert_eq!(json["seen"]["events"], 432_000);
}

#[test]
fn a_pipeline_of_calls_is_told_to_call_more_at_once() {
    let of = report(720, &Options::default(), ONE);
    // 600 events a second that take 150 ms each are 90 calls at once.
    let minute = |minute: i64| Load {
        started_at_ms: NOW_MS - minute * 60_000,
        lanes: 100,
        batch_max: 1,
        finished: 36_000,
        failed: 400,
        worked_ms: 36_000 * 150,
        worked_ms_max: 360 * 150,
        ..load(0)
    };
    let seen = Seen::of(&(1..=12).rev().map(minute).collect::<Vec<_>>());
    let verdict = decide(&seen, &of.options.thresholds);
    let next = next(verdict, &ONE, "journal", "sqlite");
    let text = Report { seen, verdict, next, ..of }.text(false);
    for line in [
        "  calls          90% of 100 under way in the busiest minute",
        "  one process    can do 667 events/s (100 calls at once)",
        "One machine with a journal is enough, with a larger calls_max: the busiest minute brought 600 events/s, \
         90% of the 667 that one process can do; the limit is 80%, and with 10,000 calls at once it could do 66,667.",
        "  raise calls_max of the pipeline, if the service that it calls can do more",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn every_rule_has_a_sentence() {
    let check = |thresholds: Thresholds, capacity, expect: &str| {
        let options = Options { thresholds, ..Options::default() };
        let got = report(capacity, &options, ONE).text(false);
        assert!(got.contains(expect), "{got}");
    };
    let reference = Thresholds::default;
    let two = Thresholds { processes: 2, ..reference() };
    check(two, 6_000, "Redis, with 2 machines: advise.processes requires 2 that settle");
    let two = Thresholds { consumers: 2, ..reference() };
    check(
        two,
        6_000,
        "Kafka, with 1 machine: advise.consumers requires 2 that read the same events",
    );
    let small = Thresholds { redis_max_per_s: 599, ..reference() };
    check(
        small,
        720,
        "Kafka, with 2 machines: the busiest minute brought 600 events/s, and one Redis is \
                       trusted with 599",
    );
    let long = Thresholds { load_min_s: 721, ..reference() };
    check(
        long,
        720,
        "Not enough yet: events were settled for 12 min of the last 24 h, and \
                      advise.load_min_s asks for 12 min",
    );
}

#[test]
fn what_is_not_known_is_said() {
    let small = |load: &Load| Load { batches: load.batches * 100, ..load.clone() };
    let loads: Vec<_> = (0..12)
        .map(|minute| Load {
            finished: 36_000,
            batches: 36,
            worked_ms: 100_000,
            worked_ms_max: 50_000,
            ..load(minute)
        })
        .collect();
    let seen = Seen::of(&loads.iter().map(small).collect::<Vec<_>>());
    let options = Options::default();
    let verdict = decide(&seen, &options.thresholds);
    assert_eq!(verdict, Verdict::Unsure);
    let said = sentence(&seen, &options, 24, verdict);
    assert!(
        said.starts_with("Not sure yet: the busiest minute brought 600 events/s, 83% of the 720"),
        "{said}"
    );
    assert!(
        said.contains("its batches were only 1.0% full, and with full ones it might do 72,000"),
        "{said}"
    );
    assert!(next(verdict, &ONE, "journal", "sqlite")[0].contains("let a burst through"));

    let nothing = sentence(&Seen::default(), &options, 3, Verdict::NotEnough);
    assert!(nothing.contains("nobody settled anything in the last 3 h"), "{nothing}");
    let failing: Vec<_> = loads.into_iter().map(|load| Load { failed: 1, ..load }).collect();
    let failing = Seen::of(&failing);
    let said = sentence(&failing, &options, 24, decide(&failing, &options.thresholds));
    assert!(said.contains("attempts to settle failed"), "{said}");
}

#[test]
fn next_steps_follow_what_runs_today() {
    let advised =
        |place, machines| Verdict::Advised(Advice { place, rule: Rule::TooMuchForOne, machines });
    let several = Layout { machines: 4, redis: true, postgres: true, ..ONE };
    let check = |verdict, today: &Layout, buffer: &str, expect: &[&str]| {
        let got = next(verdict, today, buffer, "postgres");
        assert_eq!(got.len(), expect.len(), "{got:?}");
        for (got, expect) in got.iter().zip(expect) {
            assert!(got.contains(expect), "{got:?}, not {expect}");
        }
    };
    check(advised(Place::Redis, 4), &several, "redis", &["nothing to change"]);
    check(advised(Place::Redis, 6), &several, "redis", &["start 2 more"]);
    check(advised(Place::Redis, 3), &several, "redis", &["1 could be stopped"]);
    check(
        advised(Place::Kafka, 4),
        &several,
        "redis",
        &["redis to kafka: set next_buffer = \"kafka://"],
    );
    check(
        advised(Place::Journal, 1),
        &several,
        "redis",
        &["redis to journal: set next_buffer = \"journal:"],
    );
    let queue = Layout { sqs: true, redis: false, ..several };
    check(advised(Place::Redis, 4), &queue, "sqs", &["share a queue of SQS as well"]);
}
