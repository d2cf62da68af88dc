//! Credentials that are written so that a look at the bytes does not see them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::checksum::checksum_of;
use crate::samples::{BASE62, made_of};
use crate::{Options, Scanner};

fn key() -> String {
    format!("ghp_{}", made_of(BASE62, 36, 4))
}

#[test]
fn escapes_codes_and_unseen_characters_hide_nothing() {
    let scanner = Scanner::new(&Options::default());
    let key = key();
    let (first, second) = key.split_at(17);
    let each = |form: &dyn Fn(u8) -> String| key.bytes().map(form).collect::<String>();
    let long = format!("# a file of settings\nname = thing\nkey = {key}\nother = 1\n# and the rest of what is in it\n");
    let encoded = STANDARD.encode(&long);
    let wrapped =
        encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>();
    for text in [
        format!("line\\n{key}\\n"),
        format!("\\u0067{}", &key[1..]),
        each(&|byte| format!("\\u{byte:04x}")),
        each(&|byte| format!("\\x{byte:02x}")),
        each(&|byte| format!("%{byte:02X}")),
        each(&|byte| format!("&#{byte};")),
        format!("{first}\u{200b}{second}"),
        format!("{first}\u{1b}[1m{second}"),
        format!("\"{first}\" + \"{second}\""),
        format!("'{first}' + '{second}'"),
        STANDARD.encode(&key),
        URL_SAFE_NO_PAD.encode(format!("the key is {key}")),
        wrapped.join("\n"),
        wrapped.join("\\n"),
        key.bytes().map(|byte| format!("{byte:02x}")).collect(),
        json!({"arguments": json!({"cmd": format!("echo\n{key}")}).to_string()}).to_string(),
    ] {
        for body in [text.clone(), json!({"messages": [{"content": text}]}).to_string()] {
            let found = scanner.scan(body.as_bytes());
            assert_eq!(found.first().map(|found| found.rule.id.as_str()), Some("github-token-classic"), "{body}");
        }
    }
}

#[test]
fn what_is_split_over_two_texts_is_joined() {
    let scanner = Scanner::new(&Options::default());
    let key = key();
    for at in [6, 17, 30] {
        let (first, second) = key.split_at(at);
        for body in [
            json!({"content": [{"type": "text", "text": format!("it is {first}")}, {"type": "text", "text": format!("{second}\nok")}]}),
            json!({"args": [first, second]}),
        ] {
            let content = body.to_string();
            let found = scanner.scan(content.as_bytes());
            let parts: Vec<&str> = found.iter().map(|found| &content[found.at.clone()]).collect();
            assert_eq!(parts, [first, second], "{content}");
        }
    }
    let apart = json!({"content": [{"text": format!("{key} ")}, {"text": "more"}], "list": [key, "more"]}).to_string();
    let found = scanner.scan(apart.as_bytes());
    assert!(found.iter().all(|found| found.value.expose() == key) && found.len() == 2, "{found:?}");
}

#[test]
fn what_stands_behind_failed_beginnings_is_found() {
    let scanner = Scanner::new(&Options::default());
    let real = format!("sk-ant-{}", made_of(BASE62, 60, 9));
    for before in ["sk-ant-", "sk-ant-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-", "ghp_", "glpat-", "your-key-here_"] {
        for times in [1, 2, 3, 5] {
            let text = format!("{}{real}", before.repeat(times));
            let found = scanner.scan(text.as_bytes());
            let holds = |found: &crate::Match<'_>| found.value.expose().contains(&real);
            assert!(found.iter().any(holds), "{text}");
        }
    }
}

#[test]
fn what_a_vendor_issued_is_found_whatever_it_looks_like() {
    let scanner = Scanner::new(&Options::default());
    let random = b"aaaaaaaaaaaaaaaExample12345678";
    let written = |checksum: &[u8]| [b"ghp_".as_slice(), random, checksum].concat();
    assert_eq!(scanner.scan_text(&written(&checksum_of(random))).len(), 1);
    assert!(scanner.scan_text(&written(b"aaaaaa")).is_empty());
}

#[test]
fn what_was_found_before_json_breaks_stays_found() {
    let scanner = Scanner::new(&Options::default());
    let key = key();
    // Its name and its escape say what it is to a reader of JSON only.
    let named = "\\u0031a2b3c4d-5e6f-4708-91a2-b3c4d5e6f708";
    for broken in [format!("\"the key is {key}"), format!("\"{key}\", \"more\": \"and"), "\"nothing in it".to_owned()] {
        let content = format!("{{\"heroku_api_key\": \"{named}\", \"note\": {broken}");
        let found: Vec<&str> = scanner.scan(content.as_bytes()).iter().map(|found| found.rule.id.as_str()).collect();
        let expected: &[&str] =
            if broken.contains(&key) { &["heroku-api-key", "github-token-classic"] } else { &["heroku-api-key"] };
        assert_eq!(found, expected, "{content}");
    }
}

#[test]
fn what_only_begins_like_a_placeholder_is_no_placeholder() {
    let scanner = Scanner::new(&Options::default());
    let whole = "SECRET_generic_password_field_8f3a2b1c9d7e6f50";
    for text in
        [format!("password={whole}"), format!("password: \"{whole}\""), format!("postgres://app:{whole}@db.acme.com/x")]
    {
        let found: Vec<String> = scanner.scan_text(text.as_bytes()).iter().map(|found| found.rule.id.clone()).collect();
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    for password in [
        format!("{}xK9#mP2$vLq8Zt", &whole[..7]),
        format!("{}xK9#mP2$vLq8Zt_0a1b2c3d4e5f6a7b", &whole[..7]),
        format!("SECRET__{}", &whole[whole.len() - 16..]) + "xK9#mP2$vLq8Zt",
        format!("{whole}#xK9mP2$vLq8Zt"),
        format!("{}Z", &whole[..whole.len() - 1]) + "#xK9mP2vLq8",
    ] {
        let text = format!("password={password}");
        let found = scanner.scan_text(text.as_bytes());
        assert_eq!(found.first().map(|found| found.value.expose()), Some(password.as_str()), "{text}");
    }
}

#[test]
fn json_stays_json_where_a_match_is_exchanged() {
    let scanner = Scanner::new(&Options::default());
    let key = key();
    let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for text in
        [format!("a \\\"{key}\\\" b"), format!("a\\n{escaped}\\n"), format!("\\\\n{key}\\\\n"), format!("ü {key} 😀")]
    {
        let content = format!("{{\"a\":\"{text}\"}}");
        let found = scanner.scan(content.as_bytes());
        assert_eq!(found.len(), 1, "{content}");
        assert_eq!(found[0].value.expose(), key);
        let exchanged = format!("{}X{}", &content[..found[0].at.start], &content[found[0].at.end..]);
        let value: serde_json::Value = serde_json::from_str(&exchanged).expect(&exchanged);
        let before: serde_json::Value = serde_json::from_str(&content).expect(&content);
        assert_eq!(value["a"].as_str().map(|text| text.replace('X', &key)), before["a"].as_str().map(str::to_owned));
    }
}
