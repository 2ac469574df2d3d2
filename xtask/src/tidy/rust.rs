//! Just enough reading of Rust to tell code from text, and tests from the rest.
//!
//! It is not a parser. Comments, strings and character literals are blanked, after which words and
//! braces can be looked for by eye, and line numbers still hold.

/// The source with the contents of comments, strings and character literals blanked. Line breaks
/// stay where they were.
pub(super) fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                for byte in &mut out[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            None => at += 1,
        }
    }
    // Whole characters were blanked or kept: a literal starts and ends at an ASCII byte.
    String::from_utf8(out).expect("blanking keeps whole characters")
}

/// Where the comment or literal that starts at `at` ends, or nothing if none starts there.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let found = |offset: Option<usize>| Some(offset.map_or(bytes.len(), |offset| at + offset));
    match rest {
        [b'/', b'/', ..] => found(rest.iter().position(|byte| *byte == b'\n')),
        [b'/', b'*', ..] => found(block_comment(rest)),
        [b'"', ..] => found(quoted(rest, b'"')),
        [b'r', b'"' | b'#', ..] if starts_word(bytes, at) => raw(rest, 1).map(|len| at + len),
        [b'b' | b'c', b'r', ..] if starts_word(bytes, at) => raw(rest, 2).map(|len| at + len),
        [b'\'', b'\\', ..] => found(quoted(rest, b'\'')),
        [b'\'', ..] => {
            // A lifetime has no closing quote right after its first character.
            let first = std::str::from_utf8(&rest[1..rest.len().min(5)])
                .map_or_else(|error| error.valid_up_to(), |_| rest.len().min(5) - 1);
            let text = std::str::from_utf8(&rest[1..=first]).ok()?;
            let width = text.chars().next()?.len_utf8();
            (rest.get(1 + width) == Some(&b'\'')).then_some(at + width + 2)
        }
        _ => None,
    }
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn block_comment(rest: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn quoted(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The length of a raw string whose hashes start at `prefix`; nothing if it is a raw identifier.
fn raw(rest: &[u8], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let body = prefix + hashes + 1;
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let end = rest[body..].windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| body + end + closing.len()))
}

/// For each line of masked source, whether it belongs to a test: an item under `#[cfg(test)]` or a
/// function under a test attribute.
pub(super) fn test_lines(masked: &str) -> Vec<bool> {
    const MARKS: [&str; 5] =
        ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test", "#[test]", "#[tokio::test"];
    let mut lines = vec![false; masked.lines().count()];
    for mark in MARKS {
        for (start, _) in masked.match_indices(mark) {
            let end = item_end(masked, start + attribute_len(&masked[start..]));
            let first = line_of(masked, start);
            let last = line_of(masked, end).min(lines.len());
            lines[first - 1..last].fill(true);
        }
    }
    lines
}

/// The functions of masked source: name, line from 1, whether it has a body.
pub(super) fn functions(masked: &str) -> Vec<(&str, usize, bool)> {
    let mut functions = Vec::new();
    for (at, _) in masked.match_indices("fn ") {
        if !starts_word(masked.as_bytes(), at) {
            continue;
        }
        let after = masked[at + 3..].trim_start();
        let len = after
            .find(|char: char| !(char.is_alphanumeric() || char == '_'))
            .unwrap_or(after.len());
        if len > 0 {
            let end = signature_end(masked, at);
            let body = masked.as_bytes().get(end) == Some(&b'{');
            functions.push((&after[..len], line_of(masked, at), body));
        }
    }
    functions
}

/// The line, counted from 1, that byte `at` lies on.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn attribute_len(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return at + 1,
            b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the `{` or `;` that ends a signature lies.
fn signature_end(masked: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in masked.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' | b';' if depth == 0 => return at,
            _ => {}
        }
    }
    masked.len()
}

fn item_end(masked: &str, from: usize) -> usize {
    let open = signature_end(masked, from);
    if masked.as_bytes().get(open) != Some(&b'{') {
        return open;
    }
    let mut depth = 0_usize;
    for (at, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    masked.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_blanked_and_code_is_kept() {
        let check = |source: &str, expect: &str| {
            let masked = mask(source);
            let words: Vec<&str> = masked.split_whitespace().collect();
            assert_eq!(words.join(" "), expect, "{source}");
            assert_eq!(masked.len(), source.len(), "{source}");
            assert_eq!(masked.lines().count(), source.lines().count(), "{source}");
        };
        check("a // todo!()\nb", "a b");
        check("a /* x /* y\n */ z */ b", "a b");
        check("f(\"a\\\"b{\\\n\") + 1", "f( ) + 1");
        check("r#\"un\"wrap\"# ;", ";");
        check("br\"x\" ; r#type", "; r#type");
        check("{'{', '\\'', '한', b'}'}", "{ , , , b }");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("x \"open", "x");
    }

    #[test]
    fn test_lines_are_those_of_test_items_alone() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n\
                      #[cfg(test)]\nmod more;\nfn d() {}\n#[tokio::test(flavor = \"x\")]\n\
                      async fn e() {\n}\nfn f() {}\n";
        let lines = test_lines(&mask(source));
        let tests: Vec<usize> = (1..=lines.len()).filter(|line| lines[line - 1]).collect();
        assert_eq!(tests, [2, 3, 4, 5, 7, 8, 10, 11, 12]);
    }

    #[test]
    fn functions_with_and_without_a_body_are_told_apart() {
        let source = "trait T { fn a(&self, x: [u8; 4]); fn b() {} }\nconst F: fn(u8) = g;";
        assert_eq!(functions(source), [("a", 1, false), ("b", 1, true)]);
    }
}
