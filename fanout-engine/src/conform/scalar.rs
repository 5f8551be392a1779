//! One value of a record, and rows of them as bytes.

use compact_str::CompactString;

/// One value. Which of its forms a field has follows from the field's type.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number, never negative zero.
    Float(f64),
    /// Text, or a JSON value as its text. Most texts are short, and a short one is kept without an allocation of its own.
    Text(CompactString),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Micros(i64),
    /// Days since 1970-01-01.
    Days(i32),
}

impl Scalar {
    /// Whether there is no value.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Values as bytes: one tag each, then eight bytes or a length and text. Equal values give equal
/// bytes, so that keys can be compared by them.
#[must_use]
pub fn encode_row<'a>(values: impl IntoIterator<Item = &'a Scalar>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        match value {
            Scalar::Null => bytes.push(0),
            Scalar::Bool(false) => bytes.push(1),
            Scalar::Bool(true) => bytes.push(2),
            Scalar::Int(value) => fixed(&mut bytes, 3, value.to_le_bytes()),
            Scalar::Float(value) => fixed(&mut bytes, 4, value.to_le_bytes()),
            Scalar::Text(value) => {
                fixed(&mut bytes, 5, (value.len() as u64).to_le_bytes());
                bytes.extend_from_slice(value.as_bytes());
            }
            Scalar::Micros(value) => fixed(&mut bytes, 6, value.to_le_bytes()),
            Scalar::Days(value) => fixed(&mut bytes, 7, i64::from(*value).to_le_bytes()),
        }
    }
    bytes
}

fn fixed(bytes: &mut Vec<u8>, tag: u8, value: [u8; 8]) {
    bytes.push(tag);
    bytes.extend_from_slice(&value);
}

/// The values that [`encode_row`] wrote; `None` when the bytes are something else.
#[must_use]
pub fn decode_row(mut bytes: &[u8]) -> Option<Vec<Scalar>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        if *tag < 3 {
            values.push(if *tag == 0 { Scalar::Null } else { Scalar::Bool(*tag == 2) });
            continue;
        }
        let (fixed, rest) = bytes.split_first_chunk::<8>()?;
        bytes = rest;
        let number = i64::from_le_bytes(*fixed);
        values.push(match tag {
            3 => Scalar::Int(number),
            4 => Scalar::Float(f64::from_le_bytes(*fixed)),
            5 => {
                let (text, rest) = bytes.split_at_checked(usize::try_from(number).ok()?)?;
                bytes = rest;
                Scalar::Text(std::str::from_utf8(text).ok()?.into())
            }
            6 => Scalar::Micros(number),
            7 => Scalar::Days(i32::try_from(number).ok()?),
            _ => return None,
        });
    }
    Some(values)
}
