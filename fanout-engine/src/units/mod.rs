//! Conversions between units, by [UCUM](https://ucum.org/ucum) code (case sensitive).
//!
//! A code is a product of atoms with prefixes and exponents: `km/h`, `[mi_i]/h`, `kg.m-3`. Only
//! linear conversions exist: logarithmic units (`dB`, `pH`) are unknown here. Factors are worked
//! out in decimals and rounded to binary once, so that `[mi_i]` to `km` is exactly 1.609344.

mod atoms;
mod parse;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// The most bytes of a unit code.
pub const MAX_CODE_BYTES: usize = 64;

/// Why two units cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The code is not known.
    #[error("{code:?} is not a known UCUM code{hint}")]
    Unknown {
        /// The code as given.
        code: String,
        /// What was perhaps meant, ready to be appended; empty when nothing comes to mind.
        hint: String,
    },
    /// Both are known and measure different things.
    #[error("{from:?} and {to:?} measure different things")]
    Dimension {
        /// The unit the value has.
        from: String,
        /// The unit the value should get.
        to: String,
    },
    /// The factor leaves the range of exact arithmetic.
    #[error("the factor from {from:?} to {to:?} is too large or too small")]
    Range {
        /// The unit the value has.
        from: String,
        /// The unit the value should get.
        to: String,
    },
}

/// A linear conversion: `value * factor + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// What the value is multiplied by.
    pub factor: f64,
    /// What is added afterwards.
    pub offset: f64,
}

impl Linear {
    /// The converted value.
    #[must_use]
    pub fn apply(self, value: f64) -> f64 {
        value * self.factor + self.offset
    }
}

/// Exponents of the base units m, s, g, rad, K, C, cd, bit.
pub(crate) type Dimension = [i32; 8];

/// A unit against the base: `base = (value + shift) * numerator / denominator`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    pub(crate) dimension: Dimension,
    pub(crate) numerator: Decimal,
    pub(crate) denominator: Decimal,
    pub(crate) shift: Decimal,
}

/// The conversion from one unit to another.
///
/// # Errors
/// A code is unknown, or the two measure different things.
pub fn convert(from: &str, to: &str) -> Result<Linear, UnitError> {
    let source = parse::unit(from)?;
    let target = parse::unit(to)?;
    if source.dimension != target.dimension {
        return Err(UnitError::Dimension { from: from.to_owned(), to: to.to_owned() });
    }
    linear(&source, &target).ok_or_else(|| UnitError::Range { from: from.to_owned(), to: to.to_owned() })
}

/// Whether the code is known.
///
/// # Errors
/// It is not; the error may name what was meant.
pub fn check(code: &str) -> Result<(), UnitError> {
    parse::unit(code).map(drop)
}

fn linear(source: &Unit, target: &Unit) -> Option<Linear> {
    let up = source.numerator.checked_mul(target.denominator)?;
    let down = source.denominator.checked_mul(target.numerator)?;
    // Nothing but the order of the operations decides whether the last digit survives: multiply
    // first, divide once.
    let factor = up.checked_div(down)?;
    let shifted = source.shift.checked_mul(up)?.checked_div(down)?;
    let offset = shifted.checked_sub(target.shift)?;
    let factor = factor.to_f64().filter(|factor| *factor > 0.0)?;
    Some(Linear { factor, offset: offset.to_f64()? })
}

#[cfg(test)]
mod tests;
