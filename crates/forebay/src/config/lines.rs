//! The buffers of a pipeline, as keys of the configuration name them.

use buffer::foreign::Fields;
use model::url;
use runtime::Line;
use runtime::line::{NONE, alone, next, spill};
use runtime::moving::Subject;
use settings::{Error, Origin, Setting, Settings};

use super::resolve::PARSE;
use crate::registry;

/// The keys `buffer`, `next_buffer` and `spill` of a pipeline, behind `prefix`, which ends with a dot.
#[must_use]
pub fn keys_of_line(prefix: &str, buffer: &str) -> [Setting; 3] {
    let key = |name: &str, default: &str| Setting::text(&format!("{prefix}{name}"), default);
    [key("buffer", buffer), key("next_buffer", NONE), key("spill", NONE)]
}

/// The buffers that the keys of [`keys_of_line`] name, of a pipeline whose events are called `events`. `fields` are
/// those that plain JSON of other producers has its id and its key in.
///
/// # Errors
/// If one is no buffer, or they do not fit together; the sentence says who set it.
pub fn line_of_keys(
    settings: &Settings,
    prefix: &str,
    pipeline: &str,
    events: &'static str,
    fields: &Fields,
) -> Result<Line, Error> {
    let [of_buffer, of_next, of_spill] =
        ["buffer", "next_buffer", "spill"].map(|name| format!("{prefix}{name}"));
    let read = |url: &str| registry::buffer_of(settings, url, fields);
    let blame =
        |key: &str, error: url::Error| settings.blame(key, Error(format!("{prefix}{error}")));
    let buffer = read(&settings.path(&of_buffer)).map_err(|error| blame(&of_buffer, error))?;
    let mut line = Line::new(Subject::led_by_name(pipeline, PARSE), buffer, events);
    line.of = match prefix.strip_suffix('.') {
        Some(section) => format!(" of {section}"),
        None => String::new(),
    };
    line.next = next(&settings.path(&of_next), &read).map_err(|error| blame(&of_next, error))?;
    // Who names a buffer on the command line looks at that one.
    let looked_at = matches!(settings.entry(&of_buffer).origin, Origin::Flag(_));
    let is_same = |line: &Line| {
        let target = line.next.as_ref().map(|next| next.buffer.identity());
        target.is_some_and(|target| line.buffer.identity().is_same(&target))
    };
    if looked_at && is_same(&line) {
        line.next = None;
    }
    line.spill = spill(&settings.path(&of_spill), &*line.buffer, &read)
        .map_err(|error| blame(&of_spill, error))?;
    alone(line.next.as_ref(), line.spill.as_ref()).map_err(|error| blame(&of_next, error))?;
    Ok(line)
}
