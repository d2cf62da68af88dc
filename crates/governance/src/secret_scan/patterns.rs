//! The credentials the scan knows, by how they look.
//!
//! Each pattern has *anchors*, literals of which one begins (or stands inside) every such credential, and an expression
//! that is tried at the anchor and nowhere else. All anchors are looked for together in one pass over the text, so the cost
//! of a text without anchors does not depend on the number of patterns. An expression sees a bounded stretch of the text,
//! so every text is scanned in linear time.

use regex::bytes::{Regex, RegexBuilder};

use super::anchors::{Anchor, Anchors};
use super::examples::{is_documented, is_publishable};
use super::fields::{given_to_a_secret, names_something_public};
use super::jwt::is_harmless_token;
use super::measure::{class_changes, normalised_entropy};
use super::pem::{self, has_key_body};
use super::urls::{is_real_password, is_template};
use super::words::{is_written_password, random_part};
use crate::config::ExtraPattern;

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
    /// Of the text from the anchor on. Cheap, for anchors that may come in great numbers.
    Window(fn(&[u8]) -> bool),
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
        check: Check::Window(has_key_body),
    },
    Pattern {
        id: "pem-private-key-ec",
        anchors: &["-----BEGIN"],
        expression: r"-----BEGIN EC PRIVATE KEY-----",
        before: Before::Any,
        check: Check::Window(has_key_body),
    },
    Pattern {
        id: "pem-private-key",
        anchors: &["-----BEGIN"],
        expression: r"-----BEGIN (?:[A-Z0-9]{2,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        before: Before::Any,
        check: Check::Window(has_key_body),
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

/// The ids of all built-in patterns, without repetition. Beside them there is only `high-entropy-token`.
pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    PATTERNS
        .iter()
        .enumerate()
        .filter(|(index, pattern)| PATTERNS[..*index].iter().all(|earlier| earlier.id != pattern.id))
        .map(|(_, pattern)| pattern.id)
}

/// Patterns ready for use.
#[derive(Debug)]
pub(super) struct PatternSet {
    anchors: Anchors,
    /// For each anchor, the candidates to try there.
    candidates: Vec<Vec<usize>>,
    compiled: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    id: String,
    expression: Regex,
    before: Before,
    /// Says less than the others, which are reported instead where both are found.
    generic: bool,
    /// Whether it refuses; otherwise it warns.
    refuses: bool,
    window: usize,
    check: Check,
}

impl PatternSet {
    /// The built-in patterns and those of the operator, which come first. Those of `warn_only` do not refuse.
    pub(super) fn new(extra: &[ExtraPattern], warn_only: &[String]) -> Self {
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
        for pattern in extra {
            let expression = format!(r"{}[A-Za-z0-9_./+=-]{{8}}", regex::escape(&pattern.prefix));
            let compiled = Compiled {
                id: pattern.name.clone(),
                expression: compile(&expression),
                before: Before::NoWord,
                generic: false,
                refuses: !warn_only.contains(&pattern.name),
                window: WINDOW,
                check: Check::Nothing,
            };
            add(compiled, &mut std::iter::once(pattern.prefix.as_str()));
        }
        for pattern in PATTERNS {
            let expression = pattern.expression.replace("<SEP>", SEP).replace("<QUOTED>", QUOTED).replace("<END>", END);
            let compiled = Compiled {
                id: pattern.id.to_owned(),
                expression: compile(&expression),
                before: pattern.before,
                generic: pattern.id.starts_with("generic-"),
                refuses: warn_only.iter().all(|id| id != pattern.id),
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

    /// The gravest credential in `text`, and whether it refuses: the first that does, before one that only warns; one that is
    /// only known by the name of its field, if there is no other.
    pub(super) fn find(&self, text: &[u8]) -> Option<(&str, bool)> {
        let mut found: Option<&Compiled> = None;
        let mut from = 0;
        while let Some(Anchor { index, start, end }) = self.anchors.find(text, from) {
            for &candidate in &self.candidates[index] {
                let pattern = &self.compiled[candidate];
                if found.is_some_and(|found| found.rank() <= pattern.rank()) || !pattern.before.allows(&text[..start]) {
                    continue;
                }
                let place = Place {
                    before: &text[..start],
                    anchor: end - start,
                    window: &text[start..text.len().min(start + pattern.window)],
                };
                if !pattern.matches(&place) || (pattern.generic && place.is_public()) {
                    continue;
                }
                if pattern.rank() == 0 {
                    return Some((&pattern.id, pattern.refuses));
                }
                found = Some(pattern);
            }
            from = start + 1;
        }
        found.map(|pattern| (pattern.id.as_str(), pattern.refuses))
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
    /// Which of two is told, the lower one.
    fn rank(&self) -> u8 {
        u8::from(!self.refuses) * 2 + u8::from(self.generic)
    }

    /// The first two groups. A group that is not there is empty.
    fn groups<'t>(&self, window: &'t [u8]) -> Option<[&'t [u8]; 2]> {
        let groups = self.expression.captures(window)?;
        Some([1, 2].map(|group| groups.get(group).map_or(b"".as_slice(), |group| group.as_bytes())))
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

    /// The key without what somebody wrote into or on to it, if it still is one.
    fn real_key(&self, place: &Place<'_>) -> Option<Vec<u8>> {
        let keys = self.keys(place.window);
        let real = |key: &[u8]| {
            let (anchor, rest) = key.split_at(place.anchor.min(key.len()));
            let real = [anchor, &random_part(rest)].concat();
            self.expression.is_match(&real).then_some(real)
        };
        if is_documented(keys[1]) {
            return None;
        }
        let [shortest, whole] = keys;
        real(whole).or_else(|| real(shortest).filter(|_| shortest.len() < whole.len()))
    }

    fn matches(&self, place: &Place<'_>) -> bool {
        let window = place.window;
        self.expression.is_match(window)
            && match self.check {
                Check::Nothing => true,
                Check::Window(check) => check(window),
                Check::Value(check) => self.groups(window).is_some_and(|[value, _]| check(value)),
                Check::Key => self.real_key(place).is_some(),
                Check::KeyNotWords => {
                    key_not_words(window) && self.real_key(place).is_some_and(|key| key_not_words(&key))
                }
                Check::KeyId => self.real_key(place).is_some() && !place.is_a_signer(self.keys(window)[0]),
                Check::KeyOrId(words) => {
                    key_not_words(window)
                        && self.real_key(place).is_some_and(|key| {
                            let id = key.len() - place.anchor.min(key.len()) == 32
                                && key[place.anchor..].iter().all(u8::is_ascii_hexdigit);
                            key_not_words(&key) && (!id || given_to_a_secret(place.before) || place.is_near(words))
                        })
                }
                Check::Password => self.groups(window).is_some_and(|[user, rest]| is_real_password(user, rest)),
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
