//! The picture, drawn without a terminal and held against a golden file.
//!
//! `GOLDEN=refresh cargo test -p lab` writes the file anew.

use std::path::Path;
use std::time::Duration;

use buffer::Depth;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::picture::{Phase, Sample};
use super::*;

fn drawn(picture: &Picture, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| super::picture(picture, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

/// 47 seconds of a spike: the store falls behind, and catches up.
fn spike() -> Picture {
    let title = "forebay demo · spike · 2,000/s · seed 7".to_owned();
    let guarantee = "Accepted payments survive kill -9 and power loss: journal ./data/demo/buffer, \
                     sync=always, group commit.";
    let mut picture = Picture::new(title, guarantee.to_owned(), Some(Duration::from_secs(60)));
    let mut sample = Sample { memory_mib: Some(41.3), ..Sample::default() };
    for second in 1..=47_u64 {
        let due = if (24..36).contains(&second) { 6_000 } else { 1_000 };
        sample.offered += due;
        sample.accepted += due;
        sample.settled = sample.accepted.min(sample.settled + 4_800);
        let ready = sample.accepted - sample.settled;
        sample.depth = Depth { ready, leased: 12, dead: 0, oldest_accepted_ms: None };
        sample.oldest_age_ms = 4;
        (sample.p50_ms, sample.p99_ms, sample.max_ms) = (3, 1_940, 2_310);
        let flagged = [("velocity", 302), ("amount_spike", 118), ("dawn_high_amount", 61)];
        sample.flagged = flagged.map(|(rule, count)| (rule, count * second / 47)).to_vec();
        sample.flagged.push(("unusual_category", 0));
        picture.update(Duration::from_secs(second), Phase::Running, sample.clone());
    }
    picture
}

#[test]
fn at_80_by_24_everything_is_to_be_seen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/view-80x24.txt");
    let got = drawn(&spike(), 80, 24);
    if std::env::var("GOLDEN").is_ok_and(|value| value == "refresh") {
        std::fs::write(&path, &got).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(got == expect, "the picture is not the golden one:\n{got}");
}

#[test]
fn a_terminal_too_small_shows_what_fits() {
    for (width, height) in [(1, 1), (20, 5), (79, 10), (200, 60)] {
        assert_eq!(drawn(&spike(), width, height).lines().count(), usize::from(height));
    }
}

#[test]
fn nothing_counted_yet_can_be_drawn() {
    let picture = Picture::new("forebay demo".into(), String::new(), None);
    assert!(drawn(&picture, 80, 24).contains("running  00:00"));
}
