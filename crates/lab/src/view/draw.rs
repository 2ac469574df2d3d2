//! The picture on a terminal: made for 80 × 24, fills whatever there is.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Padding, Paragraph, Sparkline, Wrap};

use super::picture::{Phase, Picture, Rates};
use model::units::{clock, grouped, millis_whole};

const OFFERED: Color = Color::Cyan;
const ACCEPTED: Color = Color::Green;
const SETTLED: Color = Color::Blue;
const FLAGGED: Color = Color::Yellow;
const TROUBLE: Color = Color::Red;
/// Width of the labels in front of the sparklines.
const LABEL: u16 = 17;
/// Width of a rule's name, and of its count behind the bar.
const RULE: u16 = 18;
const COUNT: u16 = 9;

/// Draws all of it.
pub(super) fn picture(picture: &Picture, frame: &mut Frame<'_>) {
    let rules = u16::try_from(picture.now.flagged.len()).unwrap_or(4).max(1);
    let [title, rates, boxes, flagged, guarantee, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(rules + 2),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_title(picture, frame, title);
    draw_rates(picture, frame, rates);
    draw_boxes(picture, frame, boxes);
    draw_flagged(picture, frame, flagged);
    let words = Paragraph::new(picture.guarantee.as_str()).wrap(Wrap { trim: true });
    frame.render_widget(words.dim(), inset(guarantee));
    let keys = match picture.phase {
        Phase::Running => "q stops: drains, audits, reports",
        _ => "finishing",
    };
    frame.render_widget(Paragraph::new(keys).dim(), inset(help));
}

fn draw_title(picture: &Picture, frame: &mut Frame<'_>, area: Rect) {
    let area = inset(area);
    let of = picture.duration.map_or_else(String::new, |whole| format!(" / {}", clock(whole)));
    let time = format!("{}  {}{of}", picture.phase.name(), clock(picture.elapsed));
    frame.render_widget(Paragraph::new(Line::from(picture.title.as_str()).bold()), area);
    frame.render_widget(Paragraph::new(time).alignment(Alignment::Right), area);
}

fn draw_rates(picture: &Picture, frame: &mut Frame<'_>, area: Rect) {
    let block = boxed("events a second, last minute");
    let rows = Layout::vertical([Constraint::Length(2); 3]).split(block.inner(area));
    frame.render_widget(block, area);
    let now = &picture.now;
    let rates = [
        ("offered", &picture.offered, now.offered, OFFERED),
        ("accepted", &picture.accepted, now.accepted, ACCEPTED),
        ("settled", &picture.settled, now.settled, SETTLED),
    ];
    // One scale for all three, so that a gap between them is seen.
    let top = rates.iter().flat_map(|(_, rates, ..)| rates.per_second.iter()).max().copied();
    for ((name, rates, total, color), row) in rates.into_iter().zip(rows.iter()) {
        draw_rate(name, rates, total, color, top.unwrap_or(1).max(1), frame, *row);
    }
}

fn draw_rate(
    name: &str,
    rates: &Rates,
    total: u64,
    color: Color,
    top: u64,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let [label, _, bars] =
        Layout::horizontal([Constraint::Length(LABEL), Constraint::Length(1), Constraint::Min(0)])
            .areas(area);
    let rate = format!("{}/s", grouped(rates.latest()));
    let gap = usize::from(LABEL).saturating_sub(name.len());
    let lines = vec![
        Line::from(vec![Span::raw(name), Span::styled(format!("{rate:>gap$}"), color)]),
        Line::from(format!("{:>1$}", grouped(total), usize::from(LABEL))).dim(),
    ];
    frame.render_widget(Paragraph::new(lines), label);
    let skip = rates.per_second.len().saturating_sub(usize::from(bars.width));
    let history: Vec<u64> = rates.per_second.iter().skip(skip).copied().collect();
    // The latest second is at the right edge from the beginning.
    let shown = u16::try_from(history.len()).unwrap_or(bars.width);
    let bars = Rect { x: bars.right().saturating_sub(shown), width: shown, ..bars };
    let line = Sparkline::default().data(&history).max(top).style(Style::from(color));
    frame.render_widget(line, bars);
}

fn draw_boxes(picture: &Picture, frame: &mut Frame<'_>, area: Rect) {
    let now = &picture.now;
    let [buffer, latency, process] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1), Constraint::Fill(1)])
            .areas(area);
    let trouble = |count: u64| if count > 0 { Style::from(TROUBLE) } else { Style::new() };
    let plain = Style::new();
    let depth = now.depth;
    draw_box(
        "buffer",
        &[
            ("ready", grouped(depth.ready), plain),
            ("leased", grouped(depth.leased), plain),
            ("dead", grouped(depth.dead), trouble(depth.dead)),
            ("oldest", millis_whole(now.oldest_age_ms), plain),
        ],
        frame,
        buffer,
    );
    draw_box(
        "accepted → settled",
        &[
            ("p50", millis_whole(now.p50_ms), plain),
            ("p99", millis_whole(now.p99_ms), plain),
            ("max", millis_whole(now.max_ms), plain),
        ],
        frame,
        latency,
    );
    let memory = now.memory_mib.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
    draw_box(
        "process",
        &[
            ("refused", grouped(now.refused), trouble(now.refused)),
            ("duplicates", grouped(now.duplicates), plain),
            ("memory max", memory, plain),
        ],
        frame,
        process,
    );
}

fn draw_box(title: &str, rows: &[(&str, String, Style)], frame: &mut Frame<'_>, area: Rect) {
    let block = boxed(title);
    let inner = block.inner(area);
    let width = usize::from(inner.width);
    let line = |(name, value, style): &(&str, String, Style)| {
        let gap = width.saturating_sub(name.len());
        Line::from(vec![
            Span::raw((*name).to_owned()),
            Span::styled(format!("{value:>gap$}"), *style),
        ])
    };
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(rows.iter().map(line).collect::<Vec<_>>()), inner);
}

fn draw_flagged(picture: &Picture, frame: &mut Frame<'_>, area: Rect) {
    let block = boxed("flagged, by rule");
    let inner = block.inner(area);
    let flagged = &picture.now.flagged;
    let top = flagged.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = u64::from(inner.width.saturating_sub(RULE + COUNT));
    let line = |(rule, count): &(&str, u64)| {
        let length = (count * room).div_ceil(top).min(room);
        let bar = "█".repeat(usize::try_from(length).unwrap_or(0));
        let room = usize::try_from(room).unwrap_or(0);
        Line::from(vec![
            Span::raw(format!("{rule:<0$}", usize::from(RULE))),
            Span::styled(format!("{bar:<room$}"), FLAGGED),
            Span::raw(format!("{:>1$}", grouped(*count), usize::from(COUNT))),
        ])
    };
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(flagged.iter().map(line).collect::<Vec<_>>()), inner);
}

fn boxed(title: &str) -> Block<'_> {
    let title = Line::from(format!(" {title} ")).dim();
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().dim())
        .title(title)
        .padding(Padding::horizontal(1))
}

/// Two columns free on either side, in line with what is inside the boxes.
fn inset(area: Rect) -> Rect {
    area.inner(ratatui::layout::Margin { horizontal: 2, vertical: 0 })
}

#[cfg(test)]
mod tests;
