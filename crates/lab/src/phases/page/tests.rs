use std::fmt::Write as _;

use super::super::comparison::tests::sample;
use super::super::figures::Figures;
use super::super::{Comparison, Setting, table};

/// Elements that have no content and no end tag.
const VOID: [&str; 1] = ["meta"];

/// The elements, in order of opening.
///
/// # Panics
/// If an end tag is missing or has no beginning, an attribute is not quoted, or a `<`, `>` or `&`
/// stands in text.
fn elements(page: &str) -> Vec<(String, String)> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("it says that it is HTML");
    let (mut open, mut seen) = (Vec::<String>::new(), Vec::new());
    while let Some((text, after)) = rest.split_once('<') {
        check_text(text, open.last().map(String::as_str));
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "ends what is open");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes);
        seen.push((name.to_owned(), attributes.to_owned()));
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} still open before {rest:?}");
    seen
}

fn check_text(text: &str, within: Option<&str>) {
    assert!(within == Some("style") || !text.contains('>'), "bare > in {text:?}");
    for part in text.split('&').skip(1) {
        let entity = part.split_once(';').map(|(entity, _)| entity);
        let known = ["amp", "lt", "gt", "quot"];
        assert!(entity.is_some_and(|entity| known.contains(&entity)), "bare & in {text:?}");
    }
}

fn check_attributes(attributes: &str) {
    let parts: Vec<_> = attributes.split('"').collect();
    assert!(parts.len() % 2 == 1, "an odd quote in {attributes:?}");
    for name in parts.iter().step_by(2).filter(|name| !name.trim().is_empty()) {
        let name = name.trim().strip_suffix('=').expect("each attribute has a value");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name:?}");
    }
}

/// The page's text outside of its style.
fn words(page: &str) -> String {
    let (_, body) = page.split_once("</style>").unwrap();
    let mut text = String::new();
    for part in body.split('<') {
        let _ = write!(text, "{} ", part.split_once('>').map_or(part, |(_, text)| text));
    }
    text
}

#[test]
fn the_page_is_well_formed() {
    let seen = elements(&sample().html());
    assert_eq!(seen.iter().filter(|(name, _)| name == "svg").count(), 5, "two phases have CPU");
    elements(&Comparison::default().html());
    let bare = Comparison { phases: vec![Figures::default()], ..Comparison::default() };
    elements(&bare.html());
}

#[test]
#[should_panic(expected = "ends what is open")]
fn the_check_sees_what_is_not_well_formed() {
    elements("<!DOCTYPE html><p><b></p></b>");
}

#[test]
fn every_figure_of_the_table_is_on_the_page() {
    let comparison = sample();
    let words = words(&comparison.html());
    let rows = table::rows(&comparison);
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        assert!(words.contains(&row.label), "{}", row.label);
        for cell in row.cells {
            assert!(words.contains(&cell.value), "{} of {}", cell.value, row.label);
            assert!(cell.ratio.is_none_or(|ratio| words.contains(&ratio)), "{}", row.label);
        }
    }
    for expected in ["Three ways in", "2026-11-22T10:00:00Z", "A processor", "24 GiB", "3 failed"] {
        assert!(words.contains(expected), "{expected}");
    }
    for phase in &comparison.phases {
        assert!(words.contains(&phase.what) && words.contains(&phase.durability));
    }
}

#[test]
fn the_page_holds_no_script_and_refers_to_nothing_outside() {
    let page = sample().html();
    for outside in ["http://", "https://", "//", "url(", "@import", "<script", "<link", "<img"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for (name, attributes) in elements(&page) {
        for reference in [" src=", " href=", " onload=", " onclick=", " style="] {
            assert!(!format!(" {attributes}").contains(reference), "{name} {attributes}");
        }
    }
}

#[test]
fn whatever_a_text_holds_it_stays_text() {
    let evil = r#""><script>alert(1)</script>&amp;'<b "#;
    let mut comparison = sample();
    let Comparison { title, date, machine, payload, settings, notes, phases } = &mut comparison;
    for text in [title, date, payload] {
        text.push_str(evil);
    }
    machine.cpu = Some(evil.into());
    settings.push(Setting::new(evil, evil));
    notes.push(evil.into());
    for phase in phases {
        for text in [&mut phase.name, &mut phase.what, &mut phase.durability] {
            text.push_str(evil);
        }
        if let Some(mean) = &mut phase.cpu_cores_mean {
            mean.servers.insert(evil.into(), 1.0);
        }
    }
    let seen = elements(&comparison.html());
    assert!(!seen.iter().any(|(name, _)| name == "script" || name == "b"));
    assert!(words(&comparison.html()).contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"));
}

#[test]
fn every_drawing_says_in_words_what_it_shows_and_ids_are_unique() {
    let page = sample().html();
    let seen = elements(&page);
    let mut ids: Vec<_> = seen
        .iter()
        .filter_map(|(_, attributes)| Some(attributes.split_once("id=\"")?.1.split_once('"')?.0))
        .collect();
    let all = ids.len();
    for (_, attributes) in seen.iter().filter(|(name, _)| name == "svg") {
        let labels = attributes.split_once("aria-labelledby=\"").unwrap().1;
        for id in labels.split_once('"').unwrap().0.split(' ') {
            assert!(ids.contains(&id), "{id}");
        }
        assert!(attributes.contains("role=\"img\""), "{attributes}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(page.contains("3 · buffer: p50 80.0, p90 160, p99 320, max 3,200"));
}

#[test]
fn figures_that_are_no_numbers_do_not_break_the_drawings() {
    let mut comparison = sample();
    for odd in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        for phase in &mut comparison.phases {
            phase.rate_per_second = odd;
            phase.seconds = odd;
            phase.latency_ms.p99 = odd;
            phase.rate_over_time[0].rate_per_second = odd;
        }
        let page = comparison.html();
        for (name, attributes) in elements(&page) {
            assert!(
                !attributes.contains("NaN") && !attributes.contains("inf"),
                "{name} {attributes}"
            );
        }
    }
}
