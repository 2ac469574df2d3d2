//! What one process could do, from what its lanes were seen to do.
//!
//! The plain formula is rate / busy share: a process whose busiest lane settles 1,000 events a second and
//! is at work half of the time could do 2,000. It is taken over the ten busiest intervals. It is too low
//! where batches are small: a transaction costs something however little is in it, and under more load
//! lanes gather more for each. So where batches of different sizes were seen, the lanes' working time is
//! fitted (least squares) as
//!
//! ```text
//! worked = a × batches + b × events
//! ```
//!
//! and the capacity of a lane is `m / (a + b × m)` for batches of `m` events: twice the largest mean
//! batch of any interval, and no more than a full one. No further: what lies beyond was not seen.
//!
//! Where all batches were alike nothing can be fitted. Then the plain formula is what it can do at least,
//! and the same with full batches at the cost of those seen is what it can do at most.
//!
//! A pipeline of calls has no batches: an event takes the time of its calls, retries included, and as many events as
//! `calls_max` are worked on at once. So a process can do `calls_max` / that time, and at most as much with
//! [`CALLS_MAX`] calls. What the called service can do is not known.

use store::Load;

/// Intervals that the busy share is taken over.
const BUSIEST: usize = 10;
/// How far beyond the largest mean batch that was seen the fit is trusted.
const REACH: f64 = 2.0;
/// The largest `calls_max` of a pipeline of calls.
pub(crate) const CALLS_MAX: u32 = 10_000;
/// How different batches must be for a fit: the square of their sizes' coefficient of variation, 10%.
const SPREAD_MIN: f64 = 0.01;

/// Events a second that one process could settle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// At least.
    pub per_s: f64,
    /// At most; the same where it was measured over batches of several sizes. Of calls: with as many at once as a
    /// process can have.
    pub at_most_per_s: f64,
    /// Events of a batch in the busiest intervals, on average.
    pub batch: f64,
    /// Events of a full one.
    pub batch_max: u32,
    /// Calls at once, as configured; nothing where lanes settle.
    pub calls_max: Option<u32>,
}

impl Capacity {
    /// Of a process as those of `loads`. `None` where no lane was seen settling undisturbed.
    #[must_use]
    pub fn of(loads: &[Load]) -> Option<Self> {
        if let Some(calls) = Self::of_calls(loads) {
            return Some(calls);
        }
        // An attempt that failed takes time and settles nothing.
        let settles = |load: &&Load| load.finished > 0 && load.batches > 0 && load.worked_ms > 0;
        let usable: Vec<_> = loads.iter().filter(settles).filter(|load| load.failed == 0).collect();
        let latest = usable.last()?;
        let busiest = busiest(usable.clone());
        let sum = |of: fn(&Load) -> f64| busiest.iter().map(|load| of(load)).sum::<f64>();
        let (events, batches) = (sum(|load| load.finished as f64), sum(|load| load.batches as f64));
        let worked_s = sum(worked_s);
        // The busiest lane is the first that can't do more.
        let busiest_s = sum(|load| load.worked_ms_max as f64 / 1_000.0 * f64::from(load.lanes));
        let evenness = if busiest_s > 0.0 { (worked_s / busiest_s).min(1.0) } else { 1.0 };
        let lanes = f64::from(latest.lanes) * evenness;
        let batch = events / batches;
        let full = f64::from(latest.batch_max).max(batch);
        let plain = events / worked_s;
        let largest = usable.iter().map(|load| load.finished as f64 / load.batches as f64);
        let reach = (largest.fold(batch, f64::max) * REACH).min(full);
        let (lane, lane_max) = match fit(&usable) {
            Some((a, b)) => {
                let fitted = plain.max(reach / (a + b * reach));
                (fitted, fitted)
            }
            None => (plain, plain * full / batch),
        };
        Some(Self {
            per_s: lanes * lane,
            at_most_per_s: lanes * lane_max,
            batch,
            batch_max: latest.batch_max,
            calls_max: None,
        })
    }

    /// Of a process whose pipeline makes calls; nothing of one with batches.
    fn of_calls(loads: &[Load]) -> Option<Self> {
        let finished: Vec<_> = loads.iter().filter(|load| load.finished > 0).collect();
        let calls_max =
            finished.last().filter(|_| finished.iter().all(|load| makes_calls(load)))?.lanes;
        let worked = finished.into_iter().filter(|load| load.worked_ms > 0).collect();
        let busiest = busiest(worked);
        let worked_s: f64 = busiest.iter().map(|load| worked_s(load)).sum();
        let events: f64 = busiest.iter().map(|load| load.finished as f64).sum();
        let slot = (worked_s > 0.0).then(|| events / worked_s)?;
        Some(Self {
            per_s: slot * f64::from(calls_max),
            at_most_per_s: slot * f64::from(CALLS_MAX.max(calls_max)),
            batch: 1.0,
            batch_max: 1,
            calls_max: Some(calls_max),
        })
    }
}

/// Whether a row with finished events is of a pipeline of calls: it counts no batches.
fn makes_calls(load: &Load) -> bool {
    load.batch_max == 1 && load.batches == 0
}

/// Those in which the lanes worked most.
fn busiest(mut loads: Vec<&Load>) -> Vec<&Load> {
    loads.sort_by(|a, b| share(b).total_cmp(&share(a)));
    loads.truncate(BUSIEST);
    loads
}

/// How much of the time a lane was at work, on average.
pub(crate) fn share(load: &Load) -> f64 {
    load.worked_ms as f64 / (load.span_ms as f64 * f64::from(load.lanes))
}

/// How much of the time the busiest lane was.
pub(crate) fn share_max(load: &Load) -> f64 {
    load.worked_ms_max as f64 / load.span_ms as f64
}

fn worked_s(load: &Load) -> f64 {
    load.worked_ms as f64 / 1_000.0
}

/// Seconds that a batch costs, and each event in it: neither below nothing.
fn fit(loads: &[&Load]) -> Option<(f64, f64)> {
    let (mut kk, mut kn, mut nn, mut kw, mut nw) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for load in loads {
        let (k, n, w) = (load.batches as f64, load.finished as f64, worked_s(load));
        kk += k * k;
        kn += k * n;
        nn += n * n;
        kw += k * w;
        nw += n * w;
    }
    let determinant = kk * nn - kn * kn;
    if determinant < SPREAD_MIN * kk * nn {
        return None;
    }
    let (a, b) = ((kw * nn - nw * kn) / determinant, (nw * kk - kw * kn) / determinant);
    Some(if a < 0.0 {
        (0.0, nw / nn)
    } else if b < 0.0 {
        (kw / kk, 0.0)
    } else {
        (a, b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::tests::load;

    /// A minute of two lanes in which each batch cost 10 ms and each event 0.1 ms.
    fn costed(batches: u64, batch: u64) -> Load {
        let finished = batches * batch;
        let worked_ms = batches * 10 + finished / 10;
        Load { batches, finished, worked_ms, worked_ms_max: worked_ms / 2, ..load(0) }
    }

    fn check(loads: &[Load], per_s: f64, at_most_per_s: f64) {
        let capacity = Capacity::of(loads).unwrap();
        let near = |got: f64, expect: f64| (got - expect).abs() < expect / 100.0;
        assert!(near(capacity.per_s, per_s), "{capacity:?}, not {per_s}");
        assert!(near(capacity.at_most_per_s, at_most_per_s), "{capacity:?}, not {at_most_per_s}");
    }

    #[test]
    fn alike_batches_give_rate_by_busy_share_and_what_full_ones_would_give() {
        // 60,000 events in 12 s of work: 5,000 a second and lane. Full batches hold 10 times as much.
        check(&vec![costed(600, 100); 12], 10_000.0, 100_000.0);
    }

    #[test]
    fn full_batches_leave_nothing_open() {
        check(&vec![costed(60, 1_000); 12], 2.0 * 1_000.0 / 0.110, 2.0 * 1_000.0 / 0.110);
    }

    #[test]
    fn batches_of_several_sizes_tell_what_batches_and_events_cost() {
        let loads = [costed(3_000, 1), costed(3_000, 2), costed(3_000, 4)];
        // Trusted up to batches of 8, not of 1,000.
        let capacity = 2.0 * 8.0 / (0.010 + 8.0 * 0.0001);
        check(&loads, capacity, capacity);
    }

    #[test]
    fn the_fit_goes_no_further_than_a_full_batch() {
        let capacity = 2.0 * 1_000.0 / 0.110;
        check(&[costed(60, 100), costed(60, 900)], capacity, capacity);
    }

    #[test]
    fn the_busiest_lane_is_what_fills_first() {
        let skewed = |load: Load| Load { worked_ms_max: load.worked_ms, ..load };
        check(&vec![skewed(costed(60, 1_000)); 3], 1_000.0 / 0.110, 1_000.0 / 0.110);
    }

    #[test]
    fn the_busiest_intervals_count_and_not_those_in_which_attempts_failed() {
        let idle = Load { worked_ms: 600, worked_ms_max: 300, ..costed(1, 100) };
        let failed =
            Load { failed: 1, worked_ms: 120_000, worked_ms_max: 60_000, ..costed(600, 100) };
        let mut loads = vec![costed(600, 100); 10];
        loads.extend(vec![idle; 30]);
        loads.push(failed);
        check(&loads, 10_000.0, 100_000.0);
    }

    /// A minute in which calls took 50 ms each, and 100 could be under way.
    fn called(finished: u64) -> Load {
        let worked_ms = finished * 50;
        let calls = Load { lanes: 100, batch_max: 1, failed: finished / 10, ..load(0) };
        Load { finished, worked_ms, worked_ms_max: worked_ms / 100, ..calls }
    }

    #[test]
    fn calls_are_no_busy_lanes_and_their_failed_attempts_count() {
        check(&vec![called(6_000); 12], 2_000.0, 200_000.0);
        let capacity = Capacity::of(&[called(6_000), load(1)]).unwrap();
        assert_eq!(capacity.calls_max, Some(100));
        let batches = [called(6_000), costed(60, 1_000)];
        assert_eq!(Capacity::of(&batches).unwrap().calls_max, None, "it had batches as well");
    }

    #[test]
    fn without_work_nothing_is_known() {
        assert_eq!(Capacity::of(&[]), None);
        assert_eq!(
            Capacity::of(&[Load { finished: 0, batches: 0, worked_ms: 0, ..load(0) }]),
            None
        );
        assert_eq!(Capacity::of(&[Load { failed: 1, ..costed(1, 1) }]), None);
    }
}
