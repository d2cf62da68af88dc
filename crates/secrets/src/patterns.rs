//! The credentials the scan knows, by how they look.
//!
//! Each pattern has *anchors*, literals of which one begins (or stands inside) every such credential, and an expression
//! that is tried at the anchor and nowhere else. All anchors are looked for together in one pass over the text, so the cost
//! of a text without anchors does not depend on the number of patterns. An expression sees a bounded stretch of the text,
//! so every text is scanned in linear time.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::anchors::{Anchor, Anchors};
use crate::examples::{is_documented, is_publishable};
use crate::fields::{given_to_a_secret, names_something_public};
use crate::jwt::is_harmless_token;
use crate::measure::{class_changes, normalised_entropy};
use crate::options::ExtraRule;
use crate::pem;
use crate::urls::{self, is_template};
use crate::words::{is_written_password, random_part};

/// What an expression gets to see from its anchor on. Long enough for all but private keys and JSON Web Tokens.
const WINDOW: usize = 512;
const JWT_WINDOW: usize = 16 * 1024;

/// A kind of credential.
struct Pattern {
    id: &'static str,
    anchors: &'static [&'static str],
    /// Matched from the beginning of the anchor on. `<SEP>` stands between a name and its value, `<QUOTED>` between a
    /// name and a value in quotation marks, `<END>` where no letter or digit follows.
    expression: &'static str,
    /// What may stand before the anchor.
    before: Before,
    check: Check,
}

/// What more must hold than that the expression matches.
#[derive(Debug, Clone, Copy)]
enum Check {
    Nothing,
    /// That a private key follows. Cheap, for anchors that may come in great numbers.
    PrivateKey,
    /// Of group 1 of the expression: the value of a field.
    Value(fn(&[u8]) -> bool),
    /// That it is a key even without the words, repetitions and counting in it, and none that is documented.
    Key,
    /// The same, and that it is not made of words.
    KeyNotWords,
    /// The same as `Key`, and that it does not stand in a signed URL, where it only says who signed.
    KeyId,
    /// The same as `Key`; and one of 32 hexadecimal digits, which many ids are, must be given to a name of a secret, or one
    /// of these words must stand near it.
    KeyOrId(&'static [&'static str]),
    /// Of groups 1 and 2 of the expression, the user and the password with the host: that it is a real password.
    Password,
}

#[derive(Debug, Clone, Copy)]
enum Before {
    /// Anything: the anchor is part of a longer name.
    Any,
    /// No letter or digit, unless it is the end of an escape: the end of `task-` is not `sk-`.
    NoWord,
    /// No hyphen either. For expressions that run on as long as hyphens and letters come, so that each such run is read
    /// once.
    NoToken,
}

/// `=`, `:`, `:=` or `=>`, with quotation marks (in a string of JSON also escaped ones) and spaces around it.
const SEP: &str = r#"\\?["'`]?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}\\?["'`]?"#;
/// The same before a value that stands in quotation marks.
const QUOTED: &str = r#"\\?["'`]?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}\\?["'`]"#;
const END: &str = r"(?:[^A-Za-z0-9]|\z)";

/// In the order in which they are tried where they share an anchor.
const PATTERNS: &[Pattern] = &[
    Pattern {
        id: "aws-access-key",
        anchors: &["AKIA", "ASIA"],
        expression: r"(?:AKIA|ASIA)[A-Z0-9]{16}<END>",
        before: Before::NoWord,
        check: Check::KeyId,
    },
    Pattern {
        id: "aws-secret-key",
        anchors: SECRET,
        expression: r"(?i:secret[_-]?(?:access[_-]?)?key)<SEP>([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)",
        before: Before::Any,
        check: Check::Value(|value| {
            !value.iter().all(u8::is_ascii_hexdigit) && random_looking(value) && random_part(value).len() == value.len()
        }),
    },
    Pattern {
        id: "github-token-fine-grained",
        anchors: &["github_pat_"],
        expression: r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}<END>",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "github-token-classic",
        anchors: &["ghp_"],
        expression: r"ghp_[A-Za-z0-9]{36}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "github-oauth",
        anchors: &["gho_"],
        expression: r"gho_[A-Za-z0-9]{36}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "github-app-user-to-server",
        anchors: &["ghu_"],
        expression: r"ghu_[A-Za-z0-9]{36}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "github-app-server-to-server",
        anchors: &["ghs_"],
        expression: r"ghs_[A-Za-z0-9]{36}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "github-refresh",
        anchors: &["ghr_"],
        expression: r"ghr_[A-Za-z0-9]{36}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "gitlab-token",
        anchors: &["glpat-"],
        expression: r"glpat-[A-Za-z0-9_-]{20}",
        before: Before::NoWord,
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "slack-bot-token",
        anchors: &["xoxb-"],
        expression: r"xoxb-[A-Za-z0-9-]{20}",
        before: Before::NoWord,
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "slack-user-token",
        anchors: &["xoxp-"],
        expression: r"xoxp-[A-Za-z0-9-]{20}",
        before: Before::NoWord,
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "slack-webhook",
        anchors: &["hooks.slack.com/"],
        expression: r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{6,}/[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
        before: Before::Any,
        check: Check::Key,
    },
    Pattern {
        id: "stripe-secret-key",
        anchors: &["sk_live_"],
        expression: r"sk_live_[A-Za-z0-9]{16}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "stripe-restricted-key",
        anchors: &["rk_live_"],
        expression: r"rk_live_[A-Za-z0-9]{16}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "stripe-test-key",
        anchors: &["sk_test_", "rk_test_"],
        expression: r"[sr]k_test_[A-Za-z0-9]{16}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "google-api-key",
        anchors: &["AIza"],
        expression: r"AIza[A-Za-z0-9_-]{35}<END>",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "anthropic-api-key",
        anchors: &["sk-"],
        expression: r"sk-ant-(?:[a-z]{2,10}[0-9]{2}-)?[A-Za-z0-9_-]{20}",
        before: Before::NoWord,
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "openai-api-key",
        anchors: &["sk-"],
        expression: r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20}|[A-Za-z0-9]{32,64}<END>)",
        before: Before::NoWord,
        check: Check::KeyOrId(&["deepseek", "openai"]),
    },
    Pattern {
        id: "twilio-auth-token",
        anchors: &["twilio", "Twilio", "TWILIO"],
        expression: r"(?i:twilio[_ -]?(?:account[_ -]?)?(?:auth[_ -]?)?(?:token|secret|key))<SEP>([0-9a-fA-F]{32})<END>",
        before: Before::Any,
        check: Check::Value(|value| random_part(value).len() >= 24),
    },
    Pattern {
        id: "sendgrid-api-key",
        anchors: &["SG."],
        expression: r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}<END>",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "mailgun-api-key",
        anchors: &["key-"],
        expression: r"key-[0-9a-z]{32}<END>",
        before: Before::NoToken,
        check: Check::KeyOrId(&["mailgun"]),
    },
    Pattern {
        id: "heroku-api-key",
        anchors: &["heroku", "Heroku", "HEROKU"],
        expression: r"(?i:heroku[_ -]?(?:api[_ -]?)?(?:key|token|secret))<SEP>([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})<END>",
        before: Before::Any,
        check: Check::Value(|value| random_part(value).len() >= 28),
    },
    Pattern {
        id: "heroku-api-key",
        anchors: &["HRKU-"],
        expression: r"HRKU-[A-Za-z0-9_-]{32}",
        before: Before::NoWord,
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "pem-private-key-rsa",
        anchors: &["-----BEGIN"],
        expression: r"-----BEGIN RSA PRIVATE KEY-----",
        before: Before::Any,
        check: Check::PrivateKey,
    },
    Pattern {
        id: "pem-private-key-ec",
        anchors: &["-----BEGIN"],
        expression: r"-----BEGIN EC PRIVATE KEY-----",
        before: Before::Any,
        check: Check::PrivateKey,
    },
    Pattern {
        id: "pem-private-key",
        anchors: &["-----BEGIN"],
        expression: r"-----BEGIN (?:[A-Z0-9]{2,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        before: Before::Any,
        check: Check::PrivateKey,
    },
    Pattern {
        id: "bearer-token-jwt",
        anchors: &["Bearer ey", "bearer ey", "BEARER ey"],
        expression: r"(?i:bearer) (eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})",
        before: Before::Any,
        check: Check::Value(|token| !is_harmless_token(token)),
    },
    Pattern {
        id: "jwt-raw",
        anchors: &["eyJ"],
        expression: r"(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})",
        before: Before::NoToken,
        check: Check::Value(|token| !is_harmless_token(token)),
    },
    Pattern {
        id: "postgres-url-with-password",
        anchors: &["postgres", "Postgres", "POSTGRES"],
        expression: r"(?i:postgres(?:ql)?(?:\+[a-z0-9_]{1,16})?)://([^\s:@/]{0,128}):([^\s@]{1,256}@[^\s]{0,80})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "mysql-url-with-password",
        anchors: &["mysql", "Mysql", "MYSQL", "mariadb", "Mariadb", "MARIADB"],
        expression: r"(?i:(?:mysql|mariadb)(?:\+[a-z0-9_]{1,16})?)://([^\s:@/]{0,128}):([^\s@]{1,256}@[^\s]{0,80})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "mongodb-srv-url",
        anchors: &["mongodb", "Mongodb", "MONGODB"],
        expression: r"(?i:mongodb(?:\+srv)?)://([^\s:@/]{0,128}):([^\s@]{1,256}@[^\s]{0,80})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "redis-url-with-auth",
        anchors: &["redis", "Redis", "REDIS"],
        expression: r"(?i:rediss?)://([^\s:@/]{0,128}):([^\s@]{1,256}@[^\s]{0,80})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "systemprompt-api-key",
        anchors: &["sp-live-"],
        expression: r"sp-live-[0-9a-f]{12}\.[0-9a-f]{52}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "generic-password-field",
        anchors: &["passw", "Passw", "PASSW", "pwd", "PWD"],
        expression: r#"(?i:passw(?:or)?d|pwd)<QUOTED>([^\s"'`\\]{8,128})\\?["'`]"#,
        before: Before::Any,
        check: Check::Value(password_looking),
    },
    Pattern {
        id: "generic-password-field",
        anchors: &["PASSW", "PWD"],
        expression: r"(?:PASSW(?:OR)?D|PWD)=([A-Za-z0-9!@#%^&*+_~-]{8,128})(?:[\s;,]|\z)",
        before: Before::Any,
        check: Check::Value(password_looking),
    },
    Pattern {
        id: "generic-secret-field",
        anchors: SECRET,
        expression: r#"(?i:secret(?:[_-]?(?:access[_-]?)?(?:key|token|value))?)<QUOTED>([A-Za-z0-9+/_.=~-]{16,256})\\?["'`]"#,
        before: Before::Any,
        check: Check::Value(secret_looking),
    },
    Pattern {
        id: "generic-secret-field",
        anchors: &[
            "api_key",
            "apikey",
            "apiKey",
            "ApiKey",
            "API_KEY",
            "api-key",
            "access_token",
            "accessToken",
            "ACCESS_TOKEN",
            "auth_token",
            "authToken",
            "AUTH_TOKEN",
            "private_key",
            "privateKey",
            "PRIVATE_KEY",
        ],
        expression: r#"[A-Za-z]{3,7}[_-]?[A-Za-z]{3,5}<QUOTED>([A-Za-z0-9+/_.=~-]{16,256})\\?["'`]"#,
        before: Before::Any,
        check: Check::Value(secret_looking),
    },
    Pattern {
        id: "generic-secret-field",
        anchors: &["SECRET", "API_KEY", "ACCESS_TOKEN", "AUTH_TOKEN", "PRIVATE_KEY"],
        expression: r"[A-Z]+(?:_[A-Z]+){0,3}=([A-Za-z0-9+/_.~-]{16,256})={0,2}(?:[\s;,]|\z)",
        before: Before::Any,
        check: Check::Value(secret_looking),
    },
];

/// The word in its three spellings.
const SECRET: &[&str] = &["secret", "Secret", "SECRET"];

/// The ids of all built-in patterns, without repetition.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> + use<> {
    PATTERNS
        .iter()
        .enumerate()
        .filter(|(index, pattern)| PATTERNS[..*index].iter().all(|earlier| earlier.id != pattern.id))
        .map(|(_, pattern)| pattern.id)
}

/// Patterns ready for use.
#[derive(Debug)]
pub(crate) struct PatternSet {
    anchors: Anchors,
    /// For each anchor, the candidates to try there.
    candidates: Vec<Vec<usize>>,
    compiled: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    /// The place of its rule in the list.
    rule: usize,
    expression: Regex,
    before: Before,
    /// Says less than the others.
    generic: bool,
    window: usize,
    check: Check,
}

/// A credential in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The place of its rule in the list.
    pub(crate) rule: usize,
    /// Says less than others, which are told instead where both are found.
    pub(crate) generic: bool,
    /// The credential.
    pub(crate) place: Range<usize>,
}

impl PatternSet {
    /// The rules of the operator and the built-in ones, as far as `rule` says which place in the list theirs is.
    pub(crate) fn new(extra: &[ExtraRule], rule: impl Fn(&str) -> Option<usize>) -> Self {
        let mut anchors: Vec<String> = Vec::new();
        let mut candidates: Vec<Vec<usize>> = Vec::new();
        let mut compiled = Vec::new();
        let mut add = |pattern: Compiled, literals: &mut dyn Iterator<Item = &str>| {
            for literal in literals {
                let slot = anchors.iter().position(|known| known == literal).unwrap_or_else(|| {
                    anchors.push(literal.to_owned());
                    candidates.push(Vec::new());
                    anchors.len() - 1
                });
                candidates[slot].push(compiled.len());
            }
            compiled.push(pattern);
        };
        for extra in extra {
            let Some(rule) = rule(&extra.id) else { continue };
            let expression = format!(r"{}[A-Za-z0-9_./+=-]{{8}}", regex::escape(&extra.prefix));
            let compiled = Compiled {
                rule,
                expression: compile(&expression),
                before: Before::NoWord,
                generic: false,
                window: WINDOW,
                check: Check::Nothing,
            };
            add(compiled, &mut std::iter::once(extra.prefix.as_str()));
        }
        for pattern in PATTERNS {
            let Some(rule) = rule(pattern.id) else { continue };
            let expression = pattern.expression.replace("<SEP>", SEP).replace("<QUOTED>", QUOTED).replace("<END>", END);
            let compiled = Compiled {
                rule,
                expression: compile(&expression),
                before: pattern.before,
                generic: pattern.id.starts_with("generic-"),
                window: match pattern.id {
                    id if id.contains("jwt") => JWT_WINDOW,
                    id if id.starts_with("pem-") => pem::REACH,
                    _ => WINDOW,
                },
                check: pattern.check,
            };
            add(compiled, &mut pattern.anchors.iter().copied());
        }

        // Of two anchors that begin at one place the longer is reported, so it also tries what the shorter would have tried.
        for longer in 0..anchors.len() {
            for shorter in 0..anchors.len() {
                if longer != shorter && anchors[longer].starts_with(&anchors[shorter]) {
                    let inherited = candidates[shorter].clone();
                    candidates[longer].extend(inherited);
                }
            }
        }
        Self { anchors: Anchors::new(&anchors), candidates, compiled }
    }

    /// Every credential in `text`, at most one for each anchor.
    pub(crate) fn find(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut from = 0;
        while let Some(Anchor { index, start, end }) = self.anchors.find(text, from) {
            let mut found: Option<Hit> = None;
            for &candidate in &self.candidates[index] {
                let pattern = &self.compiled[candidate];
                if found.as_ref().is_some_and(|found| found.generic <= pattern.generic)
                    || !pattern.before.allows(&text[..start])
                {
                    continue;
                }
                let place = Place {
                    before: &text[..start],
                    anchor: end - start,
                    window: &text[start..text.len().min(start + pattern.window)],
                };
                if let Some(place) = pattern.matches(&place).filter(|_| !(pattern.generic && place.is_public())) {
                    let place = start + place.start..start + place.end;
                    found = Some(Hit { rule: pattern.rule, generic: pattern.generic, place });
                }
            }
            from = start + 1;
            hits.extend(found);
        }
    }
}

impl Before {
    fn allows(self, before: &[u8]) -> bool {
        let Some(&byte) = before.last() else { return true };
        let letter = byte.is_ascii_alphanumeric() && !ends_an_escape(before);
        match self {
            Self::Any => true,
            Self::NoWord => !letter,
            Self::NoToken => !letter && byte != b'_' && byte != b'-',
        }
    }
}

/// Whether `before` ends in `\n` as strings of programs and of JSON have it, or in `%3D` as URLs have it.
fn ends_an_escape(before: &[u8]) -> bool {
    match before {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}

/// Where an anchor stands.
struct Place<'t> {
    before: &'t [u8],
    /// The length of the anchor.
    anchor: usize,
    /// From the anchor on.
    window: &'t [u8],
}

impl Place<'_> {
    /// Whether everybody may see what stands here: `NEXT_PUBLIC_MAPS_` before `API_KEY`, `appId` beside `apiKey`.
    fn is_public(&self) -> bool {
        const NEAR: usize = 256;
        // The search of documentation has an application, an index and a key that only searches.
        let search = self.window.get(..6).is_some_and(|name| name.eq_ignore_ascii_case(b"apikey"))
            && ["appId", "indexName"].iter().any(|name| {
                let after = &self.window[..self.window.len().min(NEAR)];
                let before = &self.before[self.before.len().saturating_sub(NEAR)..];
                [before, after].iter().any(|text| memchr::memmem::find(text, name.as_bytes()).is_some())
            });
        search || names_something_public(self.before)
    }

    /// Whether one of these words stands shortly before it.
    fn is_near(&self, words: &[&str]) -> bool {
        const NEAR: usize = 128;
        let near = self.before[self.before.len().saturating_sub(NEAR)..].to_ascii_lowercase();
        words.iter().any(|word| memchr::memmem::find(&near, word.as_bytes()).is_some())
    }

    /// Whether it is the id of the key in a signed URL or header: `X-Amz-Credential=AKIA…/20250101/…`.
    fn is_a_signer(&self, key: &[u8]) -> bool {
        let named = [b"Credential=".as_slice(), b"Credential%3D"].iter().any(|name| self.before.ends_with(name));
        let after = &self.window[key.len()..];
        let date =
            after.strip_prefix(b"/").or_else(|| after.strip_prefix(b"%2F")).or_else(|| after.strip_prefix(b"%2f"));
        named && date.and_then(|date| date.get(..8)).is_some_and(|date| date.iter().all(u8::is_ascii_digit))
    }
}

impl Compiled {
    /// The first two groups. A group that is not there is empty.
    fn groups(&self, window: &[u8]) -> Option<[Range<usize>; 2]> {
        let groups = self.expression.captures(window)?;
        Some([1, 2].map(|group| groups.get(group).map_or(0..0, |group| group.range())))
    }

    /// The key as the expression has it, and with what is written on to it, as far as that may be a part of it.
    fn keys<'t>(&self, window: &'t [u8]) -> [&'t [u8]; 2] {
        const MORE: usize = 128;
        let matched = self.expression.find(window).map_or(0, |found| found.end());
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match window[..matched].last() {
            Some(last) if part(last) => {
                let more = window[matched..].iter().take(MORE).take_while(|byte| part(byte)).count();
                [&window[..matched], &window[..matched + more]]
            }
            _ => [&window[..matched.saturating_sub(1)]; 2],
        }
    }

    /// Where the key is, if it still is one without what somebody wrote into or on to it; and what it is then.
    fn real_key(&self, place: &Place<'_>) -> Option<(Range<usize>, Vec<u8>)> {
        let [shortest, whole] = self.keys(place.window);
        let real = |key: &[u8]| {
            let (anchor, rest) = key.split_at(place.anchor.min(key.len()));
            let real = [anchor, &random_part(rest)].concat();
            self.expression.is_match(&real).then_some((0..key.len(), real))
        };
        if is_documented(whole) {
            return None;
        }
        real(whole).or_else(|| real(shortest).filter(|_| shortest.len() < whole.len()))
    }

    /// Where in the window the credential is, if there is one.
    fn matches(&self, place: &Place<'_>) -> Option<Range<usize>> {
        let window = place.window;
        let matched = self.expression.find(window)?.range();
        match self.check {
            Check::Nothing => {
                let part =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'=');
                let more = window[matched.end..].iter().take_while(|byte| part(byte)).count();
                Some(0..matched.end + more)
            }
            Check::PrivateKey => pem::private_key(window).map(|end| 0..end),
            Check::Value(check) => {
                let [value, _] = self.groups(window)?;
                check(&window[value.clone()]).then_some(value)
            }
            Check::Key => Some(self.real_key(place)?.0),
            Check::KeyNotWords => {
                let (key, real) = self.real_key(place).filter(|_| key_not_words(window))?;
                key_not_words(&real).then_some(key)
            }
            Check::KeyId => {
                let (key, _) = self.real_key(place)?;
                (!place.is_a_signer(self.keys(window)[0])).then_some(key)
            }
            Check::KeyOrId(words) => {
                let (place_of_key, key) = self.real_key(place).filter(|_| key_not_words(window))?;
                let id = key.len() - place.anchor.min(key.len()) == 32
                    && key[place.anchor..].iter().all(u8::is_ascii_hexdigit);
                let told = !id || given_to_a_secret(place.before) || place.is_near(words);
                (key_not_words(&key) && told).then_some(place_of_key)
            }
            Check::Password => {
                let [user, rest] = self.groups(window)?;
                let length = urls::real_password(&window[user], &window[rest.clone()])?;
                Some(rest.start..rest.start + length)
            }
        }
    }
}

fn compile(expression: &str) -> Regex {
    RegexBuilder::new(&format!(r"\A(?:{expression})"))
        .unicode(false)
        .size_limit(1 << 22)
        .build()
        .expect("the table's expressions are constants, and a prefix is escaped")
}

/// Of `prefix-` or `prefix-kind-` and 20 characters: `sk-ant-put-your-own-key-here` is words, a key has digits or capitals.
fn key_not_words(window: &[u8]) -> bool {
    let mut parts = window.splitn(4, |&byte| byte == b'-');
    let prefix = parts.next().map_or(0, <[u8]>::len) + 1;
    // Kinds such as `proj`, `ant` and, after that, `api03` are no part of the key.
    let is_kind = |part: &[u8]| {
        matches!(part, b"ant" | b"proj" | b"svcacct" | b"admin" | b"None")
            || (part.len() <= 12
                && part.iter().rev().take(2).all(u8::is_ascii_digit)
                && part.iter().any(u8::is_ascii_lowercase))
    };
    let kinds = parts.take(2).take_while(|part| is_kind(part)).map(|part| part.len() + 1).sum::<usize>();
    let key = &window[window.len().min(prefix + kinds)..];
    key.iter().take(20).any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// Beginnings of what is kept instead of a password.
const HASHES: [&str; 14] = [
    "$argon2", "argon2", "$2a$", "$2b$", "$2y$", "$1$", "$5$", "$6$", "$y$", "$pbkdf2", "pbkdf2", "scrypt", "$scrypt",
    "{SSHA",
];

/// What a person or a generator would choose as a password and nobody would write as an example: twelve characters of
/// three classes, or eight of all four.
fn password_looking(value: &[u8]) -> bool {
    let classes = [
        value.iter().any(u8::is_ascii_lowercase),
        value.iter().any(u8::is_ascii_uppercase),
        value.iter().any(u8::is_ascii_digit),
        value.iter().any(u8::is_ascii_punctuation),
    ];
    let classes = classes.into_iter().filter(|&present| present).count();
    // A call or a type is code: `hash(…)`, `Option<String>`, `settings.password1`.
    let code = value.iter().any(|byte| matches!(byte, b'(' | b')' | b'<' | b'>' | b'{' | b'}'));
    let has_digit = value.iter().any(u8::is_ascii_digit);
    has_digit
        && !code
        && !is_hash(value)
        && !is_template(value)
        && !is_written_password(value)
        && ((value.len() >= 12 && classes >= 3) || classes == 4)
}

fn is_hash(value: &[u8]) -> bool {
    HASHES.iter().any(|beginning| value.starts_with(beginning.as_bytes()))
}

/// A random value that is no path, unless a part of it is a key.
fn secret_looking(value: &[u8]) -> bool {
    let segments = || value.split(|&byte| byte == b'/');
    if segments().count() > 2 { segments().any(random_looking) } else { random_looking(value) }
}

/// Letters and digits that alternate as they do in generated keys and do not in words.
fn random_looking(value: &[u8]) -> bool {
    const SHORTEST: usize = 16;
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    value.len() >= SHORTEST
        && digits >= 2
        && letters >= 4
        && class_changes(value) * 100 >= value.len() * 20
        && normalised_entropy(value) >= 0.6
        && !is_hash(value)
        && !is_publishable(value)
        && !is_documented(value)
        && random_part(value).len() >= SHORTEST.max(value.len() / 2)
}
