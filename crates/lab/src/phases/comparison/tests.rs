use std::collections::BTreeMap;
use std::time::Duration;

use super::super::measured::{CoresMean, CpuSample, LatencyMs, RatePoint};
use super::*;

fn cores(client: f64, database: f64) -> (f64, BTreeMap<String, f64>) {
    (client, BTreeMap::from([("PostgreSQL".to_owned(), database)]))
}

/// Three phases: the second knows nothing of the processors, the third answers before it settles.
pub(in super::super) fn sample() -> Comparison {
    let figures = |name: &str, what: &str, events, p50| {
        let (client, servers) = cores(0.25, 1.5);
        let (client_cores, server_cores) = cores(0.5, 1.25);
        Figures {
            name: name.into(),
            what: what.into(),
            durability: "a power cut".into(),
            latency_ms: LatencyMs { p50, p90: p50 * 2.0, p99: p50 * 4.0, max: p50 * 40.0 },
            cpu_cores_mean: Some(CoresMean { client, servers }),
            cpu: vec![CpuSample { at_seconds: 0.25, client_cores, server_cores }],
            rate_over_time: vec![RatePoint { at_seconds: 0.25, rate_per_second: 1_500.0 }],
            ..Figures::default()
        }
        .with_events(events, Duration::from_secs(20))
    };
    let accepted = LatencyMs { p50: 2.5, p90: 3.5, p99: 4.5, max: 5.5 };
    Comparison {
        title: "Three ways in".into(),
        date: "2026-11-22T10:00:00Z".into(),
        machine: Machine {
            cpu: Some("A processor".into()),
            cores: Some(2),
            memory_mib: Some(24_103),
            kernel: Some("Linux 6.1".into()),
        },
        payload: "card payments, 250 bytes each".into(),
        settings: vec![Setting::new("connections", "16")],
        notes: vec!["The phases ran one after the other.".into()],
        phases: vec![
            figures("1 · one by one", "One INSERT a payment.", 30_000, 0.625),
            Figures {
                errors: 3,
                cpu_cores_mean: None,
                cpu: Vec::new(),
                ..figures("2 · pool", "Sixteen connections at once.", 240_000, 1.25)
            },
            Figures {
                accepted_latency_ms: Some(accepted),
                ..figures("3 · buffer", "Batches.", 480_000, 80.0)
            },
        ],
    }
}

#[test]
fn the_json_is_what_it_was() {
    let got: serde_json::Value = serde_json::from_str(&sample().json()).unwrap();
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert_eq!(got, golden, "another shape needs another schema number:\n{}", sample().json());
}

#[test]
fn every_figure_of_the_json_has_its_unit() {
    let json: serde_json::Value = serde_json::from_str(&sample().json()).unwrap();
    let units = json["units"].as_object().unwrap();
    for (name, value) in json["phases"][2].as_object().unwrap() {
        let known = |unit: &String| unit == &format!("phases.{name}");
        let within = |unit: &String| unit.starts_with(&format!("phases.{name}."));
        let named = units.keys().any(|unit| known(unit) || within(unit));
        assert!(named || value.is_string(), "{name} has no unit");
    }
}

#[test]
fn a_rate_of_nothing_compares_with_nothing() {
    let mut comparison = sample();
    comparison.phases[0] = Figures::default();
    let json: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
    assert_eq!(json["phases"][2]["rate_to_first"], serde_json::Value::Null);
    assert!(!comparison.text().contains("inf") && !comparison.text().contains("NaN"));
    let empty = Comparison::default();
    assert!(!empty.text().is_empty() && empty.html().contains("</html>"));
}

#[test]
fn the_text_is_aligned_and_tells_ratios_to_the_first_phase() {
    let text = sample().text();
    let expected = "\
Three ways in
2026-11-22T10:00:00Z
A processor · 2 cores · 24 GiB · Linux 6.1

                            1 · one by one        2 · pool       3 · buffer
payments in the database            30,000  240,000         480,000
seconds                               20.0     20.0            20.0
payments a second                    1,500   12,000  8.00×   24,000   16.0×
";
    assert!(text.starts_with(expected), "{text}");
    for line in [
        "committed after, p99, ms              2.50     5.00  2.00×      320    128×",
        "accepted after, p99, ms                  –        –            4.50",
        "CPU: client, cores                   0.250        –           0.250   1.00×",
        "errors                                   0        3               0",
        "1 · one by one: One INSERT a payment.",
        "  survives: a power cut",
        "connections: 16",
        "- The phases ran one after the other.",
    ] {
        assert!(text.lines().any(|got| got == line), "{line:?} not in\n{text}");
    }
}
