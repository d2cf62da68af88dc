//! Which texts hold a credential and which do not.

use systemprompt_secrets::Memory as _;

use super::*;
use crate::config::{EntropyConfig, ExtraPattern};

fn scanner() -> SecretScanner {
    SecretScanner::new(&SecretScanConfig::default()).expect("the defaults are valid")
}

/// The id of the first finding in `text`, read as it is and as a string of JSON: both must agree.
fn found_in(scanner: &SecretScanner, text: &str) -> Option<String> {
    let plain = scanner.scan(format!("note: {text}").as_bytes());
    let json = serde_json::to_vec(&serde_json::json!({"messages": [{"content": format!("note: {text}")}]})).unwrap();
    let json = scanner.scan(&json);
    let first = |scan: &Scan| scan.findings.first().map(|finding| finding.pattern.clone());
    assert_eq!(first(&plain), first(&json), "{text}");
    if let Some(finding) = json.findings.first() {
        assert_eq!(finding.path, "$.messages[0].content");
    }
    first(&plain)
}

/// Random text over `alphabet`, the same for the same salt, so that no real credential has to be written here.
pub(super) fn made_of(alphabet: &str, length: usize, salt: u64) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[usize::try_from(state >> 16).unwrap() % letters.len()]
    };
    // The first numbers of this generator resemble their seed.
    std::iter::repeat_with(next).skip(8).take(length).collect()
}

pub(super) const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0a1b2c3d4e5f6789";

/// The token that jwt.io shows, and that of RFC 7519.
pub(super) const JWT_IO: &str = concat!(
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ",
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
);
const RFC_7519: &str = concat!(
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
);

/// For each pattern what it must find and what it must not.
#[test]
fn every_pattern_finds_its_credential_and_not_its_neighbours() {
    let a = |length| made_of(BASE62, length, 1);
    let hex = |length| made_of(HEX, length, 2);
    let capitals = |length| made_of("ABC2DEF3GHI4JKL5MNO6PQR7", length, 3);
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJ{}.{}", a(40), a(43));
    let pem = |kind: &str, gap: &str| {
        format!("-----BEGIN {kind}-----{gap}MIIE{}{gap}{}{gap}-----END {kind}-----\n", a(60), made_of(BASE62, 64, 8))
    };
    let uuid = "83d1f70c-29ae-4b6d-9c05-e7a41b93f268";
    let long_hyphens = format!("{}-your-key", "put".repeat(10));

    let table: Vec<(&str, Vec<String>, Vec<String>)> = vec![
        (
            "aws-access-key",
            vec![format!("AKIA{}", capitals(16)), ["AKIA", "IOSFODNN7EXAMPLQ"].concat(), format!("id=ASIA{},", capitals(16))],
            vec![
                "AKIAIOSFODNN7EXAMPLE".into(),
                "ASIAIOSFODNN7EXAMPLE and AKIAI44QH8DHBEXAMPLE".into(),
                "AKIAXXXXXXXXXXXXXXXX".into(),
                "AKIA1234567890ABCDEF".into(),
                format!("AKIA{}", capitals(15)),
                format!("AKIA{}", capitals(17)),
                format!("XAKIA{}", capitals(16)),
                format!("AKIA{}", capitals(16).to_lowercase()),
            ],
        ),
        (
            "aws-secret-key",
            vec![
                format!("aws_secret_access_key = {}", a(40)),
                format!("AWS_SECRET_ACCESS_KEY={}\n", a(40)),
                format!("\"secretAccessKey\": \"{}\"", a(40)),
                "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEa".replace("EXAMPLE", "Q3xM7pL"),
            ],
            vec![
                "aws_secret_access_key = var.secret".into(),
                format!("secret_key_hash = {}", hex(40)),
                "AWS_SECRET_ACCESS_KEY=$(pass show aws)".into(),
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
                "AWS_SECRET_ACCESS_KEY=je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY".into(),
            ],
        ),
        (
            "github-token-classic",
            vec![format!("ghp_{}", a(36)), format!("https://x:ghp_{}@github.com", a(36))],
            vec![format!("ghp_{}", a(30)), format!("xghp_{}", a(31)), "ghp_your_token".into(), format!("ghp_{}", "x".repeat(36))],
        ),
        (
            "github-token-fine-grained",
            vec![format!("github_pat_{}_{}", a(22), a(59))],
            vec![format!("github_pat_{}_{}", a(21), a(20)), "github_pat_…".into()],
        ),
        ("github-oauth", vec![format!("gho_{}", a(36))], vec![format!("gho_{}", a(20)), "logo_a".into()]),
        ("github-app-user-to-server", vec![format!("ghu_{}", a(36))], vec![format!("ghu_{}", a(20))]),
        ("github-app-server-to-server", vec![format!("ghs_{}", a(36))], vec![format!("ghs_{}", a(20))]),
        ("github-refresh", vec![format!("ghr_{}", a(76))], vec![format!("ghr_{}", a(20))]),
        (
            "gitlab-token",
            vec![format!("glpat-{}", a(20)), ["glpat", "-Rb3-Kd4_Tf9-Wh6_Zj7x"].concat()],
            vec![format!("glpat-{}", a(12)), "glpat-put-your-own-token-here".into()],
        ),
        (
            "slack-bot-token",
            vec![format!("xoxb-123456789012-1234567890123-{}", a(24))],
            vec!["xoxb-your-bot-token-comes-here".into(), "xoxb-1234".into()],
        ),
        (
            "slack-user-token",
            vec![format!("xoxp-123456789012-123456789012-123456789012-{}", hex(32))],
            vec!["xoxp-your-user-token-comes-here".into()],
        ),
        (
            "slack-webhook",
            vec![format!("https://hooks.slack.com/services/T{}/B{}/{}", capitals(8), capitals(10), a(24))],
            vec![
                "https://hooks.slack.com/services/T000/B000/XXXX".into(),
                "https://hooks.slack.com/services/".into(),
                format!("https://hooks.slack.com/services/T00000000/B00000000/{}", "X".repeat(24)),
            ],
        ),
        (
            "stripe-secret-key",
            vec![format!("sk_live_{}", a(24)), format!("token_sk_live_{}", a(99))],
            vec![
                "sk_live_...".into(),
                format!("task_live_{}", a(10)),
                format!("pk_live_{}", a(24)),
                format!("STRIPE_API_KEY=\"pk_test_{}\"", a(99)),
                concat!("sk_test_", "4eC39HqLyjWDarjtT1zdp7dc").into(),
            ],
        ),
        (
            "stripe-restricted-key",
            vec![format!("rk_live_{}", a(24))],
            vec!["rk_live_".into(), "work_live_balance_1234567".into()],
        ),
        (
            "stripe-test-key",
            vec![format!("sk_test_{}", a(99)), format!("rk_test_{}", a(24))],
            vec![format!("sk_test_{}", "x".repeat(24)), concat!("sk_test_", "26PHem9AhJZvU623DfE1x4sd").into()],
        ),
        (
            "google-api-key",
            vec![format!("AIza{}", a(35)), format!("?key=AIza{}&x=1", a(35))],
            vec![format!("AIza{}", a(24)), format!("AIza{}", "A".repeat(36))],
        ),
        (
            "anthropic-api-key",
            vec![
                format!("sk-ant-api03-{}AA", a(93)),
                format!("sk-ant-admin01-{}", a(93)),
                format!("api_key = \"sk-ant-api03-{}\"", a(93)),
                format!("sk-ant-{}", a(40)),
                format!("export ANTHROPIC_API_KEY=sk-ant-oat01-{}\n", a(80)),
            ],
            vec!["sk-ant-api03-...".into(), "sk-ant-your-key-goes-here-please".into(), "sk-ant-".into()],
        ),
        (
            "openai-api-key",
            vec![
                format!("sk-{}T3BlbkFJ{}", a(20), a(20)),
                format!("sk-proj-{}", a(120)),
                format!("sk-svcacct-{}", a(60)),
                format!("OPENAI_API_KEY=sk-{}", hex(32)),
                format!("for deepseek it is sk-{}", hex(32)),
            ],
            vec![
                "sk-...".into(),
                format!("sk-{long_hyphens}"),
                "task-list-of-things-to-do-in-the-next-two-weeks".into(),
                "sk-learn and risk-averse".into(),
                format!("the element sk-{}", hex(32)),
            ],
        ),
        (
            "twilio-auth-token",
            vec![format!("TWILIO_AUTH_TOKEN={}", hex(32)), format!("twilio_auth_token: \"{}\"", hex(32))],
            vec![format!("twilio checksum {}", hex(32)), format!("TWILIO_AUTH_TOKEN={}", hex(12)), hex(32)],
        ),
        (
            "sendgrid-api-key",
            vec![format!("SG.{}.{}", a(22), a(43))],
            vec![format!("SG.{}.{}", a(20), a(20)), format!("MSG.{}", a(22))],
        ),
        (
            "mailgun-api-key",
            vec![format!("key-{}", made_of("0123456789abcdefghijklmnopqrstuvwxyz", 32, 5))],
            vec!["key-value pairs".into(), format!("cache-key-{}", hex(32)), format!("key-{}", hex(20)), format!("monkey-{}", hex(32))],
        ),
        (
            "heroku-api-key",
            vec![format!("HEROKU_API_KEY={uuid}"), format!("heroku_api_key: '{uuid}'"), format!("HRKU-AA{}", a(58))],
            vec![format!("heroku release {uuid}"), uuid.into()],
        ),
        (
            "pem-private-key-rsa",
            vec![pem("RSA PRIVATE KEY", "\n"), pem("RSA PRIVATE KEY", "\\n\" +\n    \"")],
            vec!["-----BEGIN RSA PUBLIC KEY-----".into(), "-----BEGIN RSA PRIVATE KEY-----\nMIIE…".into()],
        ),
        (
            "pem-private-key-ec",
            vec![pem("EC PRIVATE KEY", "\r\n")],
            vec![pem("EC PARAMETERS", "\n"), "-----BEGIN EC PRIVATE KEY-----".into()],
        ),
        (
            "pem-private-key",
            vec![
                pem("PRIVATE KEY", "\n"),
                pem("ENCRYPTED PRIVATE KEY", "\n    "),
                pem("OPENSSH PRIVATE KEY", "\n     2→"),
                pem("OPENSSH PRIVATE KEY", "\nid_ed25519:2:"),
                pem("PGP PRIVATE KEY BLOCK", "\nVersion: GnuPG v2\nComment: a key of a person\n\n"),
                format!(
                    "-----BEGIN {}-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n{}\n",
                    "OPENSSH PRIVATE KEY",
                    a(70)
                ),
                format!("\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC{}\\n", a(32)),
            ],
            vec![
                "ssh.py:52:_SK_START = b\"-----BEGIN OPENSSH PRIVATE KEY-----\"\nssh.py:53:_SK_END = b\"-----END OPENSSH PRIVATE KEY-----\"".into(),
                "if text.startswith(\"-----BEGIN PRIVATE KEY-----\"):\n    return load_pem_private_key(text.encode(), password=None)".into(),
                "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----".into(),
                "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC...\n-----END PRIVATE KEY-----".into(),
                format!("-----BEGIN PRIVATE KEY-----\n{}\n", "x".repeat(64)),
                pem("PUBLIC KEY", "\n"),
                pem("CERTIFICATE", "\n"),
                "-----BEGIN PUBLIC KEY-----".into(),
                "-----BEGIN CERTIFICATE-----".into(),
                "----BEGIN PRIVATE KEY----".into(),
            ],
        ),
        (
            "bearer-token-jwt",
            vec![format!("Authorization: Bearer {jwt}"), format!("bearer {jwt}")],
            vec!["Authorization: Bearer eyJ...".into(), "Bearer token".into(), format!("Authorization: Bearer {JWT_IO}")],
        ),
        (
            "jwt-raw",
            vec![jwt.clone(), format!("token={jwt};")],
            vec!["eyJhbGciOiJSUzI1NiJ9".into(), "eyJhbGciOiJSUzI1NiJ9.eyJ.x".into(), "eyJ".into(), JWT_IO.into(), RFC_7519.into()],
        ),
        (
            "postgres-url-with-password",
            vec![
                format!("postgres://app:{}@db.acme.io:5432/app", "Tr0ub4dor"),
                format!("postgresql+psycopg2://app:{}@10.0.0.acme.io/app", "p%40s9x"),
                format!("postgres://app:{}@db.acme.com/app", "Kx92mPqL"),
                format!("postgres://admin:{}@db.acme.com/app", "admin"),
                format!("DATABASE_URL=postgresql://:{}@db.acme.io/x", "Kx3cr3t7q"),
            ],
            vec![
                "postgres://user:password@localhost:5432/db".into(),
                "postgres://user:password@db.example.com/app".into(),
                "postgresql://username:yourpassword@ep-cool-name-123456.eu-central-1.aws.neon.tech/neondb".into(),
                "postgres://app:xxxxxxxx@db.acme.io/app".into(),
                "postgres://app:***@db.acme.io/app".into(),
                "postgres://app:%s@%s/app".into(),
                "postgres://${DB_USER}:${DB_PASSWORD}@${DB_HOST}/app".into(),
                "postgres://app:DB_PASSWORD@db.acme.io/app".into(),
                "postgres://test:test@127.0.0.1:5432/test".into(),
                "postgres://postgres:postgres@db:5432/app".into(),
                "postgres://app@db.acme.io/app".into(),
                "postgres://app:${PASSWORD}@db.acme.io/app".into(),
                "postgres://app:<password>@db.acme.io/app".into(),
                "postgres://localhost:5432/app, mail me@example.com".into(),
            ],
        ),
        (
            "mysql-url-with-password",
            vec![format!("mysql://root:{}@db.acme.io/app", "hunter2"), format!("mariadb+pymysql://a:{}@db.acme.io/app", "hunter2")],
            vec!["mysql://root@localhost/app".into(), "mysql://root:root@127.0.0.1/app".into()],
        ),
        (
            "mongodb-srv-url",
            vec![format!("mongodb+srv://app:{}@cluster0.abcde.mongodb.net/app", "hunter2"), format!("mongodb://a:{}@h1.acme.io/x", "hunter2")],
            vec![
                "mongodb+srv://cluster0.abcde.mongodb.net".into(),
                "mongodb+srv://<user>:<password>@cluster0.mongodb.net".into(),
                "mongodb+srv://username:password@cluster0.abcde.mongodb.net/?retryWrites=true".into(),
            ],
        ),
        (
            "redis-url-with-auth",
            vec![format!("redis://:{}@cache.acme.io:6379/0", "hunter2"), format!("rediss://default:{}@cache.acme.io:6379", "hunter2")],
            vec![
                "redis://cache.internal:6379/0".into(),
                "redis://localhost".into(),
                "redis://:password@redis.example.com:6379".into(),
                "redis://:foobared@redis:6379".into(),
            ],
        ),
        (
            "systemprompt-api-key",
            vec![format!("sp-live-{}.{}", hex(12), hex(52))],
            vec![format!("sp-live-{}.", hex(12)), format!("sp-live-{}.{}", hex(12), hex(20))],
        ),
        (
            "generic-password-field",
            vec![
                format!("password = \"{}\"", "Gr8-Horse_Staple"),
                format!("\"db_password\": \"{}\"", "xK9#mP2$vL"),
                format!("DB_PASSWORD={}\n", "Kx92mPqLvT77"),
                format!("{{\\\"passwd\\\": \\\"{}\\\"}}", "Kx92mPqLvT-77"),
            ],
            vec![
                "password: Option<String>,".into(),
                "password = \"hunter\"".into(),
                "password = getPassword(user1)".into(),
                "password: \"${DB_PASSWORD_1}\"".into(),
                "password = \"TestPassword123\"".into(),
                "\"password\": \"your-Password-1\"".into(),
                "The password must have 12 characters, Two capitals and 1 digit.".into(),
                "PWD=/home/someone/Projects12".into(),
            ],
        ),
        (
            "generic-secret-field",
            vec![
                format!("client_secret: \"{}\"", a(24)),
                format!("const apiKey = '{}'", a(20)),
                format!("APP_SECRET={}\n", a(30)),
                format!("\"access_token\":\"{}\"", hex(40)),
            ],
            vec![
                "secret: \"projects/my-project-123/secrets/database\"".into(),
                "api_key = os.environ[\"SERVICE_API_KEY\"]".into(),
                "apiKey: \"YOUR_API_KEY_GOES_HERE\"".into(),
                "secret = \"correct-horse-battery-staple\"".into(),
                "max_tokens: 4096, access_token: String".into(),
            ],
        ),
        (
            HIGH_ENTROPY_TOKEN,
            vec![format!("https://api.acme.com/v1?key={}", made_of(BASE62, 40, 9)), format!("/v1?x=1&key={}", a(44))],
            vec![
                format!("the value is {}", made_of(BASE62, 40, 9)),
                format!("x-amz-cf-id: {}==", a(54)),
                format!("commit {}", hex(40)),
                uuid.into(),
                "a".repeat(60),
            ],
        ),
    ];

    let all = scanner();
    let by_form = SecretScanConfig {
        entropy: EntropyConfig { enabled: false, ..EntropyConfig::default() },
        ..SecretScanConfig::default()
    };
    let by_form = SecretScanner::new(&by_form).unwrap();
    for (id, positives, negatives) in table {
        for text in positives {
            assert_eq!(found_in(&all, &text).as_deref(), Some(id), "{text}");
        }
        for text in negatives {
            let scanner = if id == HIGH_ENTROPY_TOKEN { &all } else { &by_form };
            assert_eq!(found_in(scanner, &text), None, "{text} is not {id}");
        }
    }
}

#[test]
fn a_credential_is_found_however_json_writes_it() {
    let key = format!("sk-ant-api03-{}", made_of(BASE62, 93, 1));
    let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect::<Vec<_>>().concat();
    let nested = serde_json::json!({"arguments": format!("{{\"k\":\"{escaped}\"}}")}).to_string();
    let twice = serde_json::json!({"input": serde_json::json!({"arguments": nested}).to_string()}).to_string();
    for (content, path) in [
        (format!("{{\"a\":\"{key}\"}}"), "$.a"),
        (format!("{{\"a\":\"line\\n{key}\\n\"}}"), "$.a"),
        (format!("{{\"a\":\"{escaped}\"}}"), "$.a"),
        (format!("{{\"a\":[1,[true,\"x\",\"\\u0073{}\"]]}}", &key[1..]), "$.a[1][2]"),
        (format!("{{\"a\":{{\"{key}\":1}}}}"), "$.a.<key>"),
        (format!("{{\"a\":{{\"{key}\":{{\"b\":\"{key}\"}}}}}}"), "$.a.<key>"),
        (format!("\"{key}\""), "$"),
        (nested, "$.arguments"),
        (twice, "$.input"),
        (key.clone(), "$"),
        (format!("no JSON: {escaped}"), "$"),
        (format!("data: {{\"text\":\"{escaped}\"}}\n\n"), "$"),
        (format!("{{\"a\": broken {key}"), "$"),
        (format!("{{\"a\": \"unclosed {key}"), "$"),
    ] {
        let scan = scanner().scan(content.as_bytes());
        assert_eq!(scan.findings[0], Finding { pattern: "anthropic-api-key".into(), path: path.into() }, "{content}");
        let shown = format!("{scan:?}");
        assert!(!shown.contains(&key[..16]), "a finding holds no part of the credential: {shown}");
    }
}

#[test]
fn a_field_and_its_value_are_read_together() {
    let value = |json: serde_json::Value| {
        let scan = scanner().scan(json.to_string().as_bytes());
        scan.findings.first().map(ToString::to_string)
    };
    let hex = made_of(HEX, 32, 2);
    for (json, expected) in [
        (
            serde_json::json!({"input": {"password": concat!("Gr8-Horse_", "Staple")}}),
            Some("generic-password-field at $.input.password"),
        ),
        (serde_json::json!({"twilio_auth_token": hex}), Some("twilio-auth-token at $.twilio_auth_token")),
        (serde_json::json!({"api_key": hex}), Some("generic-secret-field at $.api_key")),
        (serde_json::json!({"password": {"type": "string", "description": "The password, 12 characters."}}), None),
        (serde_json::json!({"checksum": hex, "password": "", "token": null, "key": "title"}), None),
        (serde_json::json!({"password": ["Gr8-Horse_Staple"]}), None),
    ] {
        assert_eq!(value(json.clone()).as_deref(), expected, "{json}");
    }
}

#[test]
fn images_signatures_and_ids_pass() {
    let blob = |length| made_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", length, 4);
    let body = serde_json::json!({
        "model": "claude-sonnet-4-5-20250929",
        "system": [{"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": blob(20_000)}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": blob(100)}},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", blob(120))}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": blob(200)},
                {"type": "tool_use", "id": "srvtoolu_01WYG3ziw53XMcoyKL4XcZmE", "name": "read", "input": {"path": "/a/b"}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_vrtx_01A09q90qw90lq917835lq9xYz",
                "content": "let id = uuid!(\"123e4567-e89b-12d3-a456-426614174000\");\n"}]},
        ],
    });
    let scan = scanner().scan(body.to_string().as_bytes());
    assert!(scan.is_clean(), "{scan:?}");
}

#[test]
fn the_operators_own_patterns_come_first() {
    let config = SecretScanConfig {
        extra_patterns: vec![
            ExtraPattern { name: "acme-key".into(), prefix: "acme$".into() },
            ExtraPattern { name: "acme-model-key".into(), prefix: "sk-acme".into() },
        ],
        entropy: EntropyConfig { enabled: false, ..EntropyConfig::default() },
        ..SecretScanConfig::default()
    };
    let scanner = SecretScanner::new(&config).unwrap();
    let first = |text: &str| scanner.scan(text.as_bytes()).findings.first().map(|finding| finding.pattern.clone());
    assert_eq!(first("x acme$abcd1234").as_deref(), Some("acme-key"));
    assert_eq!(first("x acme$abc"), None);
    assert_eq!(first("sk-acmeabcd1234").as_deref(), Some("acme-model-key"));
    // The longer anchor does not hide what the shorter would find.
    assert_eq!(first(&format!("sk-acme{}", made_of("abc1def2", 7, 0))), None);
    assert_eq!(first(&format!("sk-acme.{}", made_of(BASE62, 4, 0))), None);
    assert_eq!(first(&format!("?key={}", made_of(BASE62, 40, 9))), None, "the entropy rule is off");
}

#[test]
fn a_conversation_that_was_clean_is_looked_through_where_it_changed() {
    let scanner = scanner();
    let prose = "We met on Thursday, and the figures were read out once more. ".repeat(40);
    let key = format!("ghp_{}", made_of(BASE62, 36, 4));
    let random = format!("{prose} /v1?key={}", made_of(BASE62, 40, 9));
    let scan = |messages: &[(&str, &str)]| {
        let parts: Vec<_> = messages.iter().map(|(field, text)| serde_json::json!({*field: *text})).collect();
        scanner.scan(&serde_json::to_vec(&serde_json::json!({ "messages": parts })).unwrap())
    };
    let paths = |scan: &Scan| scan.findings.iter().map(|finding| finding.path.clone()).collect::<Vec<_>>();
    let is_known = |text: &str| {
        let cleared = scanner.cleared.get().expect("something was scanned");
        cleared.is_clean(cleared.mark(text.as_bytes(), 1).expect("it is long enough"))
    };
    assert!(scan(&[("content", &prose)]).is_clean());
    assert!(is_known(&prose));
    assert!(scan(&[("content", &prose), ("content", &prose)]).is_clean());
    // The same text with a credential in it is another, wherever it stands and however often it was sent.
    for at in [0, prose.len() / 2, prose.len()] {
        let leaked = format!("{} {key} {}", &prose[..at], &prose[at..]);
        for _ in 0..3 {
            assert_eq!(paths(&scan(&[("content", &prose), ("content", &leaked)])), ["$.messages[1].content"]);
            assert!(!is_known(&leaked));
        }
    }
    // What passes where only forms count is flagged where the distribution does.
    for _ in 0..2 {
        assert!(scan(&[("signature", &random)]).is_clean());
        assert_eq!(paths(&scan(&[("signature", &random), ("content", &random)])), ["$.messages[1].content"]);
    }
    // What is harmless as a text is none as a password, and may be longer as it is written than as it is read.
    let escaped: String = made_of(BASE62, 200, 12).bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let as_field = |field: &str| scanner.scan(format!(r#"{{"messages":[{{"{field}":"{escaped}"}}]}}"#).as_bytes());
    assert!(as_field("content").is_clean() && is_known(&escaped));
    assert_eq!(paths(&as_field("password")), ["$.messages[0].password"]);
}

#[test]
fn what_is_flagged_can_be_cut_out() {
    let key = format!("ghp_{}", made_of(BASE62, 36, 1));
    let content = Bytes::from(format!("{{\"a\": \"x {key}\", \"b\": [\"{key}\"], \"c\": \"fine\"}}"));
    let scan = scanner().scan(&content);
    assert_eq!(scan.findings.len(), 2);
    assert_eq!(redact(&content, &scan.flagged), r#"{"a": "[redacted]", "b": ["[redacted]"], "c": "fine"}"#.as_bytes());

    let many = format!("[{}]", vec![format!("\"{key}\""); 100].join(","));
    let scan = scanner().scan(many.as_bytes());
    assert_eq!((scan.findings.len(), scan.flagged.len()), (16, 100));
}

/// Each of these would take minutes if any step were quadratic. The limit is generous, as tests run unoptimised and beside
/// others.
#[test]
fn hostile_input_takes_linear_time() {
    let repeat = |text: &str| text.repeat((1 << 18) / text.len());
    let scanner = scanner();
    for text in [
        repeat("a"),
        repeat("-----BEGIN"),
        repeat("-----BEGIN RSA "),
        repeat("sk-"),
        repeat("sk-ant-"),
        repeat("glpat-"),
        repeat("xoxb-"),
        repeat("-eyJ"),
        repeat(".eyJaaaaaaaa"),
        repeat("eyJaaaaaaaa."),
        repeat("password"),
        repeat("password="),
        repeat("secret "),
        repeat("SECRET_"),
        repeat("postgres://"),
        repeat("-----BEGIN PRIVATE KEY-----"),
        repeat("-----BEGIN PRIVATE KEY-----\nMIIE"),
        repeat(concat!("eyJhbGciOiJSUzI1NiJ9", ".eyJzdWIiOiIxIn0.aaaaaaaaaaaaaaaaaaaa ")),
        repeat("postgres://a:"),
        repeat("key-"),
        repeat("aB3"),
        repeat("Ab3cD4eF5gH6iJ7kL8mN9oP0qR1sT2u "),
        repeat("Ab3cD4eF5gH6iJ7kL8mN9oP0qR1sT2uVwXyZ0123\n"),
        repeat("\\"),
        repeat("\\u"),
        repeat("\""),
        repeat("["),
        repeat("{\"a\":"),
        repeat("{\"a\":["),
    ] {
        for content in [text.clone(), serde_json::to_string(&text).unwrap(), format!("[\"{text}\"]")] {
            let started = std::time::Instant::now();
            scanner.scan(content.as_bytes());
            let took = started.elapsed();
            assert!(took.as_secs() < 5, "{} took {took:?}", &content[..content.len().min(40)]);
        }
    }
}

#[test]
fn what_only_warns_hides_nothing_that_refuses() {
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJ{}.{}", made_of(BASE62, 40, 1), made_of(BASE62, 43, 2));
    let key = format!("ghp_{}", made_of(BASE62, 36, 1));
    let random = format!("https://api.acme.com/v1?key={}", made_of(BASE62, 40, 9));
    let scan = |warn_only: &[&str], mode, text: &str| {
        let config = SecretScanConfig {
            warn_only: warn_only.iter().map(|&id| id.to_owned()).collect(),
            entropy: EntropyConfig { mode, ..EntropyConfig::default() },
            ..SecretScanConfig::default()
        };
        let json = serde_json::json!({"messages": [{"content": text}]}).to_string();
        let scan = SecretScanner::new(&config).unwrap().scan(json.as_bytes());
        let patterns: Vec<String> = scan.findings.into_iter().map(|finding| finding.pattern).collect();
        (scan.refuses, patterns.join(", "))
    };
    let told = |refuses, pattern: &str| (refuses, pattern.to_owned());
    let (warn, enforce) = (PolicyMode::Warn, PolicyMode::Enforce);
    assert_eq!(scan(&[], warn, &random), told(false, HIGH_ENTROPY_TOKEN));
    assert_eq!(scan(&[], enforce, &random), told(true, HIGH_ENTROPY_TOKEN));
    assert_eq!(scan(&[], warn, &jwt), told(true, "jwt-raw"));
    assert_eq!(scan(&["jwt-raw"], warn, &jwt), told(false, "jwt-raw"));
    assert_eq!(scan(&["jwt-raw"], warn, &format!("{jwt} {key}")), told(true, "github-token-classic"));
    assert_eq!(scan(&["jwt-raw"], enforce, &format!("{jwt} {random}")), told(true, HIGH_ENTROPY_TOKEN));
    assert_eq!(scan(&["jwt-raw"], warn, &format!("{jwt} {random}")), told(false, "jwt-raw"));

    // Also in another string, and after more of them than are told.
    let many = serde_json::json!({"token": vec![random; 40], "last": key}).to_string();
    let scan = scanner().scan(many.as_bytes());
    assert!(scan.refuses);
    assert_eq!(scan.findings, [Finding { pattern: "github-token-classic".into(), path: "$.last".into() }]);
    assert_eq!(scan.flagged.len(), 41);
}

#[test]
fn the_credential_an_mcp_server_is_given_passes_and_is_not_kept() {
    let key = format!("ghp_{}", made_of(BASE62, 36, 1));
    let body = serde_json::json!({
        "mcp_servers": [
            {"type": "url", "url": "https://mcp.example.com", "name": "a", "authorization_token": key},
            {"type": "url", "url": "https://mcp.example.com", "name": "b", "authorization_token": "short"},
        ],
        "messages": [{"role": "user", "content": "hello"}],
    });
    let content = Bytes::from(body.to_string());
    let scan = scanner().scan(&content);
    assert!(scan.is_clean(), "{scan:?}");
    let kept = redact(&content, &entrusted(&content));
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["mcp_servers"][0]["authorization_token"], REDACTED);
    assert_eq!(kept["mcp_servers"][1]["authorization_token"], REDACTED);
    assert_eq!(kept["messages"], body["messages"]);

    // Anywhere else the same field is a leak.
    let elsewhere = serde_json::json!({"messages": [{"mcp_servers": [{"authorization_token": key}]}], "x": {
        "mcp_servers": [{"authorization_token": key}]}});
    let scan = scanner().scan(elsewhere.to_string().as_bytes());
    assert_eq!(scan.findings.len(), 2);
    assert!(entrusted(elsewhere.to_string().as_bytes()).is_empty());
    // And it hides nothing beside it.
    let both = serde_json::json!({"mcp_servers": [{"authorization_token": key, "name": key}]});
    assert_eq!(scanner().scan(both.to_string().as_bytes()).findings[0].path, "$.mcp_servers[0].name");
}

#[test]
fn what_is_written_on_to_a_real_key_excuses_nothing() {
    let a = |length| made_of(BASE62, length, 1);
    for text in [
        format!("ghp_{}_EXAMPLE", a(36)),
        format!("ghp_{}-sample", a(36)),
        format!("ghp_{}_xxxxxx", a(36)),
        format!("ghp_{}aaaaaaaa", a(36)),
        format!("sk-ant-api03-{}-example", a(40)),
        format!("sk-ant-api03-{}_dummy", a(93)),
        format!("sk-ant-api03-aaaaaaaa{}", a(93)),
        format!("sk-proj-{}-redacted", a(40)),
        format!("sk_live_{}00000000", a(24)),
        format!("AKIA{}_EXAMPLE", made_of("ABC2DEF3GHI4JKL5MNO6PQR7", 16, 3)),
        format!("glpat-{}-example", a(20)),
        format!("SG.{}.{}-example", a(22), a(43)),
        format!("token_ghp_{}", a(36)),
        format!("\\nghp_{}", a(36)),
        format!("?q=x%3Dghp_{}", a(36)),
    ] {
        assert!(found_in(&scanner(), &text).is_some(), "{text}");
    }
}

#[test]
fn what_is_no_secret_passes() {
    let hex = made_of(HEX, 32, 2);
    let random = made_of(BASE62, 39, 5);
    for text in [
        ["ghp", "_16C7e42F292c6912E7710c838347Ae178B4a"].concat(),
        ["ghu", "_16C7e42F292c6912E7710c838347Ae178B4a"].concat(),
        ["xoxb", "-1234-56789abcdefghijklmnop"].concat(),
        ["sk-", "proj-1234567890abcdefghij"].concat(),
        ["sk-", "ant-api03-test-key-1234567890"].concat(),
        ["glpat", "-abcdefghij1234567890"].concat(),
        ["SG", ".ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr"].concat(),
        ["sk_live", "_0000000000000000"].concat(),
        "TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef".into(),
        "TWILIO_AUTH_TOKEN=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into(),
        "HEROKU_API_KEY=12345678-1234-1234-1234-123456789012".into(),
        "HEROKU_API_KEY=00000000-0000-0000-0000-000000000000".into(),
        format!("HRKU-{}", "xxxxxxxx-".repeat(5)),
        format!("sp-live-{}.{}", "0".repeat(12), "0".repeat(52)),
        format!("sp-live-{}.{}", "0123456789ab", "0123456789abcdef".repeat(4).get(..52).unwrap()),
        format!("cached as key-{hex} and sk-{hex}"),
        format!("VITE_API_KEY=\"{random}\""),
        format!("REACT_APP_API_KEY={random}\n"),
        format!("docsearch({{ appId: 'R2IYF7ETH7', apiKey: '{hex}', indexName: 'docs' }})"),
        format!("X-Amz-Credential=AKIA{}%2F20250101%2Feu", made_of("ABC2DEF3GHI4JKL5", 16, 3)),
        format!("Credential=ASIA{}/20250101/eu", made_of("ABC2DEF3GHI4JKL5", 16, 3)),
        "password = \"Passw0rd!\"".into(),
        "password = \"P@ssw0rd123!\"".into(),
        "password: \"Abcd1234!\"".into(),
        "POSTGRES_PASSWORD=Postgres1!\n".into(),
        "password = \"$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW\"".into(),
        "password: \"pbkdf2_sha256$260000$Xk29PqLvT77a$bGVuZ3Ro\"".into(),
        "secret: \"scrypt:32768:8:1$Xk29PqLvT77aQ1\"".into(),
        "api_key = \"a1b2c3d4e5f6a7b8c9d0e1f2\"".into(),
        "secret_key: \"kv/data/team1/app2/x3Y4z5\"".into(),
    ] {
        let scan = scanner().scan(format!("note: {text}").as_bytes());
        assert!(!scan.refuses, "{text}: {scan:?}");
    }
    for text in [format!("REPUBLIC_API_KEY=\"{random}\""), format!("apiKey: '{random}'")] {
        assert!(found_in(&scanner(), &text).is_some(), "{text}");
    }
}

#[test]
fn what_stands_in_web_pages_and_tests_only_warns() {
    let map = format!("AIza{}", made_of(BASE62, 35, 1));
    let test = format!("sk_test_{}", made_of(BASE62, 24, 1));
    let strict =
        SecretScanner::new(&SecretScanConfig { warn_only: Vec::new(), ..SecretScanConfig::default() }).unwrap();
    for text in [map, test] {
        let scan = scanner().scan(text.as_bytes());
        assert!(!scan.refuses && !scan.is_clean(), "{text}");
        assert!(strict.scan(text.as_bytes()).refuses, "{text}");
    }
}

#[test]
fn the_credential_of_an_mcp_tool_passes_and_is_not_kept() {
    let key = format!("ghp_{}", made_of(BASE62, 36, 1));
    let body = serde_json::json!({"input": "hello", "tools": [
        {"type": "mcp", "server_url": "https://mcp.acme.com", "authorization": key},
        {"type": "mcp", "server_url": "https://mcp.acme.com", "headers": {"Authorization": format!("Bearer {key}")}},
    ]});
    let content = Bytes::from(body.to_string());
    let scan = scanner().scan(&content);
    assert!(scan.is_clean(), "{scan:?}");
    let kept: serde_json::Value = serde_json::from_slice(&redact(&content, &entrusted(&content))).unwrap();
    assert_eq!(kept["tools"][0]["authorization"], REDACTED);
    assert_eq!(kept["tools"][1]["headers"]["Authorization"], REDACTED);

    let other = serde_json::json!({"tools": [{"type": "function", "authorization": key}]}).to_string();
    assert!(scanner().scan(other.as_bytes()).refuses);
}

#[test]
fn a_misspelt_pattern_is_named_with_the_right_one() {
    let config = SecretScanConfig {
        extra_patterns: vec![ExtraPattern { name: "acme-key".into(), prefix: "acme$".into() }],
        deny: vec!["jwt_rwa".to_owned(), "jwt-raw".to_owned()],
        warn_only: ["jwt-raw", "acme-key", "jwt_rwa", "nonsense-of-mine", HIGH_ENTROPY_TOKEN].map(str::to_owned).into(),
        ..SecretScanConfig::default()
    };
    let unknown = unknown_patterns(&config);
    let places: Vec<&str> = unknown.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(places, ["warn_only/2", "warn_only/3", "warn_only/4", "deny/0"]);
    assert!(unknown[0].1.contains("did you mean `jwt-raw`?"), "{unknown:?}");
    assert!(unknown[1].1.contains("secret-rules.md"), "{unknown:?}");
    assert!(unknown[2].1.contains("entropy.mode"), "{unknown:?}");
}

#[test]
fn the_documented_list_of_opaque_fields_is_the_one_in_force() {
    let page = include_str!("../../../../docs/concepts/the-gate.md");
    for field in OPAQUE {
        assert!(page.contains(&format!("`{field}`")), "docs/concepts/the-gate.md does not name `{field}`");
    }
}
