//! Reads a UCUM code: components joined by `.` and `/`, each a number or a prefixed atom with an
//! exponent. `/` binds to the component after it only, as UCUM has it: `m/s.kg` is `(m/s)·kg`.

use rust_decimal::Decimal;

use super::atoms::{ATOMS, Atom, MEANT, PREFIXES};
use super::{MAX_CODE_BYTES, Unit, UnitError};

const MAX_EXPONENT: i32 = 6;

/// Reads a code.
pub(super) fn unit(code: &str) -> Result<Unit, UnitError> {
    let known = if code.len() <= MAX_CODE_BYTES { product(code) } else { None };
    known.ok_or_else(|| unknown(code))
}

fn unknown(code: &str) -> UnitError {
    let lower = code.trim().to_lowercase();
    let meant = MEANT.iter().find(|(name, _)| *name == lower);
    let hint = meant.map(|(_, meant)| format!("; {meant:?} is")).unwrap_or_default();
    UnitError::Unknown { code: code.chars().take(MAX_CODE_BYTES).collect(), hint }
}

fn product(code: &str) -> Option<Unit> {
    if let Some(atom) = ATOMS.iter().find(|atom| atom.code == code) {
        return from_atom(atom);
    }
    let mut result =
        Unit { dimension: [0; 8], numerator: Decimal::ONE, denominator: Decimal::ONE, shift: Decimal::ZERO };
    let mut rest = code;
    let mut divide = false;
    if let Some(after) = rest.strip_prefix('/') {
        (rest, divide) = (after, true);
    }
    loop {
        let end = boundary(rest);
        let component = component(&rest[..end])?;
        result = times(&result, &component, if divide { -1 } else { 1 })?;
        match rest[end..].chars().next() {
            None => return Some(result),
            Some(operator) => (rest, divide) = (&rest[end + 1..], operator == '/'),
        }
    }
}

/// Where the next `.` or `/` outside brackets is.
fn boundary(text: &str) -> usize {
    let mut depth = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b'.' | b'/' if depth == 0 => return index,
            _ => {}
        }
    }
    text.len()
}

fn component(text: &str) -> Option<Unit> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: Decimal = text.parse().ok()?;
        if number.is_zero() {
            return None;
        }
        return Some(Unit { dimension: [0; 8], numerator: number, denominator: Decimal::ONE, shift: Decimal::ZERO });
    }
    let (symbol, exponent) = split_exponent(text)?;
    let unit = symbol_unit(symbol)?;
    // A temperature scale with its own zero cannot be part of a product.
    if !unit.shift.is_zero() {
        return None;
    }
    let one = Unit { dimension: [0; 8], numerator: Decimal::ONE, denominator: Decimal::ONE, shift: Decimal::ZERO };
    let mut result = one;
    for _ in 0..exponent.abs() {
        result = times(&result, &unit, exponent.signum())?;
    }
    Some(result)
}

fn split_exponent(text: &str) -> Option<(&str, i32)> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Some((text, 1));
    }
    let mut at = text.len() - digits;
    if matches!(text.as_bytes().get(at.checked_sub(1)?), Some(b'-' | b'+')) {
        at -= 1;
    }
    let exponent: i32 = text[at..].parse().ok()?;
    (exponent != 0 && exponent.abs() <= MAX_EXPONENT).then_some((&text[..at], exponent))
}

fn symbol_unit(symbol: &str) -> Option<Unit> {
    if let Some(atom) = ATOMS.iter().find(|atom| atom.code == symbol) {
        return from_atom(atom);
    }
    PREFIXES.iter().find_map(|(prefix, numerator, denominator)| {
        let rest = symbol.strip_prefix(prefix)?;
        let atom = ATOMS.iter().find(|atom| atom.metric && atom.code == rest)?;
        let mut unit = from_atom(atom)?;
        unit.numerator = unit.numerator.checked_mul(numerator.parse().ok()?)?;
        unit.denominator = unit.denominator.checked_mul(denominator.parse().ok()?)?;
        Some(unit)
    })
}

fn from_atom(atom: &Atom) -> Option<Unit> {
    Some(Unit {
        dimension: atom.dimension,
        numerator: atom.numerator.parse().ok()?,
        denominator: atom.denominator.parse().ok()?,
        shift: atom.shift.parse().ok()?,
    })
}

fn times(left: &Unit, right: &Unit, sign: i32) -> Option<Unit> {
    let (up, down) = if sign < 0 { (right.denominator, right.numerator) } else { (right.numerator, right.denominator) };
    let mut dimension = left.dimension;
    for (sum, part) in dimension.iter_mut().zip(right.dimension) {
        *sum += sign * part;
    }
    Some(Unit {
        dimension,
        numerator: left.numerator.checked_mul(up)?.normalize(),
        denominator: left.denominator.checked_mul(down)?.normalize(),
        shift: Decimal::ZERO,
    })
}
