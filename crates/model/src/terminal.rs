//! Text that others chose, fit to be shown on a terminal.

/// `text` with its control characters written as JSON writes them. What others chose, an id or a
/// payload, must not move the cursor of the terminal it is shown on, nor forge a line of its own.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_as_json_writes_them_and_the_rest_as_it_is() {
        assert_eq!(escaped("\u{1b}[31mred\u{7}\0\r\n\t"), r"\u001b[31mred\u0007\u0000\r\n\t");
        // A terminal may take one of these for an escape and a bracket.
        assert_eq!(escaped("\u{9b}31m\u{7f}"), r"\u009b31m\u007f");
        assert_eq!(escaped("größe \u{fffd} \\ 支払い"), "größe \u{fffd} \\ 支払い");
    }
}
