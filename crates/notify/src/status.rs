//! What an answer means for an event.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guard::{Outcome, RETRY_AFTER_MAX};
use http::header::{HeaderMap, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use model::clock::EpochMs;

/// Why one delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// What it says about the receiver.
    pub outcome: Outcome,
    /// Whether each further delivery of this event would be refused, too.
    pub is_final: bool,
    /// The pause that the receiver asked for, an hour at most.
    pub retry_after: Option<Duration>,
    /// As a clause, without a part of the URL.
    pub why: String,
}

impl Undelivered {
    /// It failed, and the next delivery may not.
    #[must_use]
    pub fn for_now(outcome: Outcome, why: String) -> Self {
        Self { outcome, is_final: false, retry_after: None, why }
    }
}

/// Judges an answer at `now_ms`. A redirect is not followed: it would send the event and its signature to an address
/// that is not in the configuration.
///
/// # Errors
/// If the event is not delivered.
pub(crate) fn judge(
    status: StatusCode,
    headers: Option<&HeaderMap>,
    now_ms: EpochMs,
) -> Result<(), Undelivered> {
    if status.is_success() {
        return Ok(());
    }
    let asked = || headers.and_then(|headers| pause(headers.get(RETRY_AFTER)?, now_ms));
    let (outcome, retry_after) = match status.as_u16() {
        429 => (Outcome::Overloaded, asked()),
        503 => match asked() {
            None => (Outcome::Failed, None),
            pause => (Outcome::Overloaded, pause),
        },
        // A receiver that is being set up does not know its path yet.
        404 | 408 | 425 | 500.. => (Outcome::Failed, None),
        _ => (Outcome::Rejected, None),
    };
    let (is_final, why) = (outcome == Outcome::Rejected, format!("the receiver answered {status}"));
    Err(Undelivered { outcome, is_final, retry_after, why })
}

/// The pause of `Retry-After`: seconds or a date (RFC 9110, 10.2.3).
fn pause(value: &HeaderValue, now_ms: EpochMs) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).ok()?);
            let until: SystemTime = httpdate::parse_http_date(text).ok()?;
            until.duration_since(now).unwrap_or_default()
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&'static str>) -> Result<(), Undelivered> {
        let value = retry_after.map(|text| (RETRY_AFTER, HeaderValue::from_static(text)));
        let headers: HeaderMap = value.into_iter().collect();
        // 1994-11-06T08:49:00Z
        judge(StatusCode::from_u16(status).unwrap(), Some(&headers), 784_111_740_000)
    }

    #[test]
    fn each_status_is_delivered_tried_again_or_refused_for_good() {
        for status in [200, 202, 204, 299] {
            assert_eq!(judged(status, None), Ok(()));
        }
        let check = |status, outcome, is_final| {
            let refused = judged(status, None).unwrap_err();
            assert_eq!((refused.outcome, refused.is_final), (outcome, is_final), "{status}");
        };
        for status in [301, 302, 307, 308, 400, 401, 403, 405, 409, 410, 413, 422] {
            check(status, Outcome::Rejected, true);
        }
        for status in [404, 408, 425, 500, 502, 503, 504, 599] {
            check(status, Outcome::Failed, false);
        }
        check(429, Outcome::Overloaded, false);
        assert_eq!(judged(410, None).unwrap_err().why, "the receiver answered 410 Gone");
    }

    #[test]
    fn a_pause_that_the_receiver_asks_for_is_honoured_up_to_an_hour() {
        let check = |status, text, expect: Option<u64>| {
            let refused = judged(status, Some(text)).unwrap_err();
            assert_eq!(refused.retry_after, expect.map(Duration::from_secs), "{status} {text}");
        };
        check(429, "7", Some(7));
        check(503, " 120 ", Some(120));
        check(503, "Sun, 06 Nov 1994 08:49:37 GMT", Some(37));
        check(503, "Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check(429, "18446744073709551615", Some(3600));
        check(429, "soon", None);
        check(500, "7", None);
        assert_eq!(judged(503, Some("7")).unwrap_err().outcome, Outcome::Overloaded);
    }
}
