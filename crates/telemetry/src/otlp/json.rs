//! How the JSON of the protocol differs from what `serde` would read: 64-bit integers may be texts, ids are hexadecimal,
//! other bytes base64, numbers that are none are words, and a value is an object with one of several keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::any_value::Value;
use super::{AnyValue, ArrayValue, KeyValueList};

/// An [`AnyValue`] as JSON has it. Of several keys the first one counts.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Any {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Whole>,
    double_value: Option<Number>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<Base64>,
}

impl From<Any> for AnyValue {
    fn from(any: Any) -> Self {
        let value = None
            .or(any.string_value.map(Value::String))
            .or(any.bool_value.map(Value::Bool))
            .or(any.int_value.map(|Whole(number)| Value::Int(number as i64)))
            .or(any.double_value.map(|Number(number)| Value::Double(number)))
            .or(any.array_value.map(Value::Array))
            .or(any.kvlist_value.map(Value::Map))
            .or(any.bytes_value.map(|Base64(bytes)| Value::Bytes(bytes)));
        Self { value }
    }
}

/// A 64-bit integer, signed or not, as a number or a text.
struct Whole(i128);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of 64 bits, as a number or a text")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                // JavaScript writes large numbers this way.
                if number.fract() == 0.0 && number.abs() < 18_446_744_073_709_551_616.0 {
                    Ok(Whole(number as i128))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Whole, E> {
                let unexpected = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                text.parse::<i64>()
                    .map(i128::from)
                    .or_else(|_| text.parse::<u64>().map(i128::from))
                    .map(Whole)
                    .map_err(|_| unexpected())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A number, or the word for one that is none.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or one of NaN, Infinity, -Infinity")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "Infinity" => Ok(f64::INFINITY),
                    "-Infinity" => Ok(f64::NEG_INFINITY),
                    "NaN" => Ok(f64::NAN),
                    number => number.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(number), &self)),
                }
                .map(Number)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(&text).map(Self).map_err(|_| D::Error::custom("bytesValue is not base64"))
    }
}

pub(super) fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    hex::decode(&text).map_err(|_| D::Error::custom("an id is not hexadecimal"))
}

pub(super) fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let Whole(number) = Whole::deserialize(deserializer)?;
    u64::try_from(number).map_err(|_| D::Error::custom("a number that counts is negative"))
}

pub(super) fn signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<Whole>::deserialize(deserializer)?;
    number
        .map(|Whole(number)| i64::try_from(number).map_err(|_| D::Error::custom("a number has more than 64 bits")))
        .transpose()
}

pub(super) fn unsigned_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let numbers = Vec::<Whole>::deserialize(deserializer)?;
    let unsigned =
        |Whole(number)| u64::try_from(number).map_err(|_| D::Error::custom("a number that counts is negative"));
    numbers.into_iter().map(unsigned).collect()
}

pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::deserialize(deserializer).map(|Number(number)| number)
}

pub(super) fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.map(|Number(number)| number))
}

pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    Ok(Vec::<Number>::deserialize(deserializer)?.into_iter().map(|Number(number)| number).collect())
}
