//! Prices as they are written, exactly.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest number that can be written: a million.
const LARGEST: f64 = 1e6;

/// A number from zero to a million, exact to the millionth: a price in dollars, or a factor of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(u64);

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One, the factor that changes nothing.
    pub const ONE: Self = Self(1_000_000);

    /// How many millionths it is.
    pub const fn in_millionths(self) -> u64 {
        self.0
    }

    /// The number as it is written again, for those who do not compute with it.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// So many cents, in dollars.
    #[must_use]
    pub const fn cents(self) -> Self {
        Self(self.0.saturating_add(50) / 100)
    }

    /// This number times 1.6, which is what writing to the cache for an hour costs more at Anthropic.
    pub(super) const fn times_1_6(self) -> Self {
        Self(self.0.saturating_mul(8).saturating_add(2) / 5)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if !(0.0..=LARGEST).contains(&number) {
            return Err(serde::de::Error::custom(format!("{number} is not a number of zero or more, up to {LARGEST}")));
        }
        // The nearest millionth is what was written: a number of this size is exact to far less.
        Ok(Self((number * 1e6).round() as u64))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000_000) {
            serializer.serialize_u64(self.0 / 1_000_000)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0, "maximum": LARGEST})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (written, millionths, shown) in [
            ("0", 0, "0"),
            ("3", 3_000_000, "3"),
            ("0.1", 100_000, "0.1"),
            ("1.10", 1_100_000, "1.1"),
            ("0.000001", 1, "0.000001"),
            ("3.75", 3_750_000, "3.75"),
            ("12.5", 12_500_000, "12.5"),
            ("999999.999999", 999_999_999_999, "999999.999999"),
            ("1000000", 1_000_000_000_000, "1000000"),
        ] {
            let read: Decimal = serde_json::from_str(written).expect("a number");
            assert_eq!((read.in_millionths(), read.to_string().as_str()), (millionths, shown), "{written}");
            let again = serde_json::to_string(&read).expect("it is written");
            assert_eq!(serde_json::from_str::<Decimal>(&again).expect("a number"), read, "{written} as {again}");
        }
        for wrong in ["-0.1", "1000001", "1e300", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Decimal>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_hour_in_the_cache_costs_three_fifths_more() {
        for (price, hour) in [(3_750_000, 6_000_000), (1, 2), (2, 3), (0, 0)] {
            assert_eq!(Decimal(price).times_1_6(), Decimal(hour));
        }
    }
}
