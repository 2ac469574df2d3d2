//! Payments a second over time: a line a phase.

use maud::{Markup, html};

use super::super::figures::Figures;
use super::super::measured::RatePoint;
use super::super::number::figure;
use super::legend::{colour, figure_short, key};
use super::scale::ticks;
use super::svg::{Frame, at, drawing};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
const FRAME: Frame = Frame { left: 72.0, top: 16.0, right: 944.0, bottom: 284.0 };

pub(super) fn legend(phases: &[Figures]) -> Markup {
    let entries = phases.iter().enumerate();
    let entries =
        entries.map(|(index, phase)| (format!("line {}", colour(index)), phase.name.clone()));
    key(&entries.collect::<Vec<_>>())
}

pub(super) fn draw(phases: &[Figures]) -> Markup {
    let points = || phases.iter().flat_map(|phase| &phase.rate_over_time);
    let levels = ticks(points().map(|point| point.rate_per_second).fold(0.0, f64::max));
    let max = levels.last().copied().unwrap_or(1.0);
    let end = phases.iter().map(|phase| phase.seconds);
    let end = end.chain(points().map(|point| point.at_seconds)).fold(0.1, f64::max);
    let content = html! {
        @for level in &levels { (FRAME.level(level / max, &figure_short(*level))) }
        (FRAME.seconds(&ticks(end), end))
        @for (index, phase) in phases.iter().enumerate() {
            @let points: Vec<_> =
                phase.rate_over_time.iter().map(|point| (point.at_seconds, point.rate_per_second)).collect();
            path class=(format!("line {}", colour(index))) d=(FRAME.path(&points, end, max)) {}
            @if let Some((seconds, rate)) = points.last() {
                circle class=(format!("end {}", colour(index))) r="4"
                    cx=(at(FRAME.x(seconds / end))) cy=(at(FRAME.y(rate / max))) {}
            }
        }
    };
    let told: Vec<_> = phases.iter().filter_map(told).collect();
    let title = "Payments committed a second, over time, by phase";
    drawing("over-time", (WIDTH, HEIGHT), title, &told.join("; "), &content)
}

fn told(phase: &Figures) -> Option<String> {
    let rates =
        || phase.rate_over_time.iter().map(|RatePoint { rate_per_second, .. }| *rate_per_second);
    let least = rates().min_by(f64::total_cmp)?;
    let most = rates().max_by(f64::total_cmp)?;
    Some(format!("{}: between {} and {}", phase.name, figure(least), figure(most)))
}
