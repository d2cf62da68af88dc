//! The everyday forms of a [`Cursor`]: some members, all elements, the text or the number of a raw value.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::syntax::SyntaxError;

/// The raw values of the members of an object that have one of these names; the last one where a name repeats.
pub fn pick<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> Result<[Option<&'a [u8]>; N], SyntaxError> {
    let mut found = [None; N];
    let mut cursor = Cursor::new(object);
    cursor.members(|member, cursor| {
        let value = cursor.skip()?;
        if let Some(at) = names.iter().position(|name| *name == member.key) {
            found[at] = Some(&object[value]);
        }
        Ok::<_, SyntaxError>(())
    })?;
    cursor.end()?;
    Ok(found)
}

/// The raw elements of an array, at most `limit` of them.
pub fn elements(array: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    // A text that is no array has no elements; `pick` has already checked the grammar of what comes from outside.
    let _ = Cursor::new(array).elements(|_, cursor| {
        let element = cursor.skip()?;
        if found.len() < limit {
            found.push(&array[element]);
        }
        Ok::<_, SyntaxError>(())
    });
    found
}

/// The decoded text of a raw value, if it is a string.
pub fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    Cursor::new(value).string().ok().map(|text| text.decode())
}

/// The number a raw value holds, if it is a whole number, zero or more. Beyond 64 bits it saturates.
pub fn unsigned(value: &[u8]) -> Option<u64> {
    whole_number(Cursor::new(value).number().ok()?)
}

/// Reads the text of a JSON number as a whole number, zero or more. Beyond 64 bits it saturates.
pub fn whole_number(number: &str) -> Option<u64> {
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
        number.bytes().fold(0, |value: u64, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_repeated_names_counts() {
        let object = br#"{"a":1,"b":[2],"a":3,"\u0062":4}"#;
        assert_eq!(pick(object, ["a", "b", "c"]), Ok([Some(&b"3"[..]), Some(&b"4"[..]), None]));
        assert!(pick(b"{\"a\":1} x", ["a"]).is_err());
    }

    #[test]
    fn whole_numbers_saturate() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"99999999999999999999"), Some(u64::MAX));
        assert_eq!(unsigned(b"-1"), None);
        assert_eq!(unsigned(b"1.0"), None);
        assert_eq!(unsigned(b"null"), None);
    }
}
