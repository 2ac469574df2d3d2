//! What all pairs together say: a text for people, a line of JSON for scripts.

use std::fmt::Write;

use serde_json::{Value, json};

use super::figure::{Better, Figure};
use super::interval::Spread;
use super::pairs::{Pair, matched};

/// One figure of the bench, over all pairs.
#[derive(Debug)]
pub(super) struct Compared {
    what: String,
    unit: String,
    better: Better,
    /// Medians of the figures themselves, before and after.
    medians: (f64, f64),
    /// After ÷ before, by what is divided.
    ratios: Vec<(&'static str, Spread)>,
}

/// What is compared of a figure.
type Part = fn(&Figure) -> Option<f64>;
const PARTS: [(&str, Part); 3] = [
    ("ours", |figure| Some(figure.ours)),
    ("ceiling", |figure| figure.ceiling),
    ("ours/ceiling", |figure| Some(figure.ours / figure.ceiling?)),
];

/// The figures that both sides have, in the order in which the later one prints them.
pub(super) fn compare(pairs: &[Pair]) -> Vec<Compared> {
    let Some(first) = pairs.first() else { return Vec::new() };
    matched(first).filter_map(|(_, figure)| one(pairs, figure)).collect()
}

/// Figures that one side alone has, as `NAME, UNIT (SIDE only)`.
pub(super) fn unmatched(pairs: &[Pair]) -> Vec<String> {
    let Some(first) = pairs.first() else { return Vec::new() };
    let both: Vec<(&str, &str)> =
        matched(first).map(|(_, it)| (it.what.as_str(), it.unit.as_str())).collect();
    let sides = [("before", &first.before), ("after", &first.after)];
    let alone = sides.iter().flat_map(|(side, figures)| {
        let alone = figures.iter().filter(|it| !both.contains(&(&it.what, &it.unit)));
        alone.map(move |it| format!("{}, {} ({side} only)", it.what, it.unit))
    });
    alone.collect()
}

fn one(pairs: &[Pair], figure: &Figure) -> Option<Compared> {
    let of: Vec<(&Figure, &Figure)> = pairs
        .iter()
        .filter_map(|pair| {
            matched(pair).find(|(_, it)| it.what == figure.what && it.unit == figure.unit)
        })
        .collect();
    let ratios = PARTS.iter().filter_map(|(name, part)| {
        let ratios = of.iter().filter_map(|(before, after)| Some(part(after)? / part(before)?));
        Some((*name, Spread::of(ratios.collect())?))
    });
    Some(Compared {
        what: figure.what.clone(),
        unit: figure.unit.clone(),
        better: figure.better,
        medians: (
            Spread::of(of.iter().map(|(before, _)| before.ours).collect())?.median,
            Spread::of(of.iter().map(|(_, after)| after.ours).collect())?.median,
        ),
        ratios: ratios.collect(),
    })
}

impl Compared {
    /// What the interval of our figure's ratio says.
    fn verdict(&self) -> &'static str {
        let Some((_, ours)) = self.ratios.first() else { return "not measured" };
        let Some((low, high)) = ours.interval else {
            return "too few pairs for an interval";
        };
        match (self.better, high < 1.0, low > 1.0) {
            (_, false, false) => "no difference shown: 1 is in the interval",
            (Better::Unknown, true, _) => "smaller",
            (Better::Unknown, ..) => "larger",
            (Better::More, true, _) | (Better::Less, _, true) => "worse",
            (Better::More, ..) | (Better::Less, ..) => "better",
        }
    }

    fn json(&self) -> Value {
        let ratios = self.ratios.iter().map(|(name, spread)| {
            let ratio = json!({
                "pairs": spread.pairs,
                "median": spread.median,
                "low": spread.interval.map(|(low, _)| low),
                "high": spread.interval.map(|(_, high)| high),
                "min": spread.least,
                "max": spread.most,
            });
            ((*name).to_owned(), ratio)
        });
        let better = match self.better {
            Better::More => "more",
            Better::Less => "less",
            Better::Unknown => "unknown",
        };
        json!({
            "what": self.what,
            "unit": self.unit,
            "better": better,
            "before": self.medians.0,
            "after": self.medians.1,
            "ratios": ratios.collect::<serde_json::Map<_, _>>(),
            "verdict": self.verdict(),
        })
    }
}

/// For people.
pub(super) fn text(compared: &[Compared], unmatched: &[String]) -> String {
    let mut out = format!(
        "\nafter ÷ before; the interval is that of the median, at 95% or more\n\n\
         {:<14} {:>8}  {:<18}  {:>8}  {:>8}  {:>5}\n",
        "", "median", "interval", "min", "max", "pairs"
    );
    for figure in compared {
        let (before, after) = figure.medians;
        let _ = writeln!(
            out,
            "{} · {}, {}: {} before, {} after · {}",
            figure.what,
            figure.unit,
            figure.better.words(),
            digits(before),
            digits(after),
            figure.verdict()
        );
        for (name, spread) in &figure.ratios {
            let interval = spread
                .interval
                .map_or("none".into(), |(low, high)| format!("{low:.3} to {high:.3}"));
            let _ = writeln!(
                out,
                "  {name:<12} {:>8.3}  {interval:<18}  {:>8.3}  {:>8.3}  {:>5}",
                spread.median, spread.least, spread.most, spread.pairs
            );
        }
    }
    for figure in unmatched {
        let _ = writeln!(out, "not compared: {figure}");
    }
    out
}

/// One line for scripts.
pub(super) fn line(
    before: &str,
    after: &str,
    compared: &[Compared],
    unmatched: &[String],
) -> String {
    let figures: Vec<Value> = compared.iter().map(Compared::json).collect();
    json!({ "before": before, "after": after, "figures": figures, "not_compared": unmatched })
        .to_string()
}

/// As many as the bench prints.
fn digits(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(what: &str, unit: &str, better: Better, ours: f64, ceiling: Option<f64>) -> Figure {
        Figure { what: what.into(), unit: unit.into(), better, ours, ceiling }
    }

    /// Fifteen pairs; the ratio of pair `n` is `ratio` and a thousandth of `n - 7` more.
    fn pairs(unit: &str, better: Better, ratio: f64) -> Vec<Pair> {
        let pair = |n: i32| Pair {
            before: vec![figure("offer", unit, better, 200.0, Some(400.0))],
            after: vec![figure(
                "offer",
                unit,
                better,
                200.0 * (ratio + f64::from(n - 7) / 1000.0),
                Some(800.0),
            )],
        };
        (0..15).map(pair).collect()
    }

    fn verdict(unit: &str, better: Better, ratio: f64) -> &'static str {
        compare(&pairs(unit, better, ratio))[0].verdict()
    }

    #[test]
    fn the_direction_decides_what_is_worse() {
        assert_eq!(verdict("x/s", Better::More, 0.9), "worse");
        assert_eq!(verdict("x/s", Better::More, 1.1), "better");
        assert_eq!(verdict("ms", Better::Less, 0.9), "better");
        assert_eq!(verdict("ms", Better::Less, 1.1), "worse");
        assert_eq!(verdict("things", Better::Unknown, 1.1), "larger");
        assert!(verdict("x/s", Better::More, 1.001).starts_with("no difference"));
    }

    #[test]
    fn the_figure_its_ceiling_and_the_two_divided_are_compared_by_pair() {
        let compared = compare(&pairs("x/s", Better::More, 0.9));
        let text = text(&compared, &[]);
        for part in [
            "offer · x/s, more is better: 200.0 before, 180.0 after · worse",
            "  ours            0.900  0.896 to 0.904         0.893     0.907     15",
            "  ceiling         2.000  2.000 to 2.000         2.000     2.000     15",
            "  ours/ceiling    0.450  0.448 to 0.452         0.447     0.454     15",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let line: Value = serde_json::from_str(&line("a", "b", &compared, &[])).unwrap();
        let ours = &line["figures"][0]["ratios"]["ours"];
        assert!((ours["low"].as_f64().unwrap() - 0.896).abs() < 1e-9, "{line}");
        assert_eq!((&ours["pairs"], &line["figures"][0]["better"]), (&json!(15), &json!("more")));
    }

    #[test]
    fn a_figure_of_one_side_alone_is_named() {
        let pair = Pair {
            before: vec![figure("old", "ms", Better::Less, 1.0, None)],
            after: vec![figure("new", "ms", Better::Less, 1.0, None)],
        };
        let pairs = [pair];
        assert!(compare(&pairs).is_empty());
        assert_eq!(unmatched(&pairs), ["old, ms (before only)", "new, ms (after only)"]);
    }

    #[test]
    fn fewer_than_six_pairs_give_no_interval_and_no_verdict() {
        let compared = compare(&pairs("x/s", Better::More, 0.5)[..5]);
        assert_eq!(compared[0].verdict(), "too few pairs for an interval");
        assert!(text(&compared, &[]).contains("none"));
    }
}
