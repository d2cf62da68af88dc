//! Many credentials of one kind in one text: no number of them hides the next.

use std::collections::HashSet;

use super::recall;
use crate::kinds::{self, Form};
use crate::samples::{BASE62, Chooser, made_of};
use crate::{ExtraRule, Options, Scanner};

/// So many of a kind stand in a text.
const MANY: usize = 200;

/// Those of `credentials` that are found in `text`.
fn found<'c>(scanner: &Scanner, text: &str, credentials: &'c [String]) -> HashSet<&'c str> {
    let places: Vec<_> = scanner.scan(text.as_bytes()).into_iter().map(|found| found.at).collect();
    let mut from = 0;
    let stands = |credential: &&'c String| {
        let start = from + text[from..].find(credential.as_str()).expect("it was written there");
        from = start + credential.len();
        places.iter().any(|place| place.start < from && place.end > start)
    };
    credentials.iter().filter(stands).map(String::as_str).collect()
}

#[test]
fn as_many_of_every_form_are_found_together_as_alone() {
    let scanner = Scanner::new(&Options::default());
    for (index, (_, kind)) in kinds::all().enumerate() {
        if !matches!(kind.form, Form::Begins(_) | Form::Holds(..)) {
            continue;
        }
        let mut chooser = Chooser::new(index as u64 + 1);
        for form in 0..recall::secrets(kind, &mut chooser).len() {
            let credentials: Vec<String> =
                (0..MANY / 3).map(|_| recall::secrets(kind, &mut chooser).swap_remove(form)).collect();
            // A few look by chance like what somebody wrote, and are not found alone either.
            let alone: Vec<String> =
                credentials.into_iter().filter(|secret| !scanner.scan(secret.as_bytes()).is_empty()).collect();
            let together = found(&scanner, &alone.join("\n"), &alone);
            let lost = alone.iter().filter(|secret| !together.contains(secret.as_str())).count();
            assert_eq!(lost, 0, "{} of {} of {}, form {form}", lost, alone.len(), kind.id);
        }
    }
}

#[test]
fn many_of_what_is_read_by_code_or_given_to_a_name_are_found() {
    let scanner = Scanner::new(&Options::default());
    for line in [
        "Server=db;User Id=app;Password={};",
        "mysql -u app -p{} shop",
        "curl -u app:{} https://api.acme.com",
        "postgres://app:{}@db.acme.com/shop",
        "postgres://app:{}@db.acme.com/shop,",
        "CREATE USER app IDENTIFIED BY '{}';",
        "HEROKU_API_KEY={}",
        "datadog_app_key: {}",
        "password = \"{}\"",
        "Authorization: Bearer {}",
    ] {
        let shape = |salt: u64| match line {
            line if line.starts_with("HEROKU") => {
                let hex = made_of("0123456789abcdef", 32, salt);
                format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            }
            line if line.starts_with("datadog") => made_of("0123456789abcdef", 40, salt),
            _ => made_of(BASE62, 30, salt),
        };
        let credentials: Vec<String> = (1..=MANY as u64).map(shape).collect();
        let alone = |secret: &String| !scanner.scan(line.replace("{}", secret).as_bytes()).is_empty();
        let alone: Vec<String> = credentials.into_iter().filter(alone).collect();
        assert!(alone.len() * 10 >= MANY * 9, "{line}: {}", alone.len());
        let lines: Vec<String> = alone.iter().map(|secret| line.replace("{}", secret)).collect();
        let separator = if line.ends_with(',') { "" } else { "\n" };
        let together = found(&scanner, &lines.join(separator), &alone);
        assert_eq!(together.len(), alone.len(), "{line}");
    }
}

#[test]
fn a_long_credential_is_found_to_its_end() {
    const LONG: usize = 1200;
    let own = ExtraRule::prefixed("acme-key", "acme_");
    let scanner = Scanner::new(&Options { extra: vec![own], ..Options::default() });
    let long = made_of(BASE62, LONG, 7);
    for secret in [
        format!("sl.u.{long}"),
        format!("sk-ant-{long}"),
        format!("acme_{long}"),
        format!("{}:APA91b{long}", &long[..22]),
        long.clone(),
    ] {
        let text = format!("Authorization: Bearer {secret} and more");
        let found: Vec<String> =
            scanner.scan_text(text.as_bytes()).into_iter().map(|found| found.value.expose().to_owned()).collect();
        assert_eq!(found, [secret]);
    }
}

#[test]
fn examples_before_a_credential_do_not_hide_it() {
    let scanner = Scanner::new(&Options::default());
    let real = format!("ghp_{}", made_of(BASE62, 36, 4));
    let example = format!("ghp_{}\n", "x".repeat(36));
    let text = format!("{}{real}", example.repeat(MANY));
    let found = scanner.scan_text(text.as_bytes());
    assert_eq!(found.iter().map(|found| found.value.expose()).collect::<Vec<_>>(), [real]);
}
