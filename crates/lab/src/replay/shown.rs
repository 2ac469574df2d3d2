//! What a replay did, for a person, and how far it is.

use model::clock::{Clock, System};
use model::units::grouped;
use tokio_util::sync::CancellationToken;

use super::run::{Progress as Done, Replay, Start, Summary};
use crate::progress::Progress;
use crate::sink::Sink;

impl Replay {
    /// Runs as [`Replay::run`] does by the machine's clock, and shows how far it is in `progress`.
    ///
    /// # Errors
    /// The same.
    pub async fn run_shown(
        &self,
        sink: &mut dyn Sink,
        stop: &CancellationToken,
        mut progress: Progress,
    ) -> anyhow::Result<Summary> {
        let mut tell = |done: &Done| {
            progress.at(done.bytes, done.bytes_total, || {
                let waiting = if done.waiting { ", waiting for room" } else { "" };
                let (accepted, rejected) = (grouped(done.accepted), grouped(done.rejected));
                format!("accepted {accepted}, rejected {rejected}{waiting}")
            });
        };
        let summary = self.run(sink, System.now_ms(), stop, &mut tell).await;
        progress.end();
        summary
    }
}

impl Summary {
    /// What was offered, and what was rejected, by reason. Standard input (`is_piped`) has to be replayed from its
    /// beginning after an interruption.
    #[must_use]
    pub fn lines(&self, is_piped: bool) -> Vec<String> {
        let rejected = self.rejects.total();
        let before = match self.start {
            Start::Fresh => None,
            Start::Resumed(records) => {
                Some(format!("Went on behind {} records.", grouped(records)))
            }
            Start::AlreadyFinished => {
                Some("All of this file was offered before; --restart offers it again.".to_owned())
            }
        };
        let counts = format!(
            "{} records, {} accepted, {} rejected.",
            grouped(self.records_total),
            grouped(self.accepted_total),
            grouped(rejected)
        );
        let reasons = (rejected > 0).then(|| self.rejects.to_string().trim_end().to_owned());
        let interrupted = (!self.finished).then(|| {
            match is_piped {
                true => "Interrupted: replay standard input again from its beginning.",
                false => "Interrupted: run it again to go on from there.",
            }
            .to_owned()
        });
        before.into_iter().chain([counts]).chain(reasons).chain(interrupted).collect()
    }

    /// Whether all of it is done, and no record was rejected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.finished && self.rejects.total() == 0
    }
}
