//! Percentiles of latency: for each, a bar a phase, on a logarithmic scale.

use maud::{Markup, html};

use super::super::figures::Figures;
use super::super::measured::LatencyMs;
use super::super::number::figure;
use super::legend::{colour, figure_short, key};
use super::scale::Decades;
use super::svg::{Frame, at, drawing};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
const FRAME: Frame = Frame { left: 72.0, top: 24.0, right: 952.0, bottom: 322.0 };
/// A bar is no wider than this, however few there are.
const BAR_MAX: f64 = 56.0;
/// Of a group's room, what its bars take.
const FILLED: f64 = 0.84;

/// One bar of each group: a phase's whole way, or its way into the buffer.
struct Series {
    class: String,
    label: String,
    latency_ms: LatencyMs,
}

fn series(phases: &[Figures]) -> Vec<Series> {
    let of = |(index, phase): (usize, &Figures)| {
        let whole = Series {
            class: colour(index),
            label: phase.name.clone(),
            latency_ms: phase.latency_ms,
        };
        let accepted = phase.accepted_latency_ms.map(|latency_ms| Series {
            class: format!("{} pale", colour(index)),
            label: format!("{}, until accepted", phase.name),
            latency_ms,
        });
        accepted.into_iter().chain([whole])
    };
    phases.iter().enumerate().flat_map(of).collect()
}

pub(super) fn legend(phases: &[Figures]) -> Markup {
    let entries = series(phases).into_iter().map(|series| (series.class, series.label));
    key(&entries.collect::<Vec<_>>())
}

pub(super) fn draw(phases: &[Figures]) -> Markup {
    let series = series(phases);
    let values = series.iter().flat_map(|series| series.latency_ms.named());
    let scale = Decades::around(values.map(|(_, ms)| ms));
    let groups = LatencyMs::default().named().map(|(name, _)| name);
    let room = (FRAME.right - FRAME.left) / groups.len() as f64;
    let step = (room * FILLED / series.len().max(1) as f64).min(BAR_MAX + 4.0);
    let content = html! {
        @for tick in scale.ticks() {
            (FRAME.level(scale.place(tick), &format!("{} ms", figure_short(tick))))
        }
        @for (group, name) in groups.iter().enumerate() {
            @let middle = FRAME.left + (group as f64 + 0.5) * room;
            @let start = middle - step * series.len() as f64 / 2.0;
            @for (index, series) in series.iter().enumerate() {
                @let ms = series.latency_ms.named()[group].1;
                @let (left, top) = (start + index as f64 * step + 2.0, FRAME.y(scale.place(ms)));
                rect class=(format!("bar {}", series.class)) x=(at(left)) y=(at(top))
                    width=(at(step - 4.0)) height=(at((FRAME.bottom - top).max(1.0))) rx="2" {}
                text.small x=(at(left + step / 2.0 - 2.0)) y=(at(top - 6.0)) text-anchor="middle" {
                    (figure(ms))
                }
            }
            text.name x=(at(middle)) y=(at(FRAME.bottom + 26.0)) text-anchor="middle" { (name) }
        }
    };
    let told: Vec<_> = series.iter().map(told).collect();
    let title = "Latency percentiles by phase, in milliseconds";
    drawing("latency", (WIDTH, HEIGHT), title, &told.join("; "), &content)
}

fn told(series: &Series) -> String {
    let figures = series.latency_ms.named().map(|(name, ms)| format!("{name} {}", figure(ms)));
    format!("{}: {}", series.label, figures.join(", "))
}
