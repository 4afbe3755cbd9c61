//! A cursor over JSON text: keys, raw values, skipping. Makes no tree and copies nothing.
//!
//! It reads what services write around records (events, envelopes). Documents are judged by
//! [`crate::decode`] only. The grammar is RFC 8259, checked in full while skipping, except that text
//! is not checked to be UTF-8: who keeps a text checks it.

/// Where and why the text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Byte offset.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) expected: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

type Read<T> = Result<T, Malformed>;

/// What stands between the quotes of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawStr<'a> {
    /// As written.
    pub(crate) raw: &'a [u8],
    /// Whether a backslash occurs in it.
    pub(crate) escaped: bool,
}

impl RawStr<'_> {
    /// Append the text meant. `None` on a lone surrogate, which no UTF-8 text can hold, and on an
    /// escape that does not exist.
    pub(crate) fn unescape_into(&self, out: &mut Vec<u8>) -> Option<()> {
        if !self.escaped {
            out.extend_from_slice(self.raw);
            return Some(());
        }
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            let (read, character) = unescape(&rest[at + 1..])?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + 1 + read..];
        }
        out.extend_from_slice(rest);
        Some(())
    }

    /// The text meant, if it is UTF-8.
    pub(crate) fn to_text(self) -> Option<String> {
        let mut out = Vec::with_capacity(self.raw.len());
        self.unescape_into(&mut out)?;
        String::from_utf8(out).ok()
    }
}

/// One escape, after its backslash: bytes read and the character.
fn unescape(after: &[u8]) -> Option<(usize, char)> {
    let character = match after.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(&after[1..]).map(|(read, c)| (read + 1, c)),
        _ => return None,
    };
    Some((1, character))
}

fn unescape_unicode(digits: &[u8]) -> Option<(usize, char)> {
    let high = hex4(digits)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high).map(|c| (4, c));
    }
    let low = digits.get(4..)?.strip_prefix(b"\\u").and_then(hex4)?;
    let pair = 0x10000 + ((high - 0xD800) << 10) + low.checked_sub(0xDC00).filter(|l| *l < 0x400)?;
    char::from_u32(pair).map(|c| (10, c))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |v, &d| Some(v << 4 | char::from(d).to_digit(16)?))
}

/// Whether `text` is one JSON object and nothing else but white space.
pub(crate) fn is_object(text: &[u8]) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.peek() == Some(b'{') && cursor.skip_value().is_ok() && cursor.end().is_ok()
}

/// A reader at a position of the text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&b) = self.text.get(self.at) {
            if b > b' ' {
                return Some(b);
            }
            if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(b);
            }
            self.at += 1;
        }
        None
    }

    /// An error at this position.
    #[cold]
    pub(crate) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    #[inline]
    fn take(&mut self, byte: u8, expected: &'static str) -> Read<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.malformed(expected))
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Read<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.malformed("the end")) }
    }

    /// Enter an object; then call [`Cursor::next_key`] until it gives `None`.
    #[inline]
    pub(crate) fn enter_object(&mut self) -> Read<()> {
        self.take(b'{', "an object")
    }

    /// Enter an array; then call [`Cursor::next_item`] until it gives `false`.
    #[inline]
    pub(crate) fn enter_array(&mut self) -> Read<()> {
        self.take(b'[', "an array")
    }

    /// The next key of the object, standing at its value; `first` is true at the first call and is
    /// kept by this method.
    #[inline]
    pub(crate) fn next_key(&mut self, first: &mut bool) -> Read<Option<RawStr<'a>>> {
        if !self.next_member(first, b'}', "`,` or `}`")? {
            return Ok(None);
        }
        let key = self.string()?;
        self.take(b':', "`:`")?;
        Ok(Some(key))
    }

    /// What was read since a key that [`Cursor::next_key`] gave, from its quote on.
    #[inline]
    pub(crate) fn written_since(&self, key: RawStr<'a>) -> &'a [u8] {
        let from = key.raw.as_ptr() as usize - self.text.as_ptr() as usize - 1;
        &self.text[from..self.at]
    }

    /// Where the next value begins.
    pub(crate) fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// What was read since a position.
    pub(crate) fn written_from(&self, position: usize) -> &'a [u8] {
        &self.text[position..self.at]
    }

    /// Go past the next member if it is written exactly like `member`, which ends with a quote.
    #[inline]
    pub(crate) fn repeats(&mut self, first: &mut bool, member: &[u8]) -> bool {
        let before = self.at;
        let comma = self.peek() == Some(b',');
        self.at += usize::from(comma);
        self.peek();
        if comma != *first && self.text[self.at..].starts_with(member) {
            self.at += member.len();
            *first = false;
            return true;
        }
        self.at = before;
        false
    }

    /// Whether another item follows, standing at it.
    #[inline]
    pub(crate) fn next_item(&mut self, first: &mut bool) -> Read<bool> {
        self.next_member(first, b']', "`,` or `]`")
    }

    #[inline]
    fn next_member(&mut self, first: &mut bool, close: u8, expected: &'static str) -> Read<bool> {
        let next = self.peek();
        if *first {
            *first = false;
            if next == Some(close) {
                self.at += 1;
                return Ok(false);
            }
            return Ok(true);
        }
        match next {
            Some(b',') => self.at += 1,
            Some(b) if b == close => {
                self.at += 1;
                return Ok(false);
            }
            _ => return Err(self.malformed(expected)),
        }
        Ok(true)
    }

    /// A string, checked.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<RawStr<'a>> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_length(&self.text[self.at..]);
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.malformed("text and its closing quote")),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(RawStr { raw, escaped })
    }

    fn escape(&mut self) -> Read<()> {
        let after = &self.text[self.at + 1..];
        self.at += match after.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if hex4(&after[1..]).is_some() => 6,
            _ => return Err(self.malformed("an escape of JSON")),
        };
        Ok(())
    }

    /// A string whose content the caller checks itself (base64): found by a scan for its quote.
    #[inline]
    pub(crate) fn unchecked_string(&mut self) -> Read<RawStr<'a>> {
        self.take(b'"', "a string")?;
        let start = self.at;
        match memchr::memchr2(b'"', b'\\', &self.text[start..]) {
            Some(n) if self.text[start + n] == b'"' => {
                self.at = start + n + 1;
                Ok(RawStr { raw: &self.text[start..start + n], escaped: false })
            }
            _ => {
                self.at = start - 1;
                self.string()
            }
        }
    }

    /// Any value, as written.
    pub(crate) fn raw_value(&mut self) -> Read<&'a [u8]> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        Ok(&self.text[start..self.at])
    }

    /// Go past any value. Depth is bounded by the text, not by the stack.
    pub(crate) fn skip_value(&mut self) -> Read<()> {
        // Closing brackets that are still to come, innermost last; most values need none.
        let mut open: Vec<u8> = Vec::new();
        loop {
            let mut first = false;
            match self.peek() {
                Some(b'"') => _ = self.string()?,
                Some(b'{') => {
                    self.at += 1;
                    open.push(b'}');
                    first = true;
                }
                Some(b'[') => {
                    self.at += 1;
                    open.push(b']');
                    first = true;
                }
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => _ = self.number()?,
            }
            // Close what ends here, then stand at the next value or leave.
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                let more = if close == b'}' {
                    self.next_key(&mut first)?.is_some()
                } else {
                    self.next_item(&mut first)?
                };
                if more {
                    break;
                }
                open.pop();
                first = false;
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        if self.peek() == Some(b't') {
            return self.literal(b"true").map(|()| true);
        }
        self.literal(b"false").map(|()| false)
    }

    /// Whether a `null` stands here; goes past it.
    pub(crate) fn null(&mut self) -> Read<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    fn literal(&mut self, word: &'static [u8]) -> Read<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A number, as written.
    pub(crate) fn number(&mut self) -> Read<&'a [u8]> {
        self.peek();
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn digits(&mut self) -> Read<()> {
        let n = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 {
            return Err(self.malformed("a value"));
        }
        self.at += n;
        Ok(())
    }
}

/// Bytes before the first quote, backslash or control character, or to the end; eight at a time, for
/// the strings here are too short for a call of a vectored search.
#[inline]
fn plain_length(text: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // A byte that is zero, or less than `n`, borrows into its high bit; above the first such byte a
    // borrow may mark others, so only the first mark counts.
    let zero = |word: u64| word.wrapping_sub(EACH) & !word;
    let (words, rest) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = zero(word ^ (EACH * u64::from(b'"')));
        let backslash = zero(word ^ (EACH * u64::from(b'\\')));
        let control = word.wrapping_sub(EACH * 0x20) & !word;
        let marks = (quote | backslash | control) & (EACH << 7);
        if marks != 0 {
            return i * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let plain = |b: &u8| *b >= 0x20 && *b != b'"' && *b != b'\\';
    words.len() * 8 + rest.iter().take_while(|b| plain(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &[u8]) -> bool {
        let mut c = Cursor::new(text);
        c.skip_value().is_ok() && c.end().is_ok()
    }

    #[test]
    fn skipping_accepts_what_is_json() {
        let cases: &[(&str, bool)] = &[
            ("{}", true),
            ("[]", true),
            (" [1, -0.5e+3, \"a\\u00e9\\n\", {\"a\":[{}]}, true, false, null] ", true),
            ("[1,]", false),
            ("{\"a\":1,}", false),
            ("[,1]", false),
            ("{\"a\"}", false),
            ("{1:2}", false),
            ("01", false),
            ("1.", false),
            ("-", false),
            ("\"a\nb\"", false),
            ("\"\\x\"", false),
            ("\"\\u12g4\"", false),
            ("[", false),
            ("]", false),
            ("[}", false),
            ("", false),
            ("tru", false),
            ("1 2", false),
        ];
        for (text, expected) in cases {
            assert_eq!(accepts(text.as_bytes()), *expected, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(!accepts(deep.as_bytes()));
        assert!(accepts((deep + &"]".repeat(100_000)).as_bytes()));
    }

    proptest! {
        #[test]
        fn skipping_agrees_with_serde_json(text in r#"[\[\]{},:"\\ aeu0-9.tn-]{0,12}"#) {
            let expected = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(accepts(text.as_bytes()), expected);
        }

        #[test]
        fn unescaping_agrees_with_serde_json(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = text.encode_utf16().map(|u| format!("\\u{u:04x}")).collect();
                json = format!("\"{json}\"");
            }
            let raw = Cursor::new(json.as_bytes()).string().unwrap();
            prop_assert_eq!(raw.to_text(), Some(text));
        }
    }

    #[test]
    fn lone_surrogates_are_refused() {
        for raw in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"\ud800\n"] {
            assert_eq!(RawStr { raw: raw.as_bytes(), escaped: true }.to_text(), None, "{raw}");
        }
    }
}
