//! The canonical JSON of RFC 8785, written directly: the digests of the ledger are taken over it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use std::fmt::Write as _;
use systemprompt_model::json::plain_end;
use uuid::Uuid;

/// Writes one canonical object. Keys are given in ascending order; absent values leave no trace, so a column added later
/// does not change the digests of older rows.
pub(crate) struct CanonicalObject {
    text: String,
    last_key: &'static str,
}

impl CanonicalObject {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text, last_key: "" }
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    pub(crate) fn text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            push_string(&mut self.text, value);
        }
    }

    /// Numbers in JSON are doubles, so integers beyond 2^53 are not representable; ours are far below.
    pub(crate) fn integer(&mut self, key: &'static str, value: Option<i64>) {
        if let Some(value) = value {
            self.key(key);
            push_integer(&mut self.text, value);
        }
    }

    pub(crate) fn number(&mut self, key: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.key(key);
            push_number(&mut self.text, value);
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str, value: Option<bool>) {
        if let Some(value) = value {
            self.key(key);
            self.text.push_str(if value { "true" } else { "false" });
        }
    }

    pub(crate) fn uuid(&mut self, key: &'static str, value: Option<Uuid>) {
        if let Some(value) = value {
            self.key(key);
            self.text.push('"');
            self.text.push_str(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            self.text.push('"');
        }
    }

    /// Microseconds since 1970, which is exactly what PostgreSQL stores.
    pub(crate) fn time(&mut self, key: &'static str, value: Option<DateTime<Utc>>) {
        self.integer(key, value.map(|value| value.timestamp_micros()));
    }

    /// Lower-case hexadecimal digits.
    pub(crate) fn bytes(&mut self, key: &'static str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.key(key);
            self.text.push('"');
            push_hex(&mut self.text, value);
            self.text.push('"');
        }
    }

    /// A list of texts.
    pub(crate) fn texts<'a>(&mut self, key: &'static str, values: impl Iterator<Item = &'a str>) {
        self.key(key);
        self.text.push('[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_string(&mut self.text, value);
        }
        self.text.push(']');
    }

    /// A value that is canonical JSON already.
    pub(crate) fn json(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            self.text.push_str(value);
        }
    }

    /// A list of objects, each of which is written by `write`.
    pub(crate) fn objects<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.key(key);
        self.text.push('[');
        for (index, item) in items.into_iter().enumerate() {
            self.text.push_str(if index > 0 { ",{" } else { "{" });
            self.last_key = "";
            write(self, item);
            self.text.push('}');
        }
        self.text.push(']');
        self.last_key = key;
    }

    pub(crate) fn object(&mut self, key: &'static str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.text.push('{');
        self.last_key = "";
        write(self);
        self.text.push('}');
        self.last_key = key;
    }

    fn key(&mut self, key: &'static str) {
        debug_assert!(self.last_key < key, "`{key}` is written after `{}`", self.last_key);
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
        self.last_key = key;
    }
}

/// The canonical form of any JSON value.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    push_value(&mut text, value);
    text
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::String(value) => push_string(out, value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) if integer.unsigned_abs() <= 1 << 53 => push_integer(out, integer),
            (_, value) => push_number(out, value.unwrap_or(f64::NAN)),
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, key);
                out.push(':');
                push_value(out, value);
            }
            out.push('}');
        }
    }
}

fn push_integer(out: &mut String, value: i64) {
    let _ = write!(out, "{value}");
}

/// A number as ECMAScript prints it. JSON knows no infinities; they become null.
fn push_number(out: &mut String, value: f64) {
    if !value.is_finite() {
        return out.push_str("null");
    }
    if value == 0.0 {
        return out.push('0');
    }
    if let Some(thousandths) = thousandths(value) {
        return push_thousandths(out, thousandths);
    }
    // The shortest digits that read back as this number, as `d.ddde±x`.
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (length, point) = (digits.len() as i32, exponent + 1);
    if value < 0.0 {
        out.push('-');
    }
    if length <= point && point <= 21 {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', (point - length) as usize));
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(point as usize);
        let _ = write!(out, "{whole}.{fraction}");
    } else if -6 < point && point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', -point as usize));
        out.push_str(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let _ = write!(out, "{first}{dot}{rest}e{exponent:+}");
    }
}

/// How many thousandths a number has, if that is a whole number and few enough that no other one reads back as this number.
/// Durations are measured so, and looking for their shortest digits takes longer than all the rest of an entry.
fn thousandths(value: f64) -> Option<i64> {
    let thousandths = (value * 1000.0).round();
    let reads_back = (thousandths / 1000.0).to_bits() == value.to_bits();
    (thousandths.abs() < 1e15 && reads_back).then_some(thousandths as i64)
}

fn push_thousandths(out: &mut String, thousandths: i64) {
    if thousandths < 0 {
        out.push('-');
    }
    let (whole, fraction) = (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
    let _ = match fraction {
        0 => write!(out, "{whole}"),
        _ if fraction % 100 == 0 => write!(out, "{whole}.{}", fraction / 100),
        _ if fraction % 10 == 0 => write!(out, "{whole}.{:02}", fraction / 10),
        _ => write!(out, "{whole}.{fraction:03}"),
    };
}

fn push_string(out: &mut String, value: &str) {
    out.push('"');
    let mut at = 0;
    loop {
        let stop = plain_end(value.as_bytes(), at);
        out.push_str(&value[at..stop]);
        match value.as_bytes().get(stop) {
            None => break,
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(0x08) => out.push_str("\\b"),
            Some(0x09) => out.push_str("\\t"),
            Some(0x0a) => out.push_str("\\n"),
            Some(0x0c) => out.push_str("\\f"),
            Some(0x0d) => out.push_str("\\r"),
            Some(control) => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        at = stop + 1;
    }
    out.push('"');
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_printed_as_rfc_8785_prints_them() {
        // Appendix B of the RFC, and the boundaries between the notations.
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (5e-324, "5e-324"),
            (-5e-324, "-5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (295_147_905_179_352_830_000.0, "295147905179352830000"),
            (9.999_999_999_999_997e22, "9.999999999999997e+22"),
            (1e23, "1e+23"),
            (1e21, "1e+21"),
            (999_999_999_999_999_900_000.0, "999999999999999900000"),
            (9.999_999_999_999_997e-7, "9.999999999999997e-7"),
            (0.000_001, "0.000001"),
            (333_333_333.333_333_3, "333333333.3333333"),
            (0.7, "0.7"),
            (1.5, "1.5"),
            (-0.001, "-0.001"),
            (12.34, "12.34"),
            (7.05, "7.05"),
            (0.1 + 0.2, "0.30000000000000004"),
            (999_999_999_999.999, "999999999999.999"),
            (1_000_000_000_000.001, "1000000000000.001"),
        ] {
            assert_eq!(canonical(&json!(value)), expected, "{value:e}");
        }
    }

    #[test]
    fn values_are_sorted_and_escaped_as_rfc_8785_says() {
        let value = json!({"\u{20ac}": "Euro", "\r": "CR", "1": "One", "\u{1f600}": "Smile", "\u{80}": "Control",
                           "\u{fb33}": "Dalet", "literals": [null, true, false], "string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/"});
        assert_eq!(
            canonical(&value),
            "{\"\\r\":\"CR\",\"1\":\"One\",\"literals\":[null,true,false],\
             \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\",\
             \"\u{80}\":\"Control\",\"\u{20ac}\":\"Euro\",\"\u{1f600}\":\"Smile\",\"\u{fb33}\":\"Dalet\"}"
        );
    }

    #[test]
    fn an_object_written_by_hand_is_the_canonical_form_of_its_value() {
        let id = Uuid::from_u128(1);
        let mut object = CanonicalObject::with_capacity(64);
        object.bytes("bytes", Some(&[0, 0xab]));
        object.integer("count", Some(-3));
        object.uuid("id", Some(id));
        object.object("inner", |inner| {
            inner.boolean("absent", None);
            inner.time("at", DateTime::from_timestamp_micros(1_700_000_000_123_456));
            inner.text("name", Some("a\"b"));
        });
        object.number("ratio", Some(0.25));
        let value = json!({"bytes": "00ab", "count": -3, "id": id, "ratio": 0.25,
                           "inner": {"at": 1_700_000_000_123_456_i64, "name": "a\"b"}});
        assert_eq!(object.finish(), canonical(&value));
    }
}
