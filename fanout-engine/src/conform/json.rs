//! A strict JSON reader (RFC 8259) for records.
//!
//! Beside what a general parser does it keeps numbers as their text, so that each is converted
//! once and exactly by the type that is wanted, and reports a name given twice in one object,
//! which RFC 8259 leaves to the reader.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;

/// The deepest nesting of a record.
const MAX_DEPTH: usize = 64;
/// The most members of one object: each field of the model looks through them.
const MAX_MEMBERS: usize = 10_000;
/// Members from which names are kept in a set, since comparing all pairs would be quadratic.
const MANY_MEMBERS: usize = 32;
/// As many digits are an int64, whichever they are.
const SHORT_DIGITS: usize = 18;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// A member of an object by exact name.
    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|(member, _)| member == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Compact text; numbers as they were written.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => text.push_str(number),
            Self::String(value) => write_string(value, text),
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write_string(name, text);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

fn write_string(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Bytes of a text before one that ends it or has to be looked at: a quote, a backslash, a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is zero, exact up to the first of them.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    rest.map_or(bytes.len(), |rest| at + rest)
}

/// Where a text stops being JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Byte position.
    pub(super) at: usize,
    pub(super) what: &'static str,
    /// Whether the text ended too early.
    pub(super) truncated: bool,
}

/// Reads values one after the other.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) at: usize,
    /// The first name that an object has twice, since it was last taken.
    pub(super) duplicate: Option<String>,
}

impl<'a> Parser<'a> {
    pub(super) const fn new(text: &'a str, at: usize) -> Self {
        Self { text, at, duplicate: None }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn error<T>(&self, what: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, what, truncated: self.at >= self.text.len() })
    }

    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// These bytes, all of them or none.
    pub(super) fn eat_all(&mut self, bytes: &str) -> bool {
        let found = self.bytes()[self.at..].starts_with(bytes.as_bytes());
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    /// The value of a member of a record.
    pub(super) fn member_value(&mut self) -> Result<Json<'a>, Syntax> {
        self.nested(1)
    }

    /// Only white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Syntax> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { self.error("something follows the value") }
    }

    pub(super) fn value(&mut self) -> Result<Json<'a>, Syntax> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Json<'a>, Syntax> {
        if depth > MAX_DEPTH {
            return self.error("it is nested too deeply");
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => self.error("a value is expected"),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, Syntax> {
        let rest = &self.bytes()[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        if word.as_bytes().starts_with(rest) {
            self.at = self.text.len();
        }
        self.error("a value is expected")
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Syntax> {
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        let mut names: HashSet<Cow<'a, str>> = HashSet::new();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.error("a member name in double quotes is expected");
            }
            let name = self.string()?;
            if members.len() == MAX_MEMBERS {
                return self.error("the object has too many members");
            }
            if members.len() == MANY_MEMBERS {
                names.extend(members.iter().map(|(known, _)| known.clone()));
            }
            let known = if members.len() < MANY_MEMBERS {
                members.iter().any(|(known, _)| *known == name)
            } else {
                !names.insert(name.clone())
            };
            if known {
                self.duplicate.get_or_insert_with(|| name.clone().into_owned());
            }
            self.skip_space();
            if !self.eat(b':') {
                return self.error("a colon is expected");
            }
            let value = self.nested(depth + 1)?;
            members.push((name, value));
            self.skip_space();
            if self.eat(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.eat(b',') {
                return self.error("a comma or the end of the object is expected");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, Syntax> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.nested(depth + 1)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(b',') {
                return self.error("a comma or the end of the array is expected");
            }
        }
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, Syntax> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') && self.digits() == 0 {
            return self.error("a digit is expected");
        }
        if self.eat(b'.') && self.digits() == 0 {
            return self.error("a digit is expected");
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            if self.digits() == 0 {
                return self.error("a digit is expected");
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// A whole number without fraction or exponent that surely is an int64; otherwise nothing is read.
    pub(super) fn short_integer(&mut self) -> Option<i64> {
        let rest = &self.bytes()[self.at..];
        let sign = usize::from(rest.first() == Some(&b'-'));
        let (mut value, mut end) = (0_i64, sign);
        while let Some(digit) = rest.get(end).filter(|byte| byte.is_ascii_digit()) {
            if end - sign == SHORT_DIGITS {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            end += 1;
        }
        let leading_zero = rest.get(sign) == Some(&b'0') && end - sign > 1;
        if end == sign || leading_zero || matches!(rest.get(end), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += end;
        Some(if sign == 1 { -value } else { value })
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// A text that is written as it is, without escapes; otherwise nothing is read.
    pub(super) fn short_text(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let rest = self.bytes().get(start..).filter(|_| self.peek() == Some(b'"'))?;
        let end = plain(rest);
        if rest.get(end) != Some(&b'"') {
            return None;
        }
        self.at = start + end + 1;
        self.text.get(start..start + end)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut from = start;
        loop {
            self.at += plain(&self.bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    let tail = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(tail),
                        Some(mut owned) => {
                            owned.push_str(tail);
                            Cow::Owned(owned)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[from..self.at]);
                    let c = self.escape()?;
                    owned.get_or_insert_default().push(c);
                    from = self.at;
                }
                Some(byte) if byte < 0x20 => return self.error("a control character must be escaped"),
                Some(_) => self.at += 1,
                None => return self.error("the text is not closed"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        self.at += 1;
        let Some(byte) = self.peek() else { return self.error("the text is not closed") };
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if !(self.eat(b'\\') && self.eat(b'u')) {
                            return self.error("half a surrogate pair");
                        }
                        let second = self.hex()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return self.error("half a surrogate pair");
                        }
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.error("half a surrogate pair"),
                }
            }
            _ => return self.error("an unknown escape"),
        })
    }

    fn hex(&mut self) -> Result<u32, Syntax> {
        let Some(digits) = self.text.get(self.at..self.at + 4) else {
            return self.error("four hex digits are expected");
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return self.error("four hex digits are expected");
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).or_else(|_| self.error("four hex digits are expected"))
    }
}
