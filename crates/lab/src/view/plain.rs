//! The picture as one line, for logs and pipes.

use super::picture::Picture;
use model::units::{clock, grouped, millis_whole};

/// What is going on, in one line.
pub(super) fn line(picture: &Picture) -> String {
    let now = &picture.now;
    let flagged: u64 = now.flagged.iter().map(|(_, count)| count).sum();
    let memory =
        now.memory_mib.map_or_else(String::new, |mib| format!("  memory max {mib:.0} MiB"));
    format!(
        "{} {}  offered {}/s  accepted {}/s  settled {}/s  ready {}  leased {}  dead {}  \
         oldest {}  p50 {}  p99 {}  refused {}  flags {}{memory}",
        clock(picture.elapsed),
        picture.phase.name(),
        grouped(picture.offered.latest()),
        grouped(picture.accepted.latest()),
        grouped(picture.settled.latest()),
        grouped(now.depth.ready),
        grouped(now.depth.leased),
        grouped(now.depth.dead),
        millis_whole(now.oldest_age_ms),
        millis_whole(now.p50_ms),
        millis_whole(now.p99_ms),
        grouped(now.refused),
        grouped(flagged),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::picture::{Phase, Sample};
    use super::*;

    #[test]
    fn a_line_tells_what_the_picture_shows() {
        let mut picture = Picture::new("t".into(), "g".into(), None);
        let sample = Sample {
            offered: 2_000,
            accepted: 1_999,
            settled: 1_500,
            refused: 1,
            oldest_age_ms: 4,
            p50_ms: 3,
            p99_ms: 1_400,
            flagged: vec![("velocity", 7), ("amount_spike", 1)],
            memory_mib: Some(41.2),
            ..Sample::default()
        };
        picture.update(Duration::from_secs(1), Phase::Running, sample);
        assert_eq!(
            line(&picture),
            "00:01 running  offered 2,000/s  accepted 1,999/s  settled 1,500/s  ready 0  leased 0  \
             dead 0  oldest 4 ms  p50 3 ms  p99 1.4 s  refused 1  flags 8  memory max 41 MiB"
        );
    }
}
