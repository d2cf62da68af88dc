//! Looking for everything in one text.
//!
//! One pass finds the anchors: beginnings of tokens, names of vendors, names of secrets, the signs of URLs and keys. What is
//! tried at an anchor reads a bounded stretch of the text. What one kind reads for the first time is free, so that no number of
//! credentials hides the next; what it reads again is paid for from a budget that grows with the text. So every text takes
//! linear time.

use std::ops::Range;

use crate::anchors::Anchors;
use crate::assignment::{self, Style, Value};
use crate::boundary::begins_word;
use crate::checksum;
use crate::enclosing::{self, enclosing};
use crate::examples::is_documented;
use crate::fields::given_to_a_secret;
use crate::kinds::{self, Form};
use crate::letters::of_words;
use crate::measure::distinct;
use crate::names::{self, Meaning};
use crate::options::ExtraRule;
use crate::pattern::{Pattern, SHOWN};
use crate::prose;
use crate::read::{self, Reader, Reads};
use crate::value;
use crate::words::random_part;

/// How far behind a token may begin that is recognised by what stands inside.
const INSIDE: usize = 128;
/// How many places before what stands inside a token it may begin at.
const STARTS: usize = 2;
/// What may be spent on reading again for tries of one form, in bytes, beyond as many as the text has up to there.
const SPARE: usize = 2048;
/// So much of a token tells whether it is a real one.
const JUDGED: usize = 128;
/// What a try costs compared with passing over a byte: to begin one, to read so many bytes, and to judge a token.
const TRY: usize = 8;
const READ: usize = 4;
const JUDGE: usize = 192;

/// The forms that are looked for, ready for use.
#[derive(Debug)]
pub(crate) struct Engine {
    anchors: Anchors,
    /// What is tried at each anchor.
    uses: Vec<Use>,
    forms: Vec<Compiled>,
    readers: Vec<(Reader, Option<usize>)>,
    passwords: Option<usize>,
    secrets: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Use {
    Begins(usize),
    Holds(usize),
    Named(usize),
    Read(usize),
    Name,
    Joint,
}

#[derive(Debug)]
struct Compiled {
    /// The place of its rule in the list.
    rule: usize,
    pattern: Pattern,
    /// How many of its first bytes are always the same, at the anchor this is about.
    id: &'static str,
    /// Whether it has to look random; those of an operator do not.
    judged: bool,
    /// Words of which one has to stand near it, if there are any.
    keywords: Vec<String>,
}

/// A credential in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The place of its rule in the list.
    pub(crate) rule: usize,
    /// The credential.
    pub(crate) place: Range<usize>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// Only what nothing else looks like.
    KnownForms,
}

/// The names of secrets, by their parts.
const NAMES: [&str; 11] =
    ["passw", "passphrase", "passcode", "pass", "pwd", "psk", "secret", "token", "key", "credential", "auth"];
/// Names that a space alone gives a value to, in configurations of their own.
const SPACED: [&str; 5] = ["requirepass", "masterauth", "-storepass", "storepass", "keypass"];
/// Signs by which texts of programs are put together.
const JOINTS: [&str; 10] =
    ["\" + \"", "' + '", "\"+\"", "'+'", "\" . \"", "' . '", "\" & \"", "\" .. \"", "\\\" + \\\"", "\\\"+\\\""];

impl Engine {
    /// The forms of the operator and the built-in ones, as far as `rule` says which place in the list theirs is.
    pub(crate) fn new(extra: &[ExtraRule], rule: impl Fn(&str) -> Option<usize>) -> Self {
        let mut literals: Vec<(Vec<u8>, bool)> = Vec::new();
        let mut uses = Vec::new();
        let mut forms: Vec<Compiled> = Vec::new();
        let mut anchor = |literal: &[u8], any_case: bool, what: Use| {
            literals.push((literal.to_vec(), any_case));
            uses.push(what);
        };
        for extra in extra {
            let Some(rule) = rule(&extra.id) else { continue };
            let (pattern, mut keywords) = (extra.pattern.clone(), extra.keywords.clone());
            if extra.has_a_beginning() {
                for beginning in pattern.beginnings() {
                    anchor(&beginning, false, Use::Begins(forms.len()));
                }
            } else {
                for keyword in keywords.drain(..) {
                    anchor(keyword.as_bytes(), true, Use::Named(forms.len()));
                }
            }
            forms.push(Compiled { rule, pattern, id: "", judged: false, keywords });
        }
        let parsed = |pattern: &str| Pattern::parse(pattern).expect("the tables have patterns only");
        for (_, kind) in kinds::all() {
            let Some(rule) = rule(kind.id) else { continue };
            let mut add = |pattern: Pattern| {
                forms.push(Compiled { rule, pattern, id: kind.id, judged: true, keywords: Vec::new() });
                forms.len() - 1
            };
            match kind.form {
                Form::Begins(patterns) => {
                    for pattern in patterns {
                        let pattern = parsed(pattern);
                        let beginnings = pattern.beginnings();
                        let form = add(pattern);
                        for beginning in beginnings {
                            anchor(&beginning, false, Use::Begins(form));
                        }
                    }
                }
                Form::Holds(inside, pattern) => anchor(inside.as_bytes(), false, Use::Holds(add(parsed(pattern)))),
                Form::Named(names, pattern) => {
                    let form = add(parsed(pattern));
                    for name in names {
                        anchor(name.as_bytes(), true, Use::Named(form));
                    }
                }
                Form::Read => {}
            }
        }
        let mut readers = Vec::new();
        for reader in read::readers() {
            for (literal, any_case) in reader.anchors {
                anchor(literal.as_bytes(), *any_case, Use::Read(readers.len()));
            }
            readers.push((reader, rule(reader.id)));
        }
        let (passwords, secrets) = (rule("generic-password-field"), rule("generic-secret-field"));
        if passwords.is_some() || secrets.is_some() {
            for name in NAMES {
                anchor(name.as_bytes(), true, Use::Name);
            }
        }
        for joint in JOINTS {
            anchor(joint.as_bytes(), false, Use::Joint);
        }
        Self { anchors: Anchors::new(literals), uses, forms, readers, passwords, secrets }
    }

    /// Whether the name in `quoted`, which is `"name": "`, says something of what is given to it.
    pub(crate) fn names_something(&self, quoted: &[u8]) -> bool {
        let mut found = false;
        self.anchors.find(quoted, |index, _, _| {
            found |= match self.uses[index] {
                Use::Named(_) | Use::Read(_) => true,
                Use::Name => names::meaning(quoted.split(|&byte| byte == b'"').nth(1).unwrap_or_default()).is_some(),
                _ => false,
            };
        });
        found
    }

    /// Whether the name of a vendor stands in this name.
    fn names_vendor(&self, name: &[u8]) -> bool {
        let mut found = false;
        self.anchors.find(name, |index, _, _| found |= matches!(self.uses[index], Use::Named(_)));
        found
    }

    /// Adds every credential in `text` to `hits`. `rules` says which rule has an id that a reader names.
    pub(crate) fn find(&self, text: &[u8], reach: Reach, rules: &impl Fn(&str) -> Option<usize>, hits: &mut Vec<Hit>) {
        let mut pass = Pass { engine: self, text, reach, tried: Vec::new(), name_end: 0, value: 0..0, joined: 0 };
        self.anchors.find(text, |index, start, end| pass.at(self.uses[index], start, end, rules, hits));
    }
}

/// What became of the tries of one form.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    /// How far they read the text.
    read: usize,
    /// What was spent on reading some of it again.
    spent: usize,
}

/// One pass over a text.
struct Pass<'p> {
    engine: &'p Engine,
    text: &'p [u8],
    reach: Reach,
    /// For forms and readers, what became of tries of them. Made when something is tried.
    tried: Vec<Tried>,
    /// Where the last name of a secret ends.
    name_end: usize,
    /// The last value that was judged.
    value: Range<usize>,
    /// How far joints were looked at.
    joined: usize,
}

impl Pass<'_> {
    fn at(&mut self, what: Use, start: usize, end: usize, rules: &impl Fn(&str) -> Option<usize>, hits: &mut Vec<Hit>) {
        match what {
            Use::Begins(form) => {
                let compiled = &self.engine.forms[form];
                if let Some(length) = self.token(form, start, end) {
                    hits.push(Hit { rule: compiled.rule, place: start..start + length });
                }
            }
            Use::Holds(form) => {
                if let Some(place) = self.holding(form, start) {
                    hits.push(Hit { rule: self.engine.forms[form].rule, place });
                }
            }
            Use::Named(form) if self.reach == Reach::All => {
                if let Some(place) = self.vendor(form, start, end) {
                    hits.push(Hit { rule: self.engine.forms[form].rule, place });
                }
            }
            Use::Read(index) => {
                let (reader, rule) = &self.engine.readers[index];
                let known = reader.known_form || self.reach == Reach::All;
                if !known || !self.may_try(self.engine.forms.len() + index, start) {
                    return;
                }
                let mut reads = Reads { text: self.text, start, end, hits: Vec::new(), until: start };
                (reader.read)(&mut reads);
                let read = reads.until.saturating_sub(end);
                // What is behind a credential was looked at for its sake and may hold the next.
                let until = reads.hits.iter().map(|(_, place)| place.end).max().unwrap_or(reads.until);
                self.spend(self.engine.forms.len() + index, start..until, read);
                for (id, place) in reads.hits {
                    let own = if id == reader.id { *rule } else { rules(id) };
                    hits.extend(own.map(|rule| Hit { rule, place }));
                }
            }
            Use::Name if self.reach == Reach::All => {
                if let Some((rule, place)) = self.named(start, end) {
                    hits.push(Hit { rule, place });
                }
            }
            Use::Joint => self.joint(start, rules, hits),
            Use::Named(_) | Use::Name => {}
        }
    }

    /// Whether a form may be tried here: what is spent on reading again for it grows with the text and not with what it reads.
    fn may_try(&mut self, form: usize, start: usize) -> bool {
        if self.tried.is_empty() {
            self.tried = vec![Tried::default(); self.engine.forms.len() + self.engine.readers.len() + 2];
        }
        self.tried[form].spent <= start + SPARE
    }

    /// A try of this form read `place`, which costs as much as reading so many bytes if it read some of it before.
    fn spend(&mut self, form: usize, place: Range<usize>, bytes: usize) {
        let tried = &mut self.tried[form];
        if place.start < tried.read {
            tried.spent += bytes;
        }
        tried.read = tried.read.max(place.end);
    }

    /// How long the token is that begins here.
    fn token(&mut self, form: usize, start: usize, end: usize) -> Option<usize> {
        let compiled = &self.engine.forms[form];
        let before = &self.text[..start];
        let hyphenated = self.text[start..end].ends_with(b"-");
        let begins = begins_word(before) && !(hyphenated && end - start < 5 && before.ends_with(b"-"));
        if !begins || !self.may_try(form, start) {
            return None;
        }
        let window = &self.text[start..self.text.len().min(start + SHOWN)];
        let length = match compiled.pattern.reads(window) {
            Ok(length) => length,
            Err(read) => {
                self.spend(form, start..start + read, TRY + read / READ);
                return None;
            }
        };
        self.spend(form, start..start + length, JUDGE + length / READ);
        if is_inside_a_run(before) {
            return None;
        }
        let token = &window[..length];
        let real = if compiled.judged {
            // What has the checksum of its vendor was issued, whatever it looks like.
            let issued = checksum::is_right(compiled.id, token) || is_real(&compiled.pattern, token);
            issued && self.is_meant(compiled.id, token, start, end, window)
        } else {
            compiled.keywords.is_empty() || self.is_near(start, &compiled.keywords)
        };
        real.then(|| self.whole(form, start, length))
    }

    /// How long the credential of `length` at `start` is with all that is of it, also where a pattern is not shown it.
    fn whole(&mut self, form: usize, start: usize, length: usize) -> usize {
        let more = self.engine.forms[form].pattern.goes_on(&self.text[start..], length);
        self.spend(form, start + length..start + length + more, more / READ);
        length + more
    }

    /// Whether one of these words, in lower case, stands shortly before.
    fn is_near(&self, start: usize, words: &[impl AsRef<str>]) -> bool {
        const NEAR: usize = 128;
        let near = self.text[start.saturating_sub(NEAR)..start].to_ascii_lowercase();
        words.iter().any(|word| memchr::memmem::find(&near, word.as_ref().as_bytes()).is_some())
    }

    /// What more some kinds ask.
    fn is_meant(&self, id: &str, token: &[u8], start: usize, end: usize, window: &[u8]) -> bool {
        let before = &self.text[..start];
        let near = |words: &[&str]| self.is_near(start, words);
        let rest = &token[(end - start).min(token.len())..];
        match id {
            // The id of the key in a signed URL says who signed.
            "aws-access-key" => {
                let after = &window[token.len()..];
                let signed = [b"Credential=".as_slice(), b"Credential%3D"].iter().any(|name| before.ends_with(name));
                let date = [b"/".as_slice(), b"%2F", b"%2f"].iter().find_map(|mark| after.strip_prefix(*mark));
                let dated = date.and_then(|date| date.get(..8)).is_some_and(|date| date.iter().all(u8::is_ascii_digit));
                !(signed && dated)
            }
            // Hexadecimal digits are what many ids are made of.
            "openai-api-key" | "mailgun-api-key" | "clearbit-key" => {
                !rest.iter().all(u8::is_ascii_hexdigit)
                    || given_to_a_secret(before)
                    || near(&["deepseek", "openai", "mailgun", "clearbit"])
            }
            "launchdarkly-key" => {
                token.starts_with(b"sdk-") || near(&["launchdarkly", "ld_", "ld-"]) || given_to_a_secret(before)
            }
            "voyage-api-key" | "cursor-api-key" => given_to_a_secret(before) || near(&["voyage", "cursor"]),
            _ => true,
        }
    }

    /// Where the token is that holds what stands here.
    fn holding(&mut self, form: usize, inside: usize) -> Option<Range<usize>> {
        let of_token =
            |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'.' | b'~' | b':');
        if !self.may_try(form, inside) {
            return None;
        }
        let more = self.text[inside..].iter().take(INSIDE).take_while(of_token).count();
        self.spend(form, inside..inside + more, more + JUDGE / 2);
        let compiled = &self.engine.forms[form];
        let from = inside.saturating_sub(INSIDE);
        let length = self.text[from..inside].iter().rev().take_while(of_token).count();
        // Marks before it may be no part of it.
        let marks = |start: &usize| {
            *start == inside - length
                || !self.text[start - 1].is_ascii_alphanumeric()
                || begins_word(&self.text[..*start])
        };
        let (start, length) = (inside - length..=inside).filter(marks).take(STARTS).find_map(|start| {
            let window = &self.text[start..self.text.len().min(start + SHOWN)];
            let length = compiled.pattern.matches(window)?;
            (start + length > inside && looks_random(&window[..length])).then_some((start, length))
        })?;
        Some(start..start + self.whole(form, start, length))
    }

    /// The value given to a name that begins with, or has in it, that of a vendor.
    fn vendor(&mut self, form: usize, start: usize, end: usize) -> Option<Range<usize>> {
        const UNLIKE_WORDS: usize = 5;
        let text = self.text;
        let camel = text[start].is_ascii_uppercase() && start > 0 && text[start - 1].is_ascii_lowercase();
        // `prodheroku_key`: a long name is no part of another word.
        let begins = camel || end - start >= UNLIKE_WORDS || begins_word(&text[..start]);
        if !begins || !self.may_try(form, start) {
            return None;
        }
        let compiled = &self.engine.forms[form];
        let mut name = names::around(text, start..end, 0);
        self.spend(form, name.clone(), TRY + name.len());
        if let Some(value) = assignment::given(text, &name, false) {
            self.spend(form, value.place.clone(), value.place.len() / READ);
            let fits = self.fits(compiled, &text[name.clone()], &value);
            if fits.is_some() {
                return fits;
            }
        }
        // `search('app', '…')`, `require('search')(app, '…')`
        let arguments = assignment::arguments(text, name.end);
        self.spend(form, name.end..name.end + arguments.read, arguments.read / READ);
        let of_call =
            |place: Range<usize>| self.fits(compiled, &text[name.clone()], &Value { place, style: Style::Quoted });
        if let Some(place) = arguments.quoted.into_iter().find_map(of_call) {
            return Some(place);
        }
        // `Okta API token: …`, `the Okta token …`
        for (end, is_noun) in prose::words(text, name.end) {
            name.end = end;
            self.spend(form, name.clone(), TRY);
            if let Some(value) = assignment::given(text, &name, is_noun) {
                return self.fits(compiled, &text[name], &value);
            }
        }
        None
    }

    fn fits(&self, compiled: &Compiled, name: &[u8], value: &Value) -> Option<Range<usize>> {
        const OTHER: [&str; 16] = [
            "hash",
            "checksum",
            "digest",
            "sha",
            "sha1",
            "sha256",
            "commit",
            "version",
            "etag",
            "trace",
            "span",
            "revision",
            "rev",
            "fingerprint",
            "public",
            "md5",
        ];
        let mut place = value.place.clone();
        let given = &self.text[place.clone()];
        let length = compiled.pattern.matches(given)?;
        if length != given.len() && !matches!(given[length], b',' | b'.' | b')' | b';' | b'&' | b'}' | b']' | b'%') {
            return None;
        }
        place.end = place.start + length;
        if !compiled.judged {
            return Some(place);
        }
        let secret = &self.text[place.clone()];
        let lower = names::lower(name);
        let words = names::words(name, &lower);
        let is_id = words.last().is_some_and(|word| *word == "id") && !compiled.id.ends_with("-id");
        let other = words.iter().any(|word| OTHER.contains(word));
        // The ids of clients are no secrets alone; they are told where a pattern is of them.
        let random = if secret.len() < 20 {
            secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_alphabetic)
                || compiled.id.ends_with("-id")
        } else {
            true
        };
        (!is_id && !other && random && looks_random(secret) && !value::is_reference(secret, value.style))
            .then_some(place)
    }

    /// The value given to the name of a secret.
    fn named(&mut self, start: usize, end: usize) -> Option<(usize, Range<usize>)> {
        let text = self.text;
        if start < self.name_end || self.value.contains(&start) {
            return None;
        }
        // `keyword`, `tokenize`, `passed`: nearly all of them.
        let mut next = text[end..].iter();
        let after = next.next().copied().unwrap_or(b' ');
        let goes_on = after.is_ascii_lowercase() && text[end - 1].is_ascii_lowercase();
        if goes_on
            && !matches!(&text[start..end].to_ascii_lowercase()[..], b"passw" | b"pass" | b"auth")
            && (after != b's' || next.next().is_some_and(u8::is_ascii_lowercase))
        {
            return None;
        }
        let name = names::around(text, start..end, self.name_end);
        let spaced = text[..name.start].ends_with(b"--") || text[name.clone()].starts_with(b"--");
        let flag = text[name.clone()].iter().position(|&byte| byte != b'-').unwrap_or(0);
        let mut name = name.start + flag..name.end;
        let spaced = spaced || SPACED.iter().any(|known| known.as_bytes() == &text[name.clone()]);
        // `The API key is …`
        if text[name.clone()].eq_ignore_ascii_case(b"key") && text[..name.start].ends_with(b" ") {
            let before = names::around(text, name.start - 1..name.start - 1, self.name_end);
            let kind = text[before.clone()].to_ascii_lowercase();
            if names::is_before_key(&String::from_utf8_lossy(&kind)) {
                name.start = before.start;
            }
        }
        self.name_end = name.end;
        // `"AWS::IAM::AccessKey": …` is a type.
        let behind = text[name.end..].iter().take(4).find(|&&byte| byte != b'\\');
        if text[..name.start].ends_with(b"::") && matches!(behind, Some(b'"' | b'\'')) {
            return None;
        }
        let named = &text[name.clone()];
        let meaning = names::meaning(named);
        let value = match meaning {
            None if !named.eq_ignore_ascii_case(b"key") => return None,
            None | Some(_) => assignment::given(text, &name, spaced),
        };
        let Some(meaning) = meaning else { return self.within(&name, &value?) };
        if let Some(value) = value.as_ref().filter(|value| !text[value.place.clone()].contains(&b' ')) {
            self.value = value.place.clone();
        }
        // `Next page token: …`, `checksum/secret: …`, `arn:aws:secretsmanager:…:secret:…`
        let in_colons = text[..name.start].ends_with(b":")
            && matches!(text.get(name.end..name.end + 2), Some([b':', next]) if next.is_ascii_alphanumeric());
        if in_colons || (names::is_noun(named) && names::is_ordinary_before(&text[..name.start])) {
            return None;
        }
        let first = value.clone();
        let value = value
            .filter(|value| self.is_given(named, value, meaning))
            .or_else(|| self.told(&name, meaning).filter(|value| !text[value.place.clone()].ends_with(named)));
        let Some(value) = value else { return self.within(&name, &first?) };
        if !text[value.place.clone()].contains(&b' ') {
            self.value = value.place.clone();
        }
        let rule = match meaning {
            Meaning::Password => self.engine.passwords,
            Meaning::Secret => self.engine.secrets,
        }?;
        let search = text[name.clone()].eq_ignore_ascii_case(b"apikey") && {
            // The search of documentation has an application, an index and a key that only searches.
            let near = &text[name.start.saturating_sub(256)..text.len().min(name.end + 256)];
            ["appId", "indexName"].iter().any(|word| memchr::memmem::find(near, word.as_bytes()).is_some())
        };
        (!search).then_some((rule, value.place))
    }

    /// Whether a value given to this name is a credential.
    fn is_given(&self, named: &[u8], value: &Value, meaning: Meaning) -> bool {
        let given = &self.text[value.place.clone()];
        // `PrivateKey = module.PrivateKey`, `("authKey", "authKey")`
        if given == named || (value.style != Style::Quoted && given.ends_with(named)) {
            return false;
        }
        match meaning {
            Meaning::Password => value::is_password(given, value.style),
            Meaning::Secret => value::is_secret(given, value.style) || value::is_short_secret(given, value.style),
        }
    }

    /// What a sentence gives to the noun at `name`.
    fn told(&mut self, name: &Range<usize>, meaning: Meaning) -> Option<Value> {
        /// So far a sentence is read.
        const SENTENCE: usize = 128;
        let text = self.text;
        let begins = text[..name.start].last().is_none_or(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'(' | b'*'));
        let sentences = self.engine.forms.len() + self.engine.readers.len();
        let noun = text[name.clone()].rsplit(|&byte| byte == b' ').next().unwrap_or_default();
        if !begins || !names::is_noun(noun) || !self.may_try(sentences, name.start) {
            return None;
        }
        self.spend(sentences, name.start..name.end + SENTENCE, 2 * TRY);
        let value = prose::told(text, name)?;
        prose::is_credential(&text[value.place.clone()], meaning).then_some(value)
    }

    /// The same for a name that says whose it is with what it stands in: `"Jwt": {"Key": "…"}`.
    fn within(&mut self, name: &Range<usize>, value: &Value) -> Option<(usize, Range<usize>)> {
        let text = self.text;
        let given = &text[value.place.clone()];
        let within = self.engine.forms.len() + self.engine.readers.len() + 1;
        let may_be_one = (12..=256).contains(&given.len())
            && value.style != Style::Bare
            && given.iter().any(u8::is_ascii_digit)
            && given.iter().all(u8::is_ascii_graphic);
        if !may_be_one || !self.may_try(within, name.start) {
            return None;
        }
        let around = name.start.saturating_sub(enclosing::NEAR)..value.place.end;
        self.spend(within, around.clone(), TRY + READ);
        let outer = enclosing(text, name.start)?;
        let whole = [outer, b".", &text[name.clone()]].concat();
        let says_more = self.engine.names_vendor(outer)
            || (names::meaning(&text[name.clone()]).is_none() && names::meaning(&whole).is_some());
        if !says_more {
            return None;
        }
        let quote: &[u8] = if value.style == Style::Quoted { b"\"" } else { b"" };
        let start = whole.len() + 1 + quote.len();
        let whole = [&whole, b"=".as_slice(), quote, given, quote, b"\n"].concat();
        let mut hits = Vec::new();
        self.engine.find(&whole, Reach::All, &|_| None, &mut hits);
        let inside = |hit: &Hit| hit.place.start >= start && hit.place.end <= start + given.len();
        let Some(hit) = hits.into_iter().rfind(inside) else {
            self.spend(within, around, JUDGE);
            return None;
        };
        let at = |place: usize| value.place.start + place - start;
        Some((hit.rule, at(hit.place.start)..at(hit.place.end)))
    }

    /// A text of a program that is put together here: what it is as a whole.
    fn joint(&mut self, at: usize, rules: &impl Fn(&str) -> Option<usize>, hits: &mut Vec<Hit>) {
        const AROUND: usize = 256;
        if at < self.joined || self.reach == Reach::KnownForms {
            return;
        }
        let (from, until) = (at.saturating_sub(AROUND), self.text.len().min(at + AROUND));
        self.joined = at + AROUND / 2;
        let (mut whole, mut places) = (Vec::with_capacity(until - from), Vec::with_capacity(until - from));
        let mut at = from;
        while at < until {
            if let Some(joint) = JOINTS.iter().find(|joint| self.text[at..].starts_with(joint.as_bytes())) {
                at += joint.len();
                continue;
            }
            whole.push(self.text[at]);
            places.push(at);
            at += 1;
        }
        let mut found = Vec::new();
        self.engine.find(&whole, Reach::KnownForms, rules, &mut found);
        let across = |place: &Range<usize>| places[place.end - 1] - places[place.start] + 1 > place.len();
        hits.extend(
            found
                .into_iter()
                .filter(|hit| across(&hit.place))
                .map(|hit| Hit { rule: hit.rule, place: places[hit.place.start]..places[hit.place.end - 1] + 1 }),
        );
    }
}

/// Whether a token is one even without the words, repetitions and counting in it, and none that is documented.
fn is_real(pattern: &Pattern, token: &[u8]) -> bool {
    let (mut chosen, least) = (pattern.chosen(token), pattern.least());
    chosen.truncate(JUDGED.max(least));
    let is_random = |chosen: &[u8]| random_part(chosen).len() >= least;
    // What is written on to a real one excuses nothing.
    !is_documented(token)
        && (is_random(&chosen) || is_random(&chosen[..least]))
        && !is_words(&chosen)
        && distinct(&chosen) * 3 >= chosen.len().min(24)
}

/// Whether this was written and not chosen by a generator, which makes a word by chance but not several.
fn is_words(chosen: &[u8]) -> bool {
    let mixed = chosen.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let words = of_words(chosen);
    if mixed { words * 4 > chosen.len() * 3 } else { words * 3 > chosen.len() }
}

/// The same for a text without a beginning of its own.
fn looks_random(token: &[u8]) -> bool {
    let token = &token[..token.len().min(JUDGED)];
    let random = random_part(token).len();
    random * 4 >= token.len() * 3
        && of_words(token) * 2 <= token.len()
        && distinct(token) * 4 >= token.len().min(24)
        && !is_documented(token)
}

/// Whether what ends here is random text that goes on: an image, a signature. In that, everything short occurs.
fn is_inside_a_run(before: &[u8]) -> bool {
    const RUN: usize = 64;
    /// What is said before a digest.
    const DIGESTS: [&[u8]; 8] =
        [b"sha256=", b"sha512=", b"sha384=", b"sha256-", b"sha512-", b"sha384-", b"sha1-", b"h1:"];
    /// As many characters at least are different in so much of what is random.
    const DIFFERENT: usize = 20;
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-');
    if !before.last().is_some_and(|byte| matches!(byte, b'+' | b'/' | b'_' | b'-')) {
        return false;
    }
    let run = before.iter().rev().take(RUN).take_while(|byte| part(byte)).count();
    let named = &before[before.len().saturating_sub(run + 8)..];
    if DIGESTS.iter().any(|name| memchr::memmem::find(named, name).is_some_and(|at| at + name.len() < named.len())) {
        return true;
    }
    run == RUN && distinct(&before[before.len() - RUN..]) >= DIFFERENT
}
