//! The credentials the scan knows, by how they look.
//!
//! Each pattern has *anchors*, literals of which one begins (or stands inside) every such credential, and an expression
//! that is tried at the anchor and nowhere else. All anchors are looked for together in one pass over the text, so the cost
//! of a text without anchors does not depend on the number of patterns. An expression sees a bounded stretch of the text,
//! so every text is scanned in linear time.

use aho_corasick::{AhoCorasick, Input, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

use super::examples::{has_key_body, is_documented_token, is_made_up, is_publishable, is_real_password};
use super::measure::{class_changes, normalised_entropy};
use crate::config::ExtraPattern;

/// What an expression gets to see from its anchor on. Long enough for all but tokens of the JSON Web kind.
const WINDOW: usize = 512;
const JWT_WINDOW: usize = 16 * 1024;

/// A kind of credential.
struct Pattern {
    id: &'static str,
    anchors: &'static [&'static str],
    /// Matched from the beginning of the anchor on. `<SEP>` stands between a name and its value, `<QUOTED>` between a
    /// name and a value in quotation marks, `<END>` where no letter, digit or underscore follows.
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
    /// That the key is no example.
    Key,
    /// The same, and that it is not made of words.
    KeyNotWords,
    /// Of groups 1 and 2 of the expression, the user and the password with the host: that it is a real password.
    Password,
}

#[derive(Debug, Clone, Copy)]
enum Before {
    /// Anything: the anchor is part of a longer name.
    Any,
    /// No letter, digit or underscore: the end of `task-` is not `sk-`.
    NoWord,
    /// No hyphen either. For expressions that run on as long as hyphens and letters come, so that each such run is read
    /// once.
    NoToken,
}

/// `=`, `:`, `:=` or `=>`, with quotation marks (in a string of JSON also escaped ones) and spaces around it.
const SEP: &str = r#"\\?["'`]?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}\\?["'`]?"#;
/// The same before a value that stands in quotation marks.
const QUOTED: &str = r#"\\?["'`]?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}\\?["'`]"#;
const END: &str = r"(?:[^A-Za-z0-9_]|\z)";

/// In the order in which they are tried where they share an anchor.
const PATTERNS: &[Pattern] = &[
    Pattern {
        id: "aws-access-key",
        anchors: &["AKIA", "ASIA"],
        expression: r"(?:AKIA|ASIA)[A-Z0-9]{16}<END>",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "aws-secret-key",
        anchors: SECRET,
        expression: r"(?i:secret[_-]?(?:access[_-]?)?key)<SEP>([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)",
        before: Before::Any,
        check: Check::Value(|value| !value.iter().all(u8::is_ascii_hexdigit) && random_looking(value)),
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
        anchors: &["sk_live_", "sk_test_"],
        expression: r"sk_(?:live|test)_[A-Za-z0-9]{16,}",
        before: Before::NoWord,
        check: Check::Key,
    },
    Pattern {
        id: "stripe-restricted-key",
        anchors: &["rk_live_", "rk_test_"],
        expression: r"rk_(?:live|test)_[A-Za-z0-9]{16,}",
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
        check: Check::KeyNotWords,
    },
    Pattern {
        id: "twilio-auth-token",
        anchors: &["twilio", "Twilio", "TWILIO"],
        expression: r"(?i:twilio[_ -]?(?:account[_ -]?)?(?:auth[_ -]?)?(?:token|secret|key))<SEP>([0-9a-fA-F]{32})<END>",
        before: Before::Any,
        check: Check::Nothing,
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
        expression: r"key-([0-9a-z]{32})<END>",
        before: Before::NoToken,
        check: Check::Value(|value| value.iter().any(u8::is_ascii_digit) && !is_made_up(value)),
    },
    Pattern {
        id: "heroku-api-key",
        anchors: &["heroku", "Heroku", "HEROKU"],
        expression: r"(?i:heroku[_ -]?(?:api[_ -]?)?(?:key|token|secret)<SEP>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})<END>",
        before: Before::Any,
        check: Check::Nothing,
    },
    Pattern {
        id: "heroku-api-key",
        anchors: &["HRKU-"],
        expression: r"HRKU-[A-Za-z0-9_-]{32,}",
        before: Before::NoWord,
        check: Check::Nothing,
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
        check: Check::Value(|token| !is_documented_token(token)),
    },
    Pattern {
        id: "jwt-raw",
        anchors: &["eyJ"],
        expression: r"(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})",
        before: Before::NoToken,
        check: Check::Value(|token| !is_documented_token(token)),
    },
    Pattern {
        id: "postgres-url-with-password",
        anchors: &["postgres"],
        expression: r"postgres(?:ql)?(?:\+[a-z0-9_]{1,16})?://([^\s:@/]{0,128}):([^\s/@]{1,256}@[^\s/:?,]{0,64})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "mysql-url-with-password",
        anchors: &["mysql", "mariadb"],
        expression: r"(?:mysql|mariadb)(?:\+[a-z0-9_]{1,16})?://([^\s:@/]{0,128}):([^\s/@]{1,256}@[^\s/:?,]{0,64})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "mongodb-srv-url",
        anchors: &["mongodb"],
        expression: r"mongodb(?:\+srv)?://([^\s:@/]{0,128}):([^\s/@]{1,256}@[^\s/:?,]{0,64})",
        before: Before::Any,
        check: Check::Password,
    },
    Pattern {
        id: "redis-url-with-auth",
        anchors: &["redis"],
        expression: r"rediss?://([^\s:@/]{0,128}):([^\s/@]{1,256}@[^\s/:?,]{0,64})",
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
        check: Check::Value(random_looking),
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
        check: Check::Value(random_looking),
    },
    Pattern {
        id: "generic-secret-field",
        anchors: &["SECRET", "API_KEY", "ACCESS_TOKEN", "AUTH_TOKEN", "PRIVATE_KEY"],
        expression: r"[A-Z]+(?:_[A-Z]+){0,3}=([A-Za-z0-9+/_.~-]{16,256})={0,2}(?:[\s;,]|\z)",
        before: Before::Any,
        check: Check::Value(random_looking),
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
    anchors: AhoCorasick,
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
                window: if pattern.id.contains("jwt") { JWT_WINDOW } else { WINDOW },
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
        let anchors = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&anchors)
            .expect("a few dozen short literals make a small automaton");
        Self { anchors, candidates, compiled }
    }

    /// The gravest credential in `text`, and whether it refuses: the first that does, before one that only warns; one that is
    /// only known by the name of its field, if there is no other.
    pub(super) fn find(&self, text: &[u8]) -> Option<(&str, bool)> {
        let mut found: Option<&Compiled> = None;
        let mut from = 0;
        while let Some(anchor) = self.anchors.find(Input::new(text).range(from..)) {
            let start = anchor.start();
            let before = start.checked_sub(1).map(|at| text[at]);
            for &candidate in &self.candidates[anchor.pattern().as_usize()] {
                let pattern = &self.compiled[candidate];
                if found.is_some_and(|found| found.rank() <= pattern.rank()) || !pattern.before.allows(before) {
                    continue;
                }
                let window = &text[start..text.len().min(start + pattern.window)];
                if !pattern.matches(window) || (pattern.generic && names_something_public(&text[..start])) {
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
    fn allows(self, byte: Option<u8>) -> bool {
        let Some(byte) = byte else { return true };
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        match self {
            Self::Any => true,
            Self::NoWord => !word,
            Self::NoToken => !word && byte != b'-',
        }
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

    /// The key as a whole, where the expression reads only its beginning.
    fn key<'t>(&self, window: &'t [u8]) -> &'t [u8] {
        let matched = self.expression.find(window).map_or(0, |found| found.end());
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match window[..matched].last() {
            Some(last) if part(last) => {
                &window[..matched + window[matched..].iter().take_while(|byte| part(byte)).count()]
            }
            _ => &window[..matched.saturating_sub(1)],
        }
    }

    fn matches(&self, window: &[u8]) -> bool {
        self.expression.is_match(window)
            && match self.check {
                Check::Nothing => true,
                Check::Window(check) => check(window),
                Check::Value(check) => self.groups(window).is_some_and(|[value, _]| check(value)),
                Check::Key => !is_made_up(self.key(window)),
                Check::KeyNotWords => key_not_words(window) && !is_made_up(self.key(window)),
                Check::Password => self.groups(window).is_some_and(|[user, rest]| is_real_password(user, rest)),
            }
    }
}

/// Whether the name that ends here begins as that of something everybody may see: `NEXT_PUBLIC_MAPS_` before `API_KEY`.
fn names_something_public(before: &[u8]) -> bool {
    let name =
        before.iter().rev().take(48).take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let mut name: Vec<u8> = name.map(u8::to_ascii_lowercase).collect();
    name.reverse();
    [b"public".as_slice(), b"publishable"].iter().any(|word| memchr::memmem::find(&name, word).is_some())
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

/// Words that occur in the values of examples, templates and tests.
const PLACEHOLDERS: [&str; 19] = [
    "insecure",
    "abc123",
    "123456",
    "example",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "your",
    "dummy",
    "sample",
    "redacted",
    "xxxx",
    "****",
    "fake",
    "mock",
    "test",
    "todo",
    "insert",
];

fn is_placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let begins_as_template = matches!(lower.first(), Some(b'$' | b'<' | b'{' | b'%' | b'[' | b'*'));
    begins_as_template || PLACEHOLDERS.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
}

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
    has_digit && !code && !is_placeholder(value) && ((value.len() >= 12 && classes >= 3) || classes == 4)
}

/// Letters and digits that alternate as they do in generated keys and do not in words.
fn random_looking(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    digits >= 2
        && letters >= 4
        && class_changes(value) * 100 >= value.len() * 20
        && normalised_entropy(value) >= 0.6
        && !is_placeholder(value)
        && !is_publishable(value)
        && !is_made_up(value)
}
