//! As much of JSON as it takes to find two fields, and as lenient as cjson (see the module above).

use super::Fields;

/// How deep objects and arrays may be nested, the outermost one included.
pub const DEPTH_MAX: usize = 1_000;

/// The two fields as bytes; `None` where one is missing or neither text nor number.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) id: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
}

/// Finds both fields; `None` if the bytes are no object.
pub(super) fn find(json: &[u8], fields: &Fields) -> Option<Found> {
    let mut scan = Scan { json, at: 0 };
    let mut found = Found::default();
    scan.space();
    scan.expect(b'{')?;
    scan.space();
    if scan.take(b'}') {
        return scan.end().then_some(found);
    }
    let mut name = Vec::new();
    loop {
        name.clear();
        scan.space();
        scan.string(Some(&mut name))?;
        scan.space();
        scan.expect(b':')?;
        scan.space();
        let (is_id, is_key) = (name == fields.id.as_bytes(), name == fields.key.as_bytes());
        if is_id || is_key {
            let value = scan.text()?;
            if is_key {
                found.key.clone_from(&value);
            }
            if is_id {
                found.id = value;
            }
        } else {
            scan.value(1)?;
        }
        scan.space();
        if scan.take(b'}') {
            return scan.end().then_some(found);
        }
        scan.expect(b',')?;
    }
}

struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether nothing follows but white space. A zero byte ends the text.
    fn end(&mut self) -> bool {
        self.space();
        self.peek().is_none_or(|byte| byte == 0)
    }

    /// A value of the outermost object: its text, if it is a text or a number.
    fn text(&mut self) -> Option<Option<Vec<u8>>> {
        let start = self.at;
        match self.peek()? {
            b'"' => {
                let mut text = Vec::new();
                self.string(Some(&mut text))?;
                Some(Some(text))
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Some(Some(self.json[start..self.at].to_vec()))
            }
            _ => self.value(1).map(|()| None),
        }
    }

    /// Passes over a value inside of `depth` objects and arrays.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(None),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'{' | b'[' if depth < DEPTH_MAX => self.nested(depth + 1),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is = self.json[self.at..].starts_with(word);
        self.at += word.len();
        is.then_some(())
    }

    /// An object or an array, which is the `depth`th.
    fn nested(&mut self, depth: usize) -> Option<()> {
        let is_object = self.peek()? == b'{';
        let end = if is_object { b'}' } else { b']' };
        self.at += 1;
        self.space();
        if self.take(end) {
            return Some(());
        }
        loop {
            self.space();
            if is_object {
                self.string(None)?;
                self.space();
                self.expect(b':')?;
                self.space();
            }
            self.value(depth)?;
            self.space();
            if self.take(end) {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    /// A sign, whole digits without a zero in front, a point and digits, an exponent. After a point no digit has to
    /// follow; after a sign no whole digit has to.
    fn number(&mut self) -> Option<()> {
        let signed = self.take(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if leading_zero && whole > 1 {
            return None;
        }
        let mut digits = whole;
        if (whole > 0 || signed) && self.take(b'.') {
            digits += self.digits();
        }
        if digits == 0 {
            return None;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            if self.digits() == 0 {
                return None;
            }
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let rest = &self.json[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// A text; its bytes with their escapes decoded go to `out`.
    fn string(&mut self, mut out: Option<&mut Vec<u8>>) -> Option<()> {
        self.expect(b'"')?;
        loop {
            let rest = self.json.get(self.at..)?;
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0))?;
            if let Some(out) = &mut out {
                out.extend_from_slice(&rest[..plain]);
            }
            self.at += plain + 1;
            match rest[plain] {
                b'"' => return Some(()),
                b'\\' => {
                    let char = self.escape()?;
                    if let Some(out) = &mut out {
                        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                _ => return None,
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// Four digits; half of a pair must come with the other half.
    fn unicode(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.expect(b'\\')?;
        self.expect(b'u')?;
        let second = self.unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.json.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }
}
