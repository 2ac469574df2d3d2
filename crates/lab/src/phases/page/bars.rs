//! The rate of each phase as a bar.

use maud::{Markup, html};

use super::super::comparison::Comparison;
use super::super::number::{figure, times};
use super::legend::colour;
use super::svg::{at, drawing};

const WIDTH: f64 = 960.0;
/// The name, the bar, and the gap to the next.
const ROW: f64 = 64.0;
const BAR: f64 = 26.0;
/// Room right of the longest bar for its figure.
const LABEL: f64 = 190.0;

pub(super) fn draw(comparison: &Comparison) -> Markup {
    let phases = &comparison.phases;
    let max = phases.iter().map(|phase| phase.rate_per_second).fold(0.0, f64::max);
    let told: Vec<_> = phases
        .iter()
        .map(|phase| format!("{}: {}", phase.name, figure(phase.rate_per_second)))
        .collect();
    let content = html! {
        @for (index, phase) in phases.iter().enumerate() {
            @let top = index as f64 * ROW;
            @let share = if max > 0.0 { phase.rate_per_second / max } else { 0.0 };
            @let length = (share * (WIDTH - LABEL)).max(2.0);
            text.name x="0" y=(at(top + 18.0)) { (phase.name) }
            rect class=(format!("bar {}", colour(index))) x="0" y=(at(top + 27.0))
                width=(at(length)) height=(at(BAR)) rx="3" {}
            text.value x=(at(length + 10.0)) y=(at(top + 45.0)) {
                (figure(phase.rate_per_second))
                @if let Some(ratio) = comparison.rate_to_first(phase).filter(|_| index > 0) {
                    tspan.aside dx="8" { (times(ratio)) }
                }
            }
        }
    };
    let size = (WIDTH, phases.len() as f64 * ROW);
    drawing("rate", size, "Payments a second by phase", &told.join("; "), &content)
}
