//! The small language in which rules say what a credential looks like.
//!
//! It is a part of regular expressions that needs no way back: what is read is read, and a pattern takes time linear in what
//! it matches. A pattern is a sequence of
//!
//! - characters, which stand for themselves (`\` before one that would mean something else),
//! - sets such as `[A-Z2-7_]`, or one of [`SETS`] by its name: `<b62>`, `<hex>`, `<url>` …, or `<uuid>`,
//! - choices of texts, `(live|test)`,
//!
//! each with a number of times: `?`, `{36}`, `{20,}`, `{20,60}`. A set takes as many characters as it may, so what follows
//! it has to begin with another one. A match of a fixed length is followed by no character that would make it longer. One
//! that ends in a set without an upper bound goes on as far as the set does.

use std::fmt;

/// Sets by their names.
pub const SETS: [(&str, &str); 9] = [
    ("b62", "A-Za-z0-9"),
    ("hex", "a-f0-9"),
    ("anyhex", "A-Fa-f0-9"),
    ("low", "a-z0-9"),
    ("up", "A-Z0-9"),
    ("num", "0-9"),
    ("url", "A-Za-z0-9_-"),
    ("b64", "A-Za-z0-9+/"),
    ("any", "!-~"),
];
/// What a pattern gets to see of a text.
pub(crate) const SHOWN: usize = 1024;
/// So many times may a character or a choice stand or be missing.
const OPTIONAL: u16 = 8;
/// The most that a set without an upper bound takes while it is matched.
const UNBOUNDED: u16 = 512;
/// The longest credential, with all that a set without an upper bound takes at its end.
const LONGEST: usize = 16 * 1024;

/// A pattern, ready for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    items: Vec<Item>,
    /// Whether its length is fixed, so that it must end where it ends.
    fixed: bool,
    /// The set without an upper bound that it ends in.
    open: Option<Set>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// One of these texts.
    Choice { texts: Vec<Vec<u8>>, optional: bool },
    /// Characters of this set.
    Set { set: Set, min: u16, max: u16 },
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set([u64; 4]);

impl Set {
    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Whether `byte` is in it.
    pub(crate) const fn has(self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Where, in bytes.
    pub at: usize,
    /// What.
    pub problem: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.problem, self.at + 1)
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(pattern: &str) -> Result<Self, PatternError> {
        let mut reader = Reader { text: pattern.as_bytes(), at: 0, open: None };
        let mut items = Vec::new();
        while reader.at < reader.text.len() {
            reader.open = None;
            reader.item(&mut items)?;
        }
        let fixed = items.last().is_none_or(|item| !matches!(item, Item::Set { min, max, .. } if min != max));
        Ok(Self { items, fixed, open: reader.open })
    }

    /// A text, and what `rest` says behind it.
    ///
    /// # Panics
    ///
    /// If `rest` is no pattern.
    pub(crate) fn after(text: &str, rest: &str) -> Self {
        let mut pattern = Self::parse(rest).expect("a constant");
        pattern.items.insert(0, Item::Choice { texts: vec![text.as_bytes().to_vec()], optional: false });
        pattern
    }

    /// How long the match is that begins with `text`, if there is one.
    pub(crate) fn matches(&self, text: &[u8]) -> Option<usize> {
        self.reads(text).ok()
    }

    /// The same; otherwise how far the text was read.
    pub(crate) fn reads(&self, text: &[u8]) -> Result<usize, usize> {
        let mut at = 0;
        for item in &self.items {
            let rest = &text[at..];
            at += match item {
                Item::Choice { texts, optional } => {
                    match texts.iter().filter(|choice| rest.starts_with(choice)).map(Vec::len).max() {
                        Some(length) => length,
                        None if *optional => 0,
                        None => return Err(at),
                    }
                }
                Item::Set { set, min, max } => {
                    let length = rest.iter().take((*max).into()).take_while(|&&byte| set.has(byte)).count();
                    if length < usize::from(*min) {
                        return Err(at + length);
                    }
                    length
                }
            };
        }
        let goes_on = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || matches!(self.items.last(), Some(Item::Set { set, .. }) if *byte != b'=' && set.has(*byte))
        };
        if self.fixed && text.get(at).is_some_and(goes_on) { Err(at) } else { Ok(at) }
    }

    /// How much of what is behind a match of `length`, which `text` begins with, is of it too.
    pub(crate) fn goes_on(&self, text: &[u8], length: usize) -> usize {
        let Some(set) = self.open else { return 0 };
        text[length..].iter().take(LONGEST.saturating_sub(length)).take_while(|&&byte| set.has(byte)).count()
    }

    /// The texts with which matches begin, long enough to be looked for if there are not too many. An empty one if they may
    /// begin with anything.
    pub(crate) fn beginnings(&self) -> Vec<Vec<u8>> {
        const MOST: usize = 300;
        const ENOUGH: usize = 4;
        let mut beginnings = vec![Vec::new()];
        for item in &self.items {
            let (texts, times) = match item {
                Item::Choice { texts, optional: false } => (texts.clone(), 1),
                Item::Set { set, min, .. } if *min > 0 => {
                    ((0..=u8::MAX).filter(|&byte| set.has(byte)).map(|byte| vec![byte]).collect(), *min)
                }
                _ => break,
            };
            let is_set = matches!(item, Item::Set { .. });
            let mut whole = true;
            for _ in 0..times {
                let short = beginnings.iter().any(|beginning: &Vec<u8>| beginning.len() < ENOUGH);
                if beginnings.len() * texts.len() > MOST || (is_set && !short) {
                    whole = false;
                    break;
                }
                beginnings = beginnings
                    .iter()
                    .flat_map(|beginning| texts.iter().map(move |text| [beginning.as_slice(), text].concat()))
                    .collect();
            }
            let exact = !matches!(item, Item::Set { min, max, .. } if min != max);
            if !whole || !exact {
                break;
            }
        }
        beginnings
    }

    /// The characters of a match that its sets took: what was chosen for it.
    pub(crate) fn chosen(&self, text: &[u8]) -> Vec<u8> {
        let (mut at, mut chosen) = (0, Vec::with_capacity(text.len()));
        for item in &self.items {
            let rest = &text[at.min(text.len())..];
            at += match item {
                Item::Choice { texts, .. } => {
                    texts.iter().filter(|choice| rest.starts_with(choice)).map(Vec::len).max().unwrap_or(0)
                }
                Item::Set { set, max, .. } => {
                    let length = rest.iter().take((*max).into()).take_while(|&&byte| set.has(byte)).count();
                    chosen.extend_from_slice(&rest[..length]);
                    length
                }
            };
        }
        chosen
    }

    /// How much of a text it may have to see.
    pub(crate) fn most(&self) -> usize {
        let most = |item: &Item| match item {
            Item::Choice { texts, .. } => texts.iter().map(Vec::len).max().unwrap_or(0),
            Item::Set { min, max: UNBOUNDED, .. } => usize::from(*min),
            Item::Set { max, .. } => usize::from(*max),
        };
        self.items.iter().map(most).sum()
    }

    /// How many characters its sets take at least.
    pub(crate) fn least(&self) -> usize {
        let least = |item: &Item| if let Item::Set { min, .. } = item { usize::from(*min) } else { 0 };
        self.items.iter().map(least).sum()
    }

    /// A text that matches, made of what `choose` chooses of so many.
    #[cfg(test)]
    pub(crate) fn sample(&self, mut choose: impl FnMut(usize) -> usize) -> String {
        let mut sample = Vec::new();
        for item in &self.items {
            match item {
                Item::Choice { texts, .. } => sample.extend_from_slice(&texts[choose(texts.len())]),
                Item::Set { set, min, max } => {
                    let bytes: Vec<u8> = (0..=127).filter(|&byte| set.has(byte)).collect();
                    let length = (*min).max(20.min(*max));
                    sample.extend((0..length).map(|_| bytes[choose(bytes.len())]));
                }
            }
        }
        String::from_utf8(sample).expect("patterns are ASCII")
    }
}

struct Reader<'p> {
    text: &'p [u8],
    at: usize,
    /// The set that was read last, if it has no upper bound.
    open: Option<Set>,
}

impl Reader<'_> {
    fn wrong<T>(&self, problem: &'static str) -> Result<T, PatternError> {
        Err(PatternError { at: self.at, problem })
    }

    fn until(&mut self, end: u8) -> Result<&[u8], PatternError> {
        let start = self.at + 1;
        let mut at = start;
        while let Some(&byte) = self.text.get(at) {
            if byte == end {
                self.at = at + 1;
                return Ok(&self.text[start..at]);
            }
            at += if byte == b'\\' { 2 } else { 1 };
        }
        self.wrong("this bracket is not closed")
    }

    fn item(&mut self, items: &mut Vec<Item>) -> Result<(), PatternError> {
        let start = self.at;
        match self.text[self.at] {
            b'(' => {
                let inner = self.until(b')')?;
                let inner = inner.strip_prefix(b"?:").unwrap_or(inner);
                let texts: Vec<Vec<u8>> = inner.split(|&byte| byte == b'|').map(plain).collect();
                if texts.iter().any(|text| text.iter().any(|byte| b"()[]{}*+?^$".contains(byte))) {
                    self.at = start;
                    return self.wrong("a choice is of texts only");
                }
                self.choice(&texts, items)?;
            }
            open @ (b'[' | b'<') => {
                let close = if open == b'[' { b']' } else { b'>' };
                let mut inner = self.until(close)?;
                if open == b'<' && inner == b"uuid" {
                    let set = set(b"A-Fa-f0-9").expect("a set");
                    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
                        if index > 0 {
                            items.push(Item::Choice { texts: vec![b"-".to_vec()], optional: false });
                        }
                        items.push(Item::Set { set, min: length, max: length });
                    }
                    return Ok(());
                }
                if open == b'<' {
                    let Some((_, set)) = SETS.iter().find(|(name, _)| name.as_bytes() == inner) else {
                        self.at = start;
                        return self.wrong("there is no set of this name");
                    };
                    inner = set.as_bytes();
                }
                let Some(set) = set(inner) else {
                    self.at = start;
                    return self.wrong("this is no set of characters");
                };
                let (min, max) = self.times()?;
                self.open = max.is_none().then_some(set);
                items.push(Item::Set { set, min, max: max.unwrap_or(UNBOUNDED) });
            }
            b'*' | b'+' | b'^' | b'$' | b'|' | b')' | b'{' | b'?' => {
                return self.wrong("patterns know characters, sets, choices and numbers of times");
            }
            mut byte => {
                if byte == b'\\' {
                    self.at += 1;
                    let Some(&escaped) = self.text.get(self.at) else { return self.wrong("nothing follows") };
                    if escaped.is_ascii_alphanumeric() {
                        return self.wrong("write the set of characters instead");
                    }
                    byte = escaped;
                }
                self.at += 1;
                self.choice(&[vec![byte]], items)?;
            }
        }
        Ok(())
    }

    /// Texts, of which one stands as many times as is said next.
    fn choice(&mut self, texts: &[Vec<u8>], items: &mut Vec<Item>) -> Result<(), PatternError> {
        let start = self.at;
        let (min, max) = self.times()?;
        let Some(max) = max.filter(|max| max - min <= OPTIONAL) else {
            self.at = start;
            return self.wrong("use a set for what may stand so many times");
        };
        let choice = |optional| Item::Choice { texts: texts.to_vec(), optional };
        items.extend((0..max).map(|time| choice(time >= min)));
        Ok(())
    }

    /// How many times, at least and at most, if that has a bound.
    fn times(&mut self) -> Result<(u16, Option<u16>), PatternError> {
        match self.text.get(self.at) {
            Some(b'?') => {
                self.at += 1;
                Ok((0, Some(1)))
            }
            Some(b'{') => {
                let start = self.at;
                let inner = String::from_utf8_lossy(self.until(b'}')?).into_owned();
                let (min, max) = inner.split_once(',').unwrap_or((&inner, &inner));
                let (open, max) = (max.is_empty(), if max.is_empty() { Ok(UNBOUNDED) } else { max.parse() });
                match (min.parse(), max) {
                    (Ok(min), Ok(max)) if min <= max && 0 < max && max <= 4096 => Ok((min, (!open).then_some(max))),
                    _ => {
                        self.at = start;
                        self.wrong("this is no number of times")
                    }
                }
            }
            _ => Ok((1, Some(1))),
        }
    }
}

fn plain(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|&byte| byte != b'\\').collect()
}

fn set(inner: &[u8]) -> Option<Set> {
    let mut set = Set::default();
    let mut at = 0;
    while let Some(&first) = inner.get(at) {
        let first = if first == b'\\' {
            at += 1;
            *inner.get(at)?
        } else {
            first
        };
        match inner.get(at + 1..at + 3) {
            Some(&[b'-', last]) if last != b'\\' => {
                (first..=last).for_each(|byte| set.add(byte));
                at += 3;
            }
            _ => {
                set.add(first);
                at += 1;
            }
        }
    }
    (set != Set::default()).then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, text, length) in [
            ("ghp_<b62>{4}", "ghp_Ab12", Some(8)),
            ("ghp_<b62>{4}", "ghp_Ab12-", Some(8)),
            ("ghp_<b62>{4}", "ghp_Ab123", None),
            ("ghp_<b62>{4}", "ghp_Ab1", None),
            ("ghp_<b62>{4,}", "ghp_Ab123 x", Some(9)),
            ("[sr]k_(live|test)_<low>{2}", "rk_test_a1", Some(10)),
            ("a(b|bc)?d", "abcd", Some(4)),
            ("a(b|bc)?d", "ad", Some(2)),
            (r"x\.[A-Z_-]{2}", "x._-", Some(4)),
            ("x={2}", "x==", Some(3)),
            ("x={2,10}y", "x==========y", Some(12)),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text.as_bytes()), length, "{pattern} {text}");
        }
        let long = format!("ab{}", "x".repeat(2000));
        for (pattern, more) in [("ab<low>{4,}", 1488), ("ab<low>{4,512}", 0), ("ab<low>{4,}<num>{0,3}", 0)] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(
                pattern.goes_on(long.as_bytes(), pattern.matches(long.as_bytes()).unwrap()),
                more,
                "{pattern:?}"
            );
        }
        assert_eq!(Pattern::parse("[sr]k_").unwrap().beginnings(), [b"rk_", b"sk_"]);
        assert_eq!(Pattern::parse("a(b|c)def[xy]").unwrap().beginnings(), [b"abdef", b"acdef"]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (pattern, told) in [
            ("abc+", "patterns know characters, sets, choices and numbers of times at character 4"),
            ("abc[a-z", "this bracket is not closed at character 4"),
            ("abc<b61>", "there is no set of this name at character 4"),
            ("abc[a]{3,1}", "this is no number of times at character 7"),
            (r"abc\d", "write the set of characters instead at character 5"),
            ("abc([a]|b)", "a choice is of texts only at character 4"),
            ("abca{2,20}", "use a set for what may stand so many times at character 5"),
            ("abc(d|e){2,}", "use a set for what may stand so many times at character 9"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap_err().to_string(), told);
        }
    }
}
