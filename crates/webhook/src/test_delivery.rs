//! One test event, delivered now.

use bytes::Bytes;
use http::StatusCode;
use model::Event;
use model::clock::EpochMs;
use notify::{Delivery, Sender};
use serde_json::{Value, json};

use crate::entry::Entry;
use crate::events::Events;

/// The longest part of an answer that is shown, in characters.
const ANSWER_CHARS_MAX: usize = 1_000;

/// How the delivery of a test event ended, to be shown.
pub struct TestDelivery {
    url: String,
    id: String,
    signed: bool,
    delivery: Delivery,
}

impl TestDelivery {
    /// The test event of a webhook: `json`, or one of our own.
    ///
    /// # Errors
    /// If `json` is no event: a clause that names the field.
    pub fn event(entry: &Entry, json: Option<&[u8]>, now_ms: EpochMs) -> Result<Event, String> {
        let own = || {
            let mut event = json!({ "type": "forebay.test", "created_at_ms": now_ms });
            event[&entry.fields.key] = "test".into();
            event[&entry.fields.id] = format!("test-{now_ms}").into();
            event.to_string().into_bytes()
        };
        let json = json.map_or_else(own, <[u8]>::to_vec);
        let read = Events::new(entry.fields.clone()).event(&json);
        read.map_err(|(field, problem)| format!("{field}: {problem}"))
    }

    /// Delivers `event` once.
    pub async fn send(entry: &Entry, sender: &Sender, event: &Event) -> Self {
        let delivery = sender.deliver(event.id(), Bytes::copy_from_slice(event.payload())).await;
        let id = String::from_utf8_lossy(event.id()).into_owned();
        Self { url: entry.shown_url(), id, signed: sender.is_signing(), delivery }
    }

    /// Whether the receiver has it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.delivery.result.is_ok()
    }

    /// Lines for a person.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Delivery { result, took, .. } = &self.delivery;
        let signed = if self.signed { "signed" } else { "not signed" };
        let ms = |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let mut lines = vec![
            format!("POST {} ({signed}, id {})", self.url, self.id),
            match result {
                Ok(()) => format!("Delivered: the receiver answered {}.", self.status_said()),
                Err(undelivered) => format!("Not delivered: {}.", undelivered.why),
            },
        ];
        lines.extend(self.meaning().map(str::to_owned));
        let (connect, send, wait) = (ms(took.connect), ms(took.send), ms(took.wait));
        lines.push(format!("Connect {connect}, send {send}, wait {wait}."));
        let answer = self.answer();
        lines.extend((!answer.is_empty()).then(|| format!("Answer: {answer}")));
        lines
    }

    /// An object for a script.
    #[must_use]
    pub fn json(&self) -> Value {
        let Delivery { result, status, took, .. } = &self.delivery;
        json!({
            "url": self.url,
            "id": self.id,
            "signed": self.signed,
            "delivered": result.is_ok(),
            "status": status.map(|status| status.as_u16()),
            "problem": result.as_ref().err().map(|undelivered| &undelivered.why),
            "final": result.as_ref().err().is_some_and(|undelivered| undelivered.is_final),
            "connect_ms": took.connect.as_secs_f64() * 1000.0,
            "send_ms": took.send.as_secs_f64() * 1000.0,
            "wait_ms": took.wait.as_secs_f64() * 1000.0,
            "answer": self.answer(),
        })
    }

    fn status_said(&self) -> String {
        self.delivery.status.map_or_else(String::new, |status: StatusCode| status.to_string())
    }

    /// What would become of an event of the pipeline.
    fn meaning(&self) -> Option<&'static str> {
        let undelivered = self.delivery.result.as_ref().err()?;
        Some(match undelivered.is_final {
            true => "An event that is answered so becomes a dead letter at once.",
            false => "An event that is answered so is tried again.",
        })
    }

    /// The beginning of the answer, as text without control characters.
    fn answer(&self) -> String {
        let text = String::from_utf8_lossy(&self.delivery.answer);
        let clean = text.chars().map(|one| if one.is_control() { ' ' } else { one });
        let shown: String = clean.take(ANSWER_CHARS_MAX).collect();
        if shown.len() < text.len() { format!("{shown} …") } else { shown }
    }
}
