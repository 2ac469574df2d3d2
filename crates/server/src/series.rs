//! The recorder of this process: one of the exporter's for each pipeline, and one for everything else.
//!
//! The exporter can't forget a series. So each pipeline has a recorder of its own, which is dropped when
//! the pipeline is removed: its series end, and so does the memory that they took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

/// Makes an empty recorder of the exporter's.
type Make = Box<dyn Fn() -> PrometheusRecorder + Send + Sync>;

/// See the module.
pub(crate) struct Series {
    make: Make,
    common: PrometheusRecorder,
    by_pipeline: RwLock<BTreeMap<String, Arc<PrometheusRecorder>>>,
    /// What each metric shows, by its name.
    descriptions: Mutex<BTreeMap<String, SharedString>>,
}

impl Series {
    pub(crate) fn new(make: impl Fn() -> PrometheusRecorder + Send + Sync + 'static) -> Self {
        let common = make();
        let (by_pipeline, descriptions) = (RwLock::default(), Mutex::default());
        Self { make: Box::new(make), common, by_pipeline, descriptions }
    }

    /// Ends all series of a pipeline. Those who still hold one of them change nothing that is shown.
    pub(crate) fn end(&self, pipeline: &str) {
        let mut by_pipeline = self.by_pipeline.write().unwrap_or_else(PoisonError::into_inner);
        by_pipeline.remove(pipeline);
    }

    /// Everything recorded so far, as Prometheus text.
    pub(crate) fn render(&self) -> String {
        let mut shown = Shown::default();
        shown.add(&self.common.handle().render());
        for recorder in self.of_pipelines() {
            shown.add(&recorder.handle().render());
        }
        shown.text(&self.descriptions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Folds samples into buckets.
    pub(crate) fn run_upkeep(&self) {
        self.common.handle().run_upkeep();
        for recorder in self.of_pipelines() {
            recorder.handle().run_upkeep();
        }
    }

    fn of_pipelines(&self) -> Vec<Arc<PrometheusRecorder>> {
        let by_pipeline = self.by_pipeline.read().unwrap_or_else(PoisonError::into_inner);
        by_pipeline.values().cloned().collect()
    }

    fn with<T>(&self, key: &Key, register: impl Fn(&PrometheusRecorder) -> T) -> T {
        let Some(pipeline) = pipeline_of(key) else { return register(&self.common) };
        let known = {
            let by_pipeline = self.by_pipeline.read().unwrap_or_else(PoisonError::into_inner);
            by_pipeline.get(&pipeline).cloned()
        };
        let recorder = known.unwrap_or_else(|| {
            let mut by_pipeline = self.by_pipeline.write().unwrap_or_else(PoisonError::into_inner);
            by_pipeline.entry(pipeline).or_insert_with(|| Arc::new((self.make)())).clone()
        });
        register(&recorder)
    }

    fn describe(&self, name: &KeyName, description: SharedString) {
        let mut known = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name.as_str().to_owned()).or_insert(description);
    }
}

/// Which pipeline a series is about: its label says so, or names the pipeline's table or buffer.
fn pipeline_of(key: &Key) -> Option<String> {
    key.labels().find_map(|label| match (label.key(), label.value()) {
        ("pipeline", name) => Some(name.to_owned()),
        ("table", name) => Some(format!("table:{name}")),
        ("buffer", name) if name.contains(':') => Some(name.to_owned()),
        _ => None,
    })
}

impl Recorder for Series {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&name, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.with(key, |recorder| recorder.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.with(key, |recorder| recorder.register_gauge(key, metadata))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.with(key, |recorder| recorder.register_histogram(key, metadata))
    }
}

/// Several texts as one: the format wants all series of a metric together, under one type.
#[derive(Default)]
struct Shown {
    /// The type of each metric, and its lines.
    by_name: BTreeMap<String, (String, String)>,
}

impl Shown {
    /// Adds what one recorder shows.
    fn add(&mut self, text: &str) {
        let mut name = String::new();
        for line in text.lines() {
            if let Some((metric, kind)) =
                line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
            {
                metric.clone_into(&mut name);
                self.by_name
                    .entry(name.clone())
                    .or_insert_with(|| (kind.to_owned(), String::new()));
            } else if !line.is_empty()
                && !line.starts_with('#')
                && let Some((_, lines)) = self.by_name.get_mut(&name)
            {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }

    fn text(&self, descriptions: &BTreeMap<String, SharedString>) -> String {
        let mut text = String::new();
        for (name, (kind, lines)) in &self.by_name {
            if let Some(description) = descriptions.get(name) {
                let description = description.replace('\\', "\\\\").replace('\n', "\\n");
                let _ = writeln!(text, "# HELP {name} {description}");
            }
            let _ = writeln!(text, "# TYPE {name} {kind}\n{lines}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn series() -> Series {
        Series::new(|| {
            let builder = PrometheusBuilder::new().set_buckets(&[1.0]).expect("one is a bucket");
            builder.build_recorder()
        })
    }

    #[test]
    fn all_series_of_a_metric_are_shown_under_one_type() {
        let series = series();
        with_local_recorder(&series, || {
            describe_counter!("settled_total", "Events \\ settled.");
            counter!("settled_total").increment(1);
            counter!("settled_total", "pipeline" => "b").increment(2);
            counter!("settled_total", "pipeline" => "a").increment(3);
            gauge!("depth", "buffer" => "table:a").set(4.0);
            gauge!("depth", "buffer" => "journal").set(5.0);
        });
        let expect = "# TYPE depth gauge\ndepth{buffer=\"journal\"} 5\ndepth{buffer=\"table:a\"} 4\n\n\
                      # HELP settled_total Events \\\\ settled.\n# TYPE settled_total counter\n\
                      settled_total 1\nsettled_total{pipeline=\"a\"} 3\nsettled_total{pipeline=\"b\"} 2\n\n";
        assert_eq!(series.render(), expect);
    }

    #[test]
    fn the_series_of_a_removed_pipeline_end_and_begin_anew() {
        let series = series();
        let record = |table: &str| {
            with_local_recorder(&series, || {
                let pipeline = format!("table:{table}");
                histogram!("seconds", "pipeline" => pipeline.clone()).record(0.5);
                gauge!("rows", "table" => table.to_owned()).set(1.0);
                gauge!("depth", "buffer" => pipeline.clone()).set(1.0);
                let settled = counter!("settled_total", "pipeline" => pipeline);
                settled.increment(1);
                settled
            })
        };
        let (first, _) = (record("a"), record("b"));
        series.run_upkeep();
        let both = series.render();
        series.end("table:a");
        first.increment(1);
        let rest = series.render();
        assert!(both.contains("table:a") && both.contains("table=\"a\""), "{both}");
        assert!(!rest.contains("table:a") && !rest.contains("table=\"a\""), "{rest}");
        assert!(rest.contains("seconds_count{pipeline=\"table:b\"} 1\n"), "{rest}");
        let _again = record("a");
        assert!(series.render().contains("settled_total{pipeline=\"table:a\"} 1\n"));
    }

    #[test]
    fn a_thousand_pipelines_one_after_the_other_leave_no_series() {
        let series = series();
        for number in 0..1_000 {
            let name = format!("table:{number}");
            with_local_recorder(&series, || counter!("settled_total", "pipeline" => name.clone()))
                .increment(1);
            series.end(&name);
        }
        assert_eq!((series.render(), series.of_pipelines().len()), (String::new(), 0));
    }
}
