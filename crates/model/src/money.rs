//! Money in whole millionths of a dollar.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// An amount of money in millionths of a US dollar. All cost in the product is kept in this unit, as integers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Microdollars(pub i64);

/// An amount that is not a finite, non-negative number of dollars.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0} is not a price: it must be a finite number of dollars, zero or more")]
pub struct InvalidMoney(pub f64);

impl Microdollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Converts a price in dollars, as written in configuration, rounding to the nearest millionth.
    pub fn from_dollars(dollars: f64) -> Result<Self, InvalidMoney> {
        let micro = (dollars * 1e6).round();
        if !(0.0..=9e18).contains(&micro) {
            return Err(InvalidMoney(dollars));
        }
        Ok(Self(micro as i64))
    }

    /// The amount in dollars, for display.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Microdollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micro = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:06}", micro / 1_000_000, micro % 1_000_000)
    }
}

impl Add for Microdollars {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Microdollars {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Microdollars {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_shown() {
        let amount = Microdollars::from_dollars(0.000_075).expect("a price");
        assert_eq!(amount, Microdollars(75));
        assert_eq!(amount.to_string(), "$0.000075");
        assert_eq!(Microdollars(-1_500_000).to_string(), "-$1.500000");
        assert!(Microdollars::from_dollars(-1.0).is_err());
        assert!(Microdollars::from_dollars(f64::NAN).is_err());
    }
}
