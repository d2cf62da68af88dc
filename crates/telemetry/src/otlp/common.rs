//! `opentelemetry.proto.common.v1` and `resource.v1`.

use prost::Message;
use serde::Deserialize;

use super::json::{Base64, Number, Whole};

/// What produced the telemetry.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// Its attributes; `service.name` among them.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// The library that produced the telemetry.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstrumentationScope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// An attribute.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value of any kind.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "Any")]
pub struct AnyValue {
    /// The value; absent for an empty one.
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<any_value::Value>,
}

/// An [`AnyValue`] as JSON has it. Of several keys the first one counts.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Any {
    #[serde(rename = "stringValue")]
    string: Option<String>,
    #[serde(rename = "boolValue")]
    bool: Option<bool>,
    #[serde(rename = "intValue")]
    int: Option<Whole>,
    #[serde(rename = "doubleValue")]
    double: Option<Number>,
    #[serde(rename = "arrayValue")]
    array: Option<ArrayValue>,
    #[serde(rename = "kvlistValue")]
    map: Option<KeyValueList>,
    #[serde(rename = "bytesValue")]
    bytes: Option<Base64>,
}

impl From<Any> for AnyValue {
    fn from(any: Any) -> Self {
        let value = None
            .or(any.string.map(any_value::Value::String))
            .or(any.bool.map(any_value::Value::Bool))
            .or(any.int.map(|Whole(number)| any_value::Value::Int(number as i64)))
            .or(any.double.map(|Number(number)| any_value::Value::Double(number)))
            .or(any.array.map(any_value::Value::Array))
            .or(any.map.map(any_value::Value::Map))
            .or(any.bytes.map(|Base64(bytes)| any_value::Value::Bytes(bytes)));
        Self { value }
    }
}

/// The kinds of [`AnyValue`].
pub mod any_value {
    use prost::Oneof;

    use super::{ArrayValue, KeyValueList};

    /// A value of one of the kinds there are.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Value {
        /// A text.
        #[prost(string, tag = "1")]
        String(String),
        /// Yes or no.
        #[prost(bool, tag = "2")]
        Bool(bool),
        /// A whole number.
        #[prost(int64, tag = "3")]
        Int(i64),
        /// A number.
        #[prost(double, tag = "4")]
        Double(f64),
        /// A list.
        #[prost(message, tag = "5")]
        Array(ArrayValue),
        /// A map.
        #[prost(message, tag = "6")]
        Map(KeyValueList),
        /// Bytes.
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
}

/// A list of values.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArrayValue {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// A map of values.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValueList {
    /// The entries.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

impl KeyValue {
    /// An attribute that is a text.
    pub fn text(key: &'static str, value: impl Into<String>) -> Self {
        Self::of(key, any_value::Value::String(value.into()))
    }

    /// An attribute that is a whole number.
    pub fn int(key: &'static str, value: u64) -> Self {
        Self::of(key, any_value::Value::Int(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    /// An attribute that is a number.
    pub fn double(key: &'static str, value: f64) -> Self {
        Self::of(key, any_value::Value::Double(value))
    }

    /// An attribute that is true or not.
    pub fn bool(key: &'static str, value: bool) -> Self {
        Self::of(key, any_value::Value::Bool(value))
    }

    /// An attribute that is a list of texts.
    pub fn texts(key: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        let value = |text| AnyValue { value: Some(any_value::Value::String(text)) };
        Self::of(key, any_value::Value::Array(ArrayValue { values: values.into_iter().map(value).collect() }))
    }

    fn of(key: &'static str, value: any_value::Value) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}
