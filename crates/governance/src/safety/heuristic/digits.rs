//! Numbers that stand for people: of credit cards, of the social security of the United States, of telephones.

use systemprompt_extension::safety::Severity;

use crate::safety::found::Found;

/// The longest of them with what stands behind it.
const LOOKED_AT: usize = 40;

/// Tells every such number in `text`, and gives how many bytes were looked at for that.
pub(super) fn find(text: &str, tell: &mut impl FnMut(Found)) -> usize {
    let bytes = text.as_bytes();
    let mut looked_at = bytes.len();
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| matches!(byte, b'0'..=b'9' | b'(' | b'+')) {
        let start = at + next;
        let rest = &bytes[start..bytes.len().min(start + LOOKED_AT)];
        looked_at += rest.len();
        let found = if follows_something(&bytes[..start]) { None } else { number(&bytes[..start], rest) };
        if let Some((category, severity, length)) = found {
            tell((category, severity, start..start + length));
            at = start + length;
        } else {
            let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            looked_at += digits;
            at = start + digits.max(1);
        }
    }
    looked_at
}

/// Whether what stands before says that a number is a part of something else: a name, a fraction, a path.
fn follows_something(before: &[u8]) -> bool {
    before.last().is_some_and(|&byte| byte.is_ascii_alphanumeric() || b"_.-/+".contains(&byte))
}

/// Whether a number of this length goes on behind it.
fn goes_on(rest: &[u8], length: usize) -> bool {
    match &rest[length..] {
        [next, ..] if next.is_ascii_alphanumeric() || *next == b'_' => true,
        [b'-' | b'.' | b'/' | b':', next, ..] => next.is_ascii_digit(),
        _ => false,
    }
}

fn number(before: &[u8], rest: &[u8]) -> Option<(&'static str, Severity, usize)> {
    let kinds: [(&'static str, Severity, Option<usize>); 3] = [
        ("pii_credit_card", Severity::High, card(before, rest)),
        ("pii_ssn", Severity::High, social_security(rest).filter(|&length| !goes_on(rest, length))),
        (
            "pii_phone",
            Severity::Low,
            phone(rest).or_else(|| international_phone(before, rest)).filter(|&length| !goes_on(rest, length)),
        ),
    ];
    kinds.into_iter().find_map(|(category, severity, length)| Some((category, severity, length?)))
}

/// Whether `rest` begins like `form`, in which `0` stands for a digit.
fn begins_like(rest: &[u8], form: &[u8]) -> bool {
    rest.len() >= form.len()
        && rest.iter().zip(form).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form })
}

/// Sixteen digits, in one piece or in four of four, with the right check digit and the beginning of an issuer.
fn card(before: &[u8], rest: &[u8]) -> Option<usize> {
    let in_one = begins_like(rest, b"0000000000000000");
    let divided = [b"0000 0000 0000 0000", b"0000-0000-0000-0000"].into_iter().any(|form| begins_like(rest, form));
    let length = match (in_one, divided) {
        (true, _) => 16,
        (_, true) => 19,
        _ => return None,
    };
    if divided && length == 19 {
        // A part of something longer that is written the same way.
        let separator = rest[4];
        let follows = matches!(before, [.., digit, last] if digit.is_ascii_digit() && *last == separator);
        let goes_on = matches!(&rest[19..], [next, digit, ..] if *next == separator && digit.is_ascii_digit());
        if follows || goes_on {
            return None;
        }
    }
    // Behind `/` or `:` stands when it runs out.
    let is_part = match &rest[length..] {
        [next, ..] if next.is_ascii_alphanumeric() || *next == b'_' => true,
        [b'-' | b'.', next, ..] => next.is_ascii_digit(),
        _ => false,
    };
    if is_part {
        return None;
    }
    let digits: Vec<u32> =
        rest[..length].iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    let first_four = digits[..4].iter().fold(0, |number, digit| number * 10 + digit);
    let is_issued = matches!(
        first_four,
        // Mastercard, JCB, Visa, Mastercard, Discover and UnionPay.
        2221..=2720 | 3528..=3589 | 4000..=4999 | 5100..=5599 | 6011 | 6200..=6299 | 6440..=6599
    );
    (is_issued && luhn(&digits)).then_some(length)
}

/// Whether the last digit is the check digit of those before it (ISO/IEC 7812-1).
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A social security number of the United States. Some have never been given out.
fn social_security(rest: &[u8]) -> Option<usize> {
    let (area, group, serial) = (rest.get(..3)?, rest.get(4..6)?, rest.get(7..11)?);
    let is_given = area != b"000" && area != b"666" && area[0] != b'9' && group != b"00" && serial != b"0000";
    (begins_like(rest, b"000-00-0000") && is_given).then_some(11)
}

/// A telephone number as it is written in North America.
fn phone(rest: &[u8]) -> Option<usize> {
    let forms: [&[u8]; 4] = [b"(000) 000-0000", b"(000)000-0000", b"000-000-0000", b"000.000.0000"];
    let form = forms.into_iter().find(|form| begins_like(rest, form))?;
    let digit =
        |number: usize| form.iter().enumerate().filter(|(_, form)| **form == b'0').nth(number).map(|(at, _)| rest[at]);
    // Neither area nor exchange begins with 0 or 1.
    (digit(0)? >= b'2' && digit(3)? >= b'2').then_some(form.len())
}

/// A telephone number with the code of its country. What begins a line may be one that was added, in a list of changes.
fn international_phone(before: &[u8], rest: &[u8]) -> Option<usize> {
    let number = rest.strip_prefix(b"+")?;
    if before.last() == Some(&b'\n') || !matches!(number.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let (mut digits, mut length, mut separators, mut gap) = (0, 0, 0, 0);
    let mut first_group = None;
    for (at, byte) in number.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                (digits, length, gap) = (digits + 1, at + 1, 0);
            }
            b' ' | b'-' | b'.' | b'(' | b')' if gap < 2 && digits < 15 => {
                first_group.get_or_insert(digits);
                (gap, separators) = (gap + 1, separators + 1);
            }
            _ => break,
        }
    }
    let is_divided = length < number.len() && separators > 0 && first_group.is_some_and(|first| first < digits);
    // Codes of countries have up to three digits, so a date is none.
    let fits =
        if is_divided { (8..=15).contains(&digits) && first_group <= Some(3) } else { (10..=15).contains(&digits) };
    fits.then_some(1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_card_runs_out_is_no_part_of_its_number() {
        let found = |text: &str| {
            let mut found = Vec::new();
            find(text, &mut |(category, _, span)| found.push((category, text[span].to_owned())));
            found
        };
        for (text, number) in
            [("4111111111111111:12:27:123", "4111111111111111"), ("4111 1111 1111 1111/12/27", "4111 1111 1111 1111")]
        {
            assert_eq!(found(text), [("pii_credit_card", number.to_owned())], "{text}");
        }
        for text in ["4111111111111111.5", "4111111111111111-7", "4111111111111111a", "411111111111111123"] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn no_more_is_looked_at_than_a_multiple_of_the_text() {
        for unit in ["1", "1-", "1 ", "+1", "(415) ", "4111 1111 1111 1111", "+1 4", "((((", "123-45-"] {
            let text = unit.repeat(20_000);
            let looked_at = find(&text, &mut |_| ());
            assert!(looked_at <= text.len() * (LOOKED_AT + 2), "{unit}: {looked_at}");
        }
    }
}
