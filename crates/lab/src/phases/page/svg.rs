//! The little of SVG that every chart needs.

use maud::{Markup, html};

use super::legend::figure_short;

/// A drawing: `width` by `height` units, scaled to the room there is. `title` and `description` are
/// what a screen reader says in its place; `id` tells it from the page's other drawings.
pub(super) fn drawing(
    id: &str,
    (width, height): (f64, f64),
    title: &str,
    description: &str,
    content: &Markup,
) -> Markup {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
    html! {
        div class=(if width > 500.0 { "scroll wide" } else { "scroll" }) {
            svg viewBox=(format!("0 0 {} {}", at(width), at(height))) role="img"
                aria-labelledby=(format!("{title_id} {description_id}")) {
                title id=(title_id) { (title) }
                desc id=(description_id) { (description) }
                (content)
            }
        }
    }
}

/// A coordinate: a tenth of a unit is finer than any screen.
pub(super) fn at(value: f64) -> String {
    let text = format!("{:.1}", if value.is_finite() { value } else { 0.0 });
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Where the lines of a chart are drawn, inside a drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// Across, from 0.0 (left) to 1.0 (right).
    pub(super) fn x(&self, share: f64) -> f64 {
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// Up, from 0.0 (bottom) to 1.0 (top).
    pub(super) fn y(&self, share: f64) -> f64 {
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// A gridline right across at `share` of the height, with its label on the left.
    pub(super) fn level(&self, share: f64, label: &str) -> Markup {
        let y = self.y(share);
        html! {
            line class=(if share > 0.0 { "grid" } else { "axis" })
                x1=(at(self.left)) x2=(at(self.right)) y1=(at(y)) y2=(at(y)) {}
            text.tick x=(at(self.left - 8.0)) y=(at(y + 4.0)) text-anchor="end" { (label) }
        }
    }

    /// Labels of `seconds` under the axis; the last one says the unit.
    pub(super) fn seconds(&self, ticks: &[f64], end: f64) -> Markup {
        html! {
            @for (index, tick) in ticks.iter().enumerate().filter(|(_, tick)| **tick <= end * 1.001) {
                @let unit = if index == 0 { " s" } else { "" };
                text.tick x=(at(self.x(tick / end))) y=(at(self.bottom + 20.0)) text-anchor="middle" {
                    (figure_short(*tick)) (unit)
                }
            }
        }
    }

    /// A line through `points` (seconds, value); values are held against `max`, seconds against `end`.
    pub(super) fn path(&self, points: &[(f64, f64)], end: f64, max: f64) -> String {
        let mut path = String::new();
        for (index, (seconds, value)) in points.iter().enumerate() {
            let (x, y) = (at(self.x(seconds / end)), at(self.y(value / max)));
            path.push_str(&format!("{}{x} {y}", if index == 0 { "M" } else { " L" }));
        }
        path
    }
}
