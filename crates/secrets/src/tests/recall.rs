//! Every kind of credential in the ways in which it is written down, made of its pattern.

use std::collections::BTreeMap;

use crate::kinds::{self, Form, Kind};
use crate::pattern::Pattern;
use crate::samples::Chooser;
use crate::{Options, Scanner};

/// Ways to write down a token of a known form. `{}` is the token.
const TOKENS: [&str; 26] = [
    "{}",
    "here is my key: {}",
    "TOKEN={}\n",
    "export KEY='{}'",
    "{\"a\": \"{}\"}",
    "{\\\"a\\\": \\\"{}\\\"}",
    "key: {}\n",
    "curl -H 'Authorization: Bearer {}' https://api.acme.com",
    "client = Client(\"{}\")",
    "https://api.acme.com/?t={}&x=1",
    "<key>{}</key>",
    "`{}`",
    "({})",
    "[{}]",
    "line one\\n{}\\nline three",
    "a\\t{}",
    "\\u000a{}",
    "%3D{}",
    "&quot;{}&quot;",
    "\u{1b}[32m{}\u{1b}[0m",
    "_{}",
    "+ {}",
    "- {}",
    "use {}, please.",
    "x = {};",
    "\\x0a{}",
];

/// Ways to give a value to a name of a vendor. `{i}` is the vendor, `{I}` the same in capitals, `{s}` the value.
const ASSIGNMENTS: [&str; 36] = [
    "{i}Token=\"{s}\"",
    "{i}Token = \"{s}\"",
    "{i}Token={s}",
    "{i}Token = {s}",
    "{\n    \"{i}_token\": \"{s}\"\n}",
    "{\\\"{i}_token\\\": \\\"{s}\\\"}",
    "<{i}Token>{s}</{i}Token>",
    "<{i}Token>\n    {s}\n</{i}Token>",
    "{i}_token: {s}",
    "{i}_token: '{s}'",
    "{i}_token: \"{s}\"",
    "string {i}Token = \"{s}\";",
    "var {i}Token string = \"{s}\"",
    "{i}Token := \"{s}\"",
    "{i}Token := `{s}`",
    "String {i}Token = \"{s}\";",
    "var {i}Token: String = \"{s}\"",
    "${i}Token .= \"{s}\"",
    "{i}Token = '{s}'",
    "{i}Token = b\"{s}\"",
    "${i}Token = \"{s}\"",
    "{i}Token => \"{s}\"",
    "{I}_TOKEN = \"{s}\"",
    "{I}_TOKEN := \"{s}\"",
    "{I}_TOKEN ::= \"{s}\"",
    "{I}_TOKEN :::= \"{s}\"",
    "{I}_TOKEN += \"{s}\"",
    "{I}_TOKEN ?= \"{s}\"",
    "{I}_TOKEN={s}\n",
    "export {I}_API_KEY={s}\n",
    "{i}Token ??= \"{s}\"",
    "- name: {I}_SECRET\n  value: \"{s}\"",
    "<add key=\"{i}Key\" value=\"{s}\"/>",
    "set('{i}.token', '{s}')",
    "process.env.{I}_KEY || \"{s}\"",
    "{i} api key: {s}",
];

/// A credential of each of its patterns.
pub(super) fn secrets(kind: &Kind, chooser: &mut Chooser) -> Vec<String> {
    let mut sample = |pattern: &str| {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{}: {pattern}: {error}", kind.id));
        parsed.sample(|below| chooser.below(below))
    };
    match kind.form {
        Form::Begins(patterns) => patterns.iter().map(|pattern| sample(pattern)).collect(),
        Form::Holds(inside, pattern) => {
            let secret = sample(pattern);
            // Where nothing says where it stands, it stands near the end.
            let secret = if secret.contains(inside) {
                secret
            } else {
                let padding = secret.len() - secret.trim_end_matches('=').len();
                let at = secret.len() - padding - inside.len() - 6;
                format!("{}{inside}{}", &secret[..at], &secret[at + inside.len()..])
            };
            vec![secret]
        }
        Form::Named(_, pattern) => vec![sample(pattern)],
        Form::Read => Vec::new(),
    }
}

/// Every way to write down a credential of this kind, with the credential.
fn samples(kind: &Kind, salt: u64) -> Vec<(String, String)> {
    let secrets = secrets(kind, &mut Chooser::new(salt));
    let written = |secret: &String| -> Vec<(String, String)> {
        let texts: Vec<String> = if let Form::Named(names, _) = kind.form {
            let name = names[0].replace(['-', ' '], "_");
            let named = |way: &str| way.replace("{i}", &name).replace("{I}", &name.to_ascii_uppercase());
            ASSIGNMENTS.iter().map(|way| named(way).replace("{s}", secret)).collect()
        } else {
            TOKENS.iter().map(|way| way.replace("{}", secret)).collect()
        };
        texts.into_iter().map(|text| (text, secret.clone())).collect()
    };
    secrets.iter().flat_map(written).collect()
}

#[test]
fn every_kind_is_found_however_it_is_written() {
    let scanner = Scanner::new(&Options::default());
    let mut missed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut found, mut all) = (0, 0);
    for (index, (_, kind)) in kinds::all().enumerate() {
        for salt in 0..4 {
            for (text, secret) in samples(kind, index as u64 * 100 + salt) {
                for body in [text.clone(), serde_json::json!({"messages": [{"content": text}]}).to_string()] {
                    all += 1;
                    let matches = scanner.scan(body.as_bytes());
                    let covers = |found: &crate::Match<'_>| {
                        let value = found.value.expose();
                        value.contains(&secret) || (secret.contains(value) && value.len() * 3 >= secret.len() * 2)
                    };
                    if matches.iter().any(covers) {
                        found += 1;
                    } else {
                        missed.entry(kind.id).or_default().push(text.clone());
                    }
                }
            }
        }
    }
    let mut worst: Vec<_> = missed.iter().map(|(id, texts)| (texts.len(), *id, &texts[0])).collect();
    worst.sort_unstable_by(|left, right| right.cmp(left));
    let told: Vec<String> = worst.iter().take(60).map(|(count, id, text)| format!("{count} {id}: {text:?}")).collect();
    println!("{found} of {all}\n{}", told.join("\n"));
    assert!(found * 100 >= all * 97, "{found} of {all}\n{}", told.join("\n"));
}

#[test]
fn there_are_hundreds_of_kinds_and_every_documented_id() {
    let rules = crate::built_in();
    assert!(rules.len() >= 400, "{}", rules.len());
    for id in "aws-access-key aws-secret-key github-token-classic github-token-fine-grained github-oauth \
               github-app-user-to-server github-app-server-to-server github-refresh gitlab-token slack-bot-token \
               slack-user-token slack-webhook stripe-secret-key stripe-restricted-key google-api-key anthropic-api-key \
               openai-api-key twilio-auth-token sendgrid-api-key mailgun-api-key heroku-api-key pem-private-key \
               pem-private-key-rsa pem-private-key-ec generic-password-field generic-secret-field bearer-token-jwt jwt-raw \
               postgres-url-with-password mysql-url-with-password mongodb-srv-url redis-url-with-auth high-entropy-token"
        .split_whitespace()
    {
        assert!(rules.iter().any(|rule| rule.id == id), "{id}");
    }
    for rule in &rules {
        assert!(
            rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{}",
            rule.id
        );
        assert!(rule.description.chars().next().is_some_and(char::is_alphanumeric), "{}", rule.id);
    }
}
