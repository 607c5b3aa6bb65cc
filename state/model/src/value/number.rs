//! Numbers: decimals that are exact up to [`DIGITS_MAX`] digits.
//!
//! Not floating point: `0.1 + 0.2` is `0.3`, and integers of hundreds of digits are exact. Division and what would
//! need more digits is rounded to [`DIGITS_MAX`] significant digits.
//! Invariant: always in lowest terms (no trailing zeros), and the magnitude is within ten to the plus or minus
//! [`EXPONENT_MAX`], so that no operation on numbers takes unbounded memory.

use std::fmt;
use std::str::FromStr;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::num_traits::Signed;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive, Zero};

/// Most significant digits that are kept; HCL's own numbers have 154.
pub const DIGITS_MAX: u64 = 512;

/// Largest decimal exponent, up and down.
pub const EXPONENT_MAX: i64 = 4096;

/// Longest text that is read as a number.
const TEXT_MAX: usize = 8192;

/// A decimal number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(BigDecimal);

/// Why there is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is no number.
    #[error("a number is required")]
    Syntax,
    /// Beyond ten to the [`EXPONENT_MAX`].
    #[error("the number is out of range: its magnitude must be below 1e{EXPONENT_MAX}")]
    OutOfRange,
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
}

impl Number {
    fn checked(value: BigDecimal) -> Result<Self, NumberError> {
        if value.is_zero() {
            return Ok(Self(BigDecimal::zero()));
        }
        let (digits, scale) = value.as_bigint_and_scale();
        // The cheap estimate comes first: `normalized` and rounding cost time in the number of digits.
        let magnitude = i64::try_from(digits.bits()).unwrap_or(i64::MAX) / 4;
        let exponent = magnitude.saturating_sub(scale);
        if scale.saturating_abs() > EXPONENT_MAX * 8 || exponent.saturating_abs() > EXPONENT_MAX * 8 {
            return Err(NumberError::OutOfRange);
        }
        let mut value = value.normalized();
        if value.digits() > DIGITS_MAX {
            value = value.with_precision_round_to(DIGITS_MAX);
        }
        if value.order_of_magnitude().abs() >= EXPONENT_MAX {
            return Err(NumberError::OutOfRange);
        }
        Ok(Self(value))
    }

    /// Adds.
    pub fn add(&self, other: &Self) -> Result<Self, NumberError> {
        Self::checked(&self.0 + &other.0)
    }

    /// Subtracts.
    pub fn subtract(&self, other: &Self) -> Result<Self, NumberError> {
        Self::checked(&self.0 - &other.0)
    }

    /// Multiplies.
    pub fn multiply(&self, other: &Self) -> Result<Self, NumberError> {
        Self::checked(&self.0 * &other.0)
    }

    /// Divides.
    pub fn divide(&self, other: &Self) -> Result<Self, NumberError> {
        if other.0.is_zero() {
            return Err(NumberError::DivisionByZero);
        }
        let (numerator, numerator_scale) = self.0.as_bigint_and_scale();
        let (denominator, denominator_scale) = other.0.as_bigint_and_scale();
        let shift = QUOTIENT_DIGITS + 2 + other.0.digits();
        let shifted = numerator.as_ref() * BigInt::from(10).pow(u32::try_from(shift).unwrap_or(u32::MAX));
        let quotient = &shifted / denominator.as_ref();
        let exact = &quotient * denominator.as_ref() == shifted;
        let scale = numerator_scale - denominator_scale + i64::try_from(shift).unwrap_or(i64::MAX);
        let quotient = BigDecimal::new(quotient, scale);
        Self::checked(if exact { quotient } else { quotient.with_precision_round_to(QUOTIENT_DIGITS) })
    }

    /// Returns the remainder, with the sign of `self`; of a division by zero all remains, as in HCL.
    pub fn remainder(&self, other: &Self) -> Result<Self, NumberError> {
        if other.0.is_zero() {
            return Ok(self.clone());
        }
        Self::checked(&self.0 % &other.0)
    }

    /// Changes the sign.
    #[must_use]
    pub fn negate(&self) -> Self {
        Self(-&self.0)
    }

    /// Drops the sign.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// Rounds up to an integer.
    #[must_use]
    pub fn ceil(&self) -> Self {
        Self(self.0.with_scale_round(0, RoundingMode::Ceiling).normalized())
    }

    /// Rounds down to an integer.
    #[must_use]
    pub fn floor(&self) -> Self {
        Self(self.0.with_scale_round(0, RoundingMode::Floor).normalized())
    }

    /// Rounds towards zero to an integer.
    #[must_use]
    pub fn truncate(&self) -> Self {
        Self(self.0.with_scale_round(0, RoundingMode::Down).normalized())
    }

    /// Rounds half away from zero to so many digits behind the point.
    #[must_use]
    pub fn round(&self, digits: u16) -> Self {
        Self(self.0.with_scale_round(i64::from(digits), RoundingMode::HalfUp).normalized())
    }

    /// Returns -1, 0 or 1.
    pub fn sign(&self) -> i64 {
        if self.0.is_zero() {
            0
        } else if self.0.is_negative() {
            -1
        } else {
            1
        }
    }

    /// Returns whether nothing is behind the point.
    pub fn is_integer(&self) -> bool {
        self.0.is_integer()
    }

    /// Returns an integer that fits.
    pub fn to_u64(&self) -> Option<u64> {
        self.0.to_u64().filter(|_| self.is_integer() && self.sign() >= 0)
    }

    /// Returns an integer that fits.
    pub fn to_i64(&self) -> Option<i64> {
        self.0.to_i64().filter(|_| self.is_integer())
    }

    /// Returns the nearest floating point number.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// Takes a floating point number by its shortest decimal.
    pub fn from_f64(value: f64) -> Result<Self, NumberError> {
        if !value.is_finite() {
            return Err(NumberError::OutOfRange);
        }
        format!("{value:e}").parse()
    }

    /// Reads an integer with a base between 2 and 62, in Go's digits: `0-9a-zA-Z`, cases alike up to base 36.
    pub fn parse_radix(text: &str, radix: u32) -> Result<Self, NumberError> {
        if text.len() > TEXT_MAX {
            return Err(NumberError::OutOfRange);
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if digits.is_empty() {
            return Err(NumberError::Syntax);
        }
        let base = BigDecimal::from(radix);
        let mut value = BigDecimal::zero();
        for letter in digits.chars() {
            let digit = digit_value(letter, radix).ok_or(NumberError::Syntax)?;
            value = value * &base + BigDecimal::from(digit);
        }
        Self::checked(if negative { -value } else { value })
    }

    /// Writes a non-negative integer with a base of 2 to 36, in lower case; the sign stays in front.
    pub fn to_radix(&self, radix: u32) -> String {
        let (digits, _) = self.truncate().0.with_scale(0).into_bigint_and_scale();
        digits.to_str_radix(radix.clamp(2, 36))
    }
}

/// Significant digits of a quotient that does not end: HCL computes with 512 binary digits, which are these.
const QUOTIENT_DIGITS: u64 = 154;

fn digit_value(letter: char, radix: u32) -> Option<u32> {
    let value = match letter {
        '0'..='9' => u32::from(letter) - u32::from('0'),
        'a'..='z' => u32::from(letter) - u32::from('a') + 10,
        'A'..='Z' if radix <= 36 => u32::from(letter) - u32::from('A') + 10,
        'A'..='Z' => u32::from(letter) - u32::from('A') + 36,
        _ => return None,
    };
    (value < radix).then_some(value)
}

trait Precision {
    fn with_precision_round_to(&self, digits: u64) -> BigDecimal;
}

impl Precision for BigDecimal {
    fn with_precision_round_to(&self, digits: u64) -> BigDecimal {
        let Some(precision) = std::num::NonZeroU64::new(digits) else { return self.clone() };
        self.with_precision_round(precision, RoundingMode::HalfEven).normalized()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let plain = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        if !plain || !unsigned.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(NumberError::Syntax);
        }
        if text.len() > TEXT_MAX {
            return Err(NumberError::OutOfRange);
        }
        Self::checked(BigDecimal::from_str(text).map_err(|_| NumberError::Syntax)?)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(BigDecimal::from(value).normalized())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(BigDecimal::from(value).normalized())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::from(u64::try_from(value).unwrap_or(u64::MAX))
    }
}
