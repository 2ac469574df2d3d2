//! What a bench program printed, read back.
//!
//! The program compared with may be of any commit, so what is read is the table as people see it: a line of a
//! name, our figure, the ceiling, the ratio, the target, whether it is held, and `unit · note`; and the table
//! of all buffers, which has a column for each figure.

use anyhow::{Result, bail, ensure};

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
    /// Neither its unit nor its target says so.
    Unknown,
}

impl Better {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::More => "more is better",
            Self::Less => "less is better",
            Self::Unknown => "direction unknown",
        }
    }

    /// From the unit, and where that says nothing from the sign of the target.
    fn of(unit: &str, target: Option<&str>) -> Self {
        const SMALL: [&str; 9] = ["ns", "µs", "us", "ms", "s", "B", "KiB", "MiB", "GiB"];
        if unit.ends_with("/s") {
            Self::More
        } else if SMALL.contains(&unit) || target == Some("≤") {
            Self::Less
        } else {
            Self::Unknown
        }
    }
}

/// One printed line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) unit: String,
    pub(super) better: Better,
    pub(super) ours: f64,
    /// What was measured beside it in the same run, where there is such a thing.
    pub(super) ceiling: Option<f64>,
}

/// All figures in what a run printed.
///
/// # Errors
/// If a line of a table cannot be read, a figure is not a positive number, or there is none.
pub(super) fn parse(printed: &str) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut table = Table::None;
    for line in printed.lines() {
        let cells = cells(line);
        match (&cells[..], &table) {
            ([], _) => table = Table::None,
            (["what", "ours", ..], _) => table = Table::Rows,
            (["buffer", columns @ ..], _) => {
                table = Table::Buffers(columns.iter().map(ToString::to_string).collect());
            }
            (_, Table::Rows) => figures.push(row(line)?),
            ([backend, cells @ ..], Table::Buffers(columns)) => {
                ensure!(cells.len() == columns.len(), "cannot read the bench's line `{line}`");
                let columns = columns.iter().zip(cells);
                figures.extend(columns.filter_map(|(column, cell)| buffer(backend, column, cell)));
            }
            (_, Table::None) => {}
        }
    }
    ensure!(!figures.is_empty(), "the bench printed no figures");
    Ok(figures)
}

/// Which table the lines are of.
enum Table {
    None,
    Rows,
    /// With the heads of its columns.
    Buffers(Vec<String>),
}

/// Columns lie at least two blanks apart, and no cell has two of them in a row.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

fn row(line: &str) -> Result<Figure> {
    let Some((left, _note)) = line.split_once(" · ") else {
        bail!("cannot read the bench's line `{line}`: it has no ` · ` before its note");
    };
    let Some((what, rest)) = left.split_once("  ") else {
        bail!("cannot read the bench's line `{line}`: it has no columns");
    };
    let mut words: Vec<&str> = rest.split_whitespace().collect();
    let Some(unit) = words.pop() else {
        bail!("cannot read the bench's line `{line}`: it has no unit");
    };
    words.pop_if(|word| ["yes", "NO"].contains(word));
    // The target is a sign and a number.
    let sign = words.len().checked_sub(2).map(|at| words[at]);
    let target = sign.filter(|sign| ["≤", "≥"].contains(sign));
    if target.is_some() {
        words.truncate(words.len() - 2);
    }
    let positive = |word: &str| -> Result<f64> {
        match word.parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
            _ => bail!("cannot compare `{what}`: the bench printed `{word}`, not a number above 0"),
        }
    };
    // The printed ratio has two digits after the point; who needs one divides the figures.
    let (ours, ceiling) = match words[..] {
        [ours] => (positive(ours)?, None),
        [ours, ceiling] | [ours, ceiling, _] => (positive(ours)?, Some(positive(ceiling)?)),
        _ => bail!("cannot read the bench's line `{line}`: it has {} figures", words.len()),
    };
    let (what, unit) = (what.to_owned(), unit.to_owned());
    Ok(Figure { better: Better::of(&unit, target), what, unit, ours, ceiling })
}

/// None for a cell that is not one number: what memory grew by, and what an event survives.
fn buffer(backend: &str, column: &str, cell: &str) -> Option<Figure> {
    let ours: f64 = cell.parse().ok()?;
    let unit = column.split_whitespace().next_back()?.to_owned();
    let better = Better::of(&unit, None);
    (ours > 0.0 && ours.is_finite()).then(|| Figure {
        what: format!("{backend}: {column}"),
        unit,
        better,
        ours,
        ceiling: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
what                                       ours      ceiling   ratio    target  held  unit · note
journal offer                           1984819      1670767    1.15     ≥ 0.6  yes   events/s · 1002 groups
journal offer, single, p50                 11.9        0.150   79.33     ≤ 100  yes   µs · p99 41.6 µs · less is better
end-to-end latency p99                     15.0                           ≤ 25  NO    ms · 5000 payments/s for 30s
memory at 5,000/s                          67.0                          ≤ 120  yes   MiB · most resident
embedded pipeline, offers first           37574                                       payments/s · the same
end-to-end p99, Redis + PostgreSQL         18.0                           ≤ 25  yes   ms · Redis Stream
errors in all                             3.000                                       errors · counted
";

    fn check(line: &str, what: &str, unit: &str, better: Better, ours: f64, ceiling: Option<f64>) {
        let expected = Figure { what: what.into(), unit: unit.into(), better, ours, ceiling };
        assert_eq!(row(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn each_printed_row_gives_its_name_unit_direction_and_figures() {
        use Better::{Less, More, Unknown};
        let lines: Vec<&str> = PRINTED.lines().skip(1).collect();
        check(lines[0], "journal offer", "events/s", More, 1_984_819.0, Some(1_670_767.0));
        check(lines[1], "journal offer, single, p50", "µs", Less, 11.9, Some(0.15));
        check(lines[2], "end-to-end latency p99", "ms", Less, 15.0, None);
        check(lines[3], "memory at 5,000/s", "MiB", Less, 67.0, None);
        check(lines[4], "embedded pipeline, offers first", "payments/s", More, 37574.0, None);
        check(lines[5], "end-to-end p99, Redis + PostgreSQL", "ms", Less, 18.0, None);
        check(lines[6], "errors in all", "errors", Unknown, 3.0, None);
        assert_eq!(parse(PRINTED).unwrap().len(), lines.len());
    }

    #[test]
    fn the_kept_run_of_the_repository_is_read_whole() {
        let kept = include_str!("../../../docs/benchmarks/2026-11-21.txt");
        let figures = parse(kept).unwrap();
        assert_eq!(figures.len(), 9);
        assert!(figures.iter().all(|figure| figure.better != Better::Unknown), "{figures:?}");
    }

    #[test]
    fn the_table_of_buffers_gives_a_figure_for_each_cell_that_is_one_number() {
        let printed = "
buffers side by side: payments of some 250 bytes; memory while 1000 events are held

buffer            offers/s  single p50 µs  our RSS growth + server's RSS, MiB  an accepted event survives
memory             3297366          0.300                     3.1 + no server  nothing
journal, always     588953            114                     9.1 + no server  kill -9 and power loss
";
        let figures = parse(printed).unwrap();
        let told: Vec<(&str, &str, f64)> =
            figures.iter().map(|it| (it.what.as_str(), it.unit.as_str(), it.ours)).collect();
        let expected = [
            ("memory: offers/s", "offers/s", 3_297_366.0),
            ("memory: single p50 µs", "µs", 0.3),
            ("journal, always: offers/s", "offers/s", 588_953.0),
            ("journal, always: single p50 µs", "µs", 114.0),
        ];
        assert_eq!(told, expected);
        assert_eq!((figures[0].better, figures[1].better), (Better::More, Better::Less));
    }

    #[test]
    fn what_is_no_figure_is_an_error_and_not_a_nought() {
        let head = PRINTED.lines().next().unwrap();
        let unmeasured =
            "Redis vs. Python              NaN                     payments/s · not measured";
        for (line, part) in [
            (unmeasured, "not a number above 0"),
            ("journal offer                           1984819  events/s", "` · `"),
            ("journal offer                           1 2 3 4  events/s · note", "4 figures"),
            ("", "no figures"),
        ] {
            let error = parse(&format!("{head}\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
