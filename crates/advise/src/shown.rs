//! The advice in words, and as JSON.

use model::clock::EpochMs;
use model::units::{grouped, millis_whole};
use serde_json::{Value, json};

use crate::capacity::{CALLS_MAX, Capacity};
use crate::cost::{HOURS_A_MONTH, Layout};
use crate::options::Options;
use crate::seen::{Minute, Seen};
use crate::verdict::{Advice, Place, Rule, Verdict};

/// Bars of the picture of a period.
const BARS: usize = 48;
/// From nothing to the most.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// For a stretch that nobody looked at.
const UNSEEN: char = '·';

/// Everything there is to say.
#[derive(Debug)]
pub struct Report {
    /// Which pipeline it is of.
    pub pipeline: String,
    /// How long the period is that was asked for.
    pub hours: u64,
    /// When that period ends.
    pub now_ms: EpochMs,
    /// The load.
    pub seen: Seen,
    /// What is configured.
    pub options: Options,
    /// Where the load belongs.
    pub verdict: Verdict,
    /// What runs today.
    pub today: Layout,
    /// What is to be done about it.
    pub next: Vec<String>,
}

impl Report {
    /// For a person; with a picture where `bars` can be seen.
    #[must_use]
    pub fn text(&self, bars: bool) -> String {
        let mut lines = self.load(bars);
        lines.push(String::new());
        lines.push(sentence(&self.seen, &self.options, self.hours, self.verdict));
        if let Verdict::Advised(advice) = self.verdict {
            lines.push(String::new());
            lines.push(format!("Costs a month ({HOURS_A_MONTH} h):"));
            let advised = Layout::advised(&advice, &self.today);
            for (of, layout) in [("today", &self.today), ("advised", &advised)] {
                let dollars = layout.per_month(&self.options.prices);
                lines.push(format!("  {of:<8} ${dollars:>9.2}  {}", layout.words()));
            }
            if advised.postgres && self.options.prices.postgres == 0.0 {
                lines.push("  PostgreSQL counts as $0; set advise.prices.postgres".to_owned());
            }
        }
        if !self.next.is_empty() {
            lines.push(String::new());
            lines.push("Next:".to_owned());
            lines.extend(self.next.iter().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    /// What was seen.
    fn load(&self, bars: bool) -> Vec<String> {
        let Self { pipeline, hours, seen, .. } = self;
        let mut lines = vec![format!("{pipeline}, the last {hours} h")];
        let Some(busiest) = seen.busiest() else { return lines };
        if bars {
            lines.push(format!("  {}", picture(&seen.minutes, self.now_ms, *hours)));
        }
        let mut row = |name: &str, value: String| lines.push(format!("  {name:<15}{value}"));
        let processes = match busiest.processes {
            1 => "one process".to_owned(),
            several => format!("{several} processes"),
        };
        row("with load", format!("{} of {} seen", time(seen.loaded_s), time(seen.covered_s)));
        row("mean", format!("{} events/s", rate(seen.mean_per_s())));
        let at = jiff::Timestamp::from_millisecond(busiest.started_at_ms).unwrap_or_default();
        let name = format!("busiest {}", unit(busiest));
        row(&name, format!("{} events/s, by {processes}, at {at:.0}", rate(busiest.per_s())));
        row("busiest second", format!("{} events", grouped(seen.second_max)));
        let (busy, busy_max) = (percent(busiest.busy), percent(busiest.busy_max));
        match seen.capacity.and_then(|capacity| capacity.calls_max) {
            Some(calls_max) => row(
                "calls",
                format!(
                    "{busy} of {} under way in the busiest {}",
                    grouped(calls_max.into()),
                    unit(busiest)
                ),
            ),
            None => row(
                "lanes",
                format!("{busy} at work in the busiest {}, one of them {busy_max}", unit(busiest)),
            ),
        }
        let oldest = millis_whole(seen.oldest_age_ms_max);
        row(
            "backlog",
            format!("at most {} events, the oldest {oldest}", grouped(seen.backlog_max)),
        );
        if let Some(capacity) = &seen.capacity {
            row("one process", format!("can do {}", can_do(capacity)));
        }
        lines
    }

    /// For a script.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { seen, options, today, .. } = self;
        let prices = &options.prices;
        let layout = |layout: &Layout| {
            json!({
                "machines": layout.machines,
                "redis": layout.redis,
                "kafka": layout.kafka,
                "postgres": layout.postgres,
                "sqs": layout.sqs,
                "dollars_per_hour": cents(layout.per_hour(prices)),
                "dollars_per_month": cents(layout.per_month(prices)),
            })
        };
        let advice = match self.verdict {
            Verdict::Advised(advice) => Some(advice),
            _ => None,
        };
        json!({
            "pipeline": self.pipeline,
            "hours": self.hours,
            "verdict": match self.verdict {
                Verdict::NotEnough => "not_enough_yet",
                Verdict::Unsure => "not_sure_yet",
                Verdict::Advised(advice) => advice.place.name(),
            },
            "rule": advice.map(|advice| advice.rule.name()),
            "sentence": sentence(seen, options, self.hours, self.verdict),
            "seen": {
                "intervals": seen.minutes.len(),
                "covered_s": seen.covered_s,
                "loaded_s": seen.loaded_s,
                "events": seen.events,
                "mean_per_s": seen.mean_per_s(),
                "busiest": seen.busiest().map(|busiest| json!({
                    "started_at_ms": busiest.started_at_ms,
                    "span_ms": busiest.span_ms,
                    "per_s": busiest.per_s(),
                    "processes": busiest.processes,
                    "busy_share": busiest.busy,
                    "busy_share_max": busiest.busy_max,
                })),
                "second_max": seen.second_max,
                "backlog_max": seen.backlog_max,
                "oldest_age_ms_max": seen.oldest_age_ms_max,
                "processes": seen.processes,
            },
            "capacity": seen.capacity.map(|capacity| json!({
                "process_per_s": capacity.per_s,
                "process_at_most_per_s": capacity.at_most_per_s,
                "utilization": seen.peak_per_s() / capacity.per_s,
                "batch": capacity.batch,
                "batch_max": capacity.batch_max,
                "calls_max": capacity.calls_max,
            })),
            "thresholds": {
                "load_min_s": options.thresholds.load_min_s,
                "utilization": options.thresholds.utilization,
                "processes": options.thresholds.processes,
                "consumers": options.thresholds.consumers,
                "redis_max_per_s": options.thresholds.redis_max_per_s,
            },
            "costs": {
                "hours_a_month": HOURS_A_MONTH,
                "today": layout(today),
                "advised": advice.map(|advice| layout(&Layout::advised(&advice, today))),
            },
            "next": self.next,
        })
    }
}

/// The verdict, with the rule that decided and its numbers.
fn sentence(seen: &Seen, options: &Options, hours: u64, verdict: Verdict) -> String {
    let thresholds = &options.thresholds;
    let (Some(busiest), Some(capacity)) = (seen.busiest(), &seen.capacity) else {
        return not_enough(seen, options, hours);
    };
    let per_s = busiest.per_s();
    let brought = format!("the busiest {} brought {} events/s", unit(busiest), rate(per_s));
    let of_one = format!(
        "{} of the {} that one process can do",
        percent(per_s / capacity.per_s),
        rate(capacity.per_s)
    );
    let limit = format!("the limit is {}", percent(thresholds.utilization));
    match verdict {
        Verdict::NotEnough => not_enough(seen, options, hours),
        Verdict::Unsure => format!(
            "Not sure yet: {brought}, {of_one} at least, and {limit}; but its batches were only {} \
             full, and with full ones it might do {}.",
            percent(capacity.batch / f64::from(capacity.batch_max)),
            rate(capacity.at_most_per_s)
        ),
        Verdict::Advised(Advice { rule, machines, .. }) => {
            let with = match machines {
                1 => "1 machine".to_owned(),
                machines => format!("{machines} machines"),
            };
            let redis =
                format!("one Redis is trusted with {}", grouped(thresholds.redis_max_per_s));
            match rule {
                Rule::RoomEnough => {
                    format!("One machine with a journal is enough: {brought}, {of_one}; {limit}.")
                }
                Rule::MoreCalls => format!(
                    "One machine with a journal is enough, with a larger calls_max: {brought}, {of_one}; \
                     {limit}, and with {} calls at once it could do {}.",
                    grouped(CALLS_MAX.into()),
                    rate(capacity.at_most_per_s)
                ),
                Rule::TooMuchForOne => format!("Redis, with {with}: {brought}, {of_one}; {limit}."),
                Rule::SeveralProcesses => format!(
                    "Redis, with {with}: advise.processes requires {} that settle, which a journal \
                     can't have; {brought}, and {redis}.",
                    thresholds.processes
                ),
                Rule::SeveralConsumers => format!(
                    "Kafka, with {with}: advise.consumers requires {} that read the same events; \
                     {brought}, {of_one}.",
                    thresholds.consumers
                ),
                Rule::TooMuchForOneRedis => {
                    format!(
                        "Kafka, with {with}: {brought}, and {redis}; that is {of_one}, and {limit}."
                    )
                }
            }
        }
    }
}

fn not_enough(seen: &Seen, options: &Options, hours: u64) -> String {
    let needed = options.thresholds.load_min_s;
    if seen.minutes.is_empty() {
        return format!(
            "Not enough yet: nobody settled anything in the last {hours} h; a `forebay serve` that \
             settles notes its load each minute."
        );
    }
    if seen.loaded_s >= needed as f64 {
        return "Not enough yet: in all that was seen attempts to settle failed, which tells nothing \
                of what a process can do; see the log."
            .to_owned();
    }
    format!(
        "Not enough yet: events were settled for {} of the last {hours} h, and advise.load_min_s asks \
         for {}; let it run, and ask again.",
        time(seen.loaded_s),
        time(needed as f64)
    )
}

/// What to do, one sentence a line.
#[must_use]
pub fn next(verdict: Verdict, today: &Layout, buffer: &str, store: &str) -> Vec<String> {
    let advice = match verdict {
        Verdict::NotEnough => return Vec::new(),
        Verdict::Unsure => {
            return vec![
                "let a burst through and ask again, e.g. of `forebay generate`, or wait for one"
                    .to_owned(),
            ];
        }
        Verdict::Advised(advice) => advice,
    };
    let moved = format!("{buffer} to {}", advice.place.name());
    let migrate = "restart each process, and run `forebay buffer migrate`";
    let mut lines = Vec::new();
    if advice.place.name() != buffer {
        if buffer == "sqs" && advice.place != Place::Journal {
            lines.push(
                "several processes share a queue of SQS as well: stay while it keeps up".to_owned(),
            );
        } else {
            let url = match advice.place {
                Place::Journal => "journal:./data/buffer",
                Place::Redis => "redis://127.0.0.1:6379/0?list=tx_queue",
                Place::Kafka => "kafka://127.0.0.1:9092/transactions?group=fds",
            };
            lines.push(format!("{moved}: set next_buffer = \"{url}\", {migrate}"));
        }
    }
    if store == "sqlite" && advice.place != Place::Journal {
        let url = "postgres://forebay@127.0.0.1/shop?schema=fds";
        lines.push(format!("several processes settle into one PostgreSQL: set store = \"{url}\""));
    }
    if advice.rule == Rule::MoreCalls {
        lines.push(
            "raise calls_max of the pipeline, if the service that it calls can do more".to_owned(),
        );
    }
    if advice.machines > today.machines {
        let more = advice.machines - today.machines;
        lines.push(format!("start {more} more: forebay serve --roles worker"));
    } else if advice.machines < today.machines && advice.place != Place::Journal {
        lines.push(format!("{} could be stopped", today.machines - advice.machines));
    }
    if lines.is_empty() {
        lines.push("nothing to change".to_owned());
    }
    lines
}

/// What one process can do, and how that is known.
fn can_do(capacity: &Capacity) -> String {
    let Capacity { per_s, at_most_per_s, batch, batch_max, calls_max } = *capacity;
    if let Some(calls_max) = calls_max {
        return format!("{} events/s ({} calls at once)", rate(per_s), grouped(calls_max.into()));
    }
    let full = format!(
        "batches of {} events, {} full",
        rate(batch),
        percent(batch / f64::from(batch_max))
    );
    if at_most_per_s > per_s {
        let (per_s, at_most) = (rate(per_s), rate(at_most_per_s));
        return format!("{per_s} events/s at least, {at_most} with full batches at most ({full})");
    }
    format!("{} events/s ({full})", rate(per_s))
}

/// A bar for each slice of the `hours` before `now_ms`, and the scale.
fn picture(minutes: &[Minute], now_ms: EpochMs, hours: u64) -> String {
    let slice_ms = (hours * 3_600_000).div_ceil(BARS as u64).max(1);
    let mut slices = [(0_u64, 0_u64); BARS];
    for minute in minutes {
        let ago_ms = u64::try_from(now_ms.saturating_sub(minute.started_at_ms)).unwrap_or(0);
        let back = usize::try_from(ago_ms / slice_ms).unwrap_or(BARS).min(BARS - 1);
        let (arrived, span_ms) = &mut slices[BARS - 1 - back];
        *arrived += minute.arrived;
        *span_ms += minute.span_ms;
    }
    // Events in 1,000 seconds, so that less than one a second is seen too.
    let rates =
        slices.map(|(arrived, span_ms)| (span_ms > 0).then(|| arrived * 1_000_000 / span_ms));
    let most = rates.iter().flatten().max().copied().unwrap_or(0).max(1);
    let bar = |rate: &Option<u64>| match rate {
        None => UNSEEN,
        Some(rate) => HEIGHTS[usize::try_from(rate * 7 / most).unwrap_or(0).min(7)],
    };
    let bars: String = rates.iter().map(bar).collect();
    format!(
        "{bars}  0 to {} events/s, a bar for {}",
        rate(most as f64 / 1_000.0),
        time(slice_ms as f64 / 1_000.0)
    )
}

/// What an interval is called.
fn unit(minute: &Minute) -> String {
    match minute.span_ms {
        58_000..=62_000 => "minute".to_owned(),
        span_ms => format!("{} s", span_ms.div_ceil(1_000)),
    }
}

/// To three figures below 10, and whole above.
fn rate(per_s: f64) -> String {
    if per_s < 10.0 { format!("{per_s:.1}") } else { grouped(whole(per_s)) }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 { format!("{percent:.1}%") } else { format!("{}%", grouped(whole(percent))) }
}

fn time(seconds: f64) -> String {
    match whole(seconds) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{}.{} h", seconds / 3_600, seconds % 3_600 / 360),
    }
}

/// To the cent's hundredth: what floating point adds is not shown.
fn cents(dollars: f64) -> f64 {
    (dollars * 10_000.0).round() / 10_000.0
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate or a time is not negative, and a float saturates"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests;
