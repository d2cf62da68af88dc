//! Sources, settings and sessions in which there is nothing to find.

use crate::{Options, Scanner};

const TEXTS: [&str; 102] = [
    "base64_password: bXlfcGFzc3dvcmQ=",
    "access_token=\"9.4f570d14-4b54-42f5-bc07-60f4450b1db5.YmluYXJ5LXNvbWV0aGluZy0xMjMKd2h5IGhlbGxv\"",
    "private_key: \"LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ...\"",
    "--sasl-password='projects/123/secrets/my-secret/versions/1'",
    "password = utf8_to_utf16_dup(v);",
    "image.imageEncryptionKey = kms_utils.MaybeGetKmsKey(\n        args)",
    "disk.blkid token='UUID=6a38ee5-7235-44e7-8b22-816a403bad5d'",
    "gpg.get_secret_key fingerprint=53C96788253E58416D20BCD352952C84C3252192",
    "gpg: using RSA key 5893D81EBBAB143E3F6E3BF15FA8BA2C753B96D7",
    "<clientToken>XqJIt1342112125076</clientToken>",
    "pip/_vendor/version.py,sha256=qaN-fw_htIgKUVXoAuAEVgKxQu3tZ9qE2eiKkWIS7LA,160",
    "https://anonymous:flabada4@developer.mozilla.org/a",
    "cvs://:pserver:anoncvs@sources.redhat.com:/cvs/src",
    "'--privpassphrase':\n  value: $snmpv3_auth_key$",
    "password: string;",
    "let password = get_password()?;",
    "password = os.environ[\"DB_PASSWORD\"]",
    "token: Option<String>,",
    "const token = process.env.GITHUB_TOKEN;",
    "api_key = settings.API_KEY",
    "DB_PASSWORD=${DB_PASSWORD}",
    "DB_PASSWORD=changeme",
    "DB_PASSWORD=your-password-here",
    "password: {{ .Values.db.password }}",
    "password = \"<password>\"",
    "password=hunter",
    "secret_key = SecretKey::generate(&mut rng)",
    "\"password\": \"********\"",
    "API_KEY=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "api_key: \"YOUR_API_KEY_1234567890\"",
    "AKIAIOSFODNN7EXAMPLE",
    "postgres://user:password@localhost/db",
    "https://user:pass@example.com/",
    "token = tokens[index + 1]",
    "if (password.length < 8) throw new Error('too short');",
    "private_key: ed25519.Ed25519PrivateKey,",
    "key_password=certs[0][2],",
    "'ssh2_auth_none',\n'ssh2_auth_password',\n'ssh2_auth_pubkey_file',",
    "Self::CachingSha2Password => \"caching_sha2_password\",",
    "szOID_RSA_challengePwd: &str = \"1.2.840.113549.1.9.7\";",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "checksum = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
    "\"integrity\": \"sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==\"",
    "id: 123e4567-e89b-12d3-a456-426614174000",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@host",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
    "nextPageToken=CAUQAA5x9KqLmPz3vT7wYbN2",
    "csrf_token = \"q7Rt2Xv9Lm4Kp8Zw3Nc6Bd1Hf5Js0Yg2\"",
    "public_key = \"q7Rt2Xv9Lm4Kp8Zw3Nc6Bd1Hf5Js0Yg2\"",
    "{\"type\":\"object\",\"properties\":{\"password\":{\"type\":\"string\",\"description\":\"The password, 12 characters.\"}}}",
    "max_tokens: 4096",
    "tokenizer = AutoTokenizer.from_pretrained(\"bert-base-uncased\")",
    "token_count: 1234567890123456789",
    "secret: \"projects/my-project-123/secrets/database\"",
    "SECRET_KEY_FILE=/run/secrets/secret_key",
    "pass: 12 fail: 0",
    "password_hash = bcrypt.hashpw(password, salt)",
    "PWD=/home/someone/Projects12",
    "use secrecy::{ExposeSecret, SecretString};",
    "curl -u \"$USER:$PASSWORD\" https://api.acme.com",
    "curl -u user:password https://api.acme.com",
    "mysql -u root -p",
    "docker login -u me -p $TOKEN",
    "mkdir -p /var/lib/postgresql/data1",
    "ssh -p 2222 me@host.acme.com",
    "Authorization: Bearer <token>",
    "Authorization: Bearer $ACCESS_TOKEN",
    "Authorization: Basic dXNlcjpwYXNzd29yZA==",
    "secret=SECRET_github-token-classic_0a1b2c3d4e5f6a7b",
    "password: SECRET_generic-password-field_8f3a2b1c9d7e6f50",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "const PASSWORD_MIN_LENGTH = 12;",
    "aws_secret_access_key = var.secret",
    "AccountKey=<your-account-key>;",
    "key: value-of-the-key-1",
    // What a form says in another language.
    "\"password\": \"\\u041f\\u0430\\u0440\\u043e\\u043b\\u044c 123456\"",
    "\"password\": \"Пароль для входа 12\"",
    "\"api_token\": \"API\\u30c8\\u30fc\\u30af\\u30f3\"",
    "\"access_token\": \"K\\u00e4ytt\\u00f6oikeustunnus\"",
    "\"AWS::IAM::AccessKey\": \"72c2d9dd90025459\"",
    "\"quoteToken\": \"0x55d398326f99059fF775485246999027B3197955\"",
    "password: '*EE0D72C1085C46C5278932678FBE2C6A782821B4'",
    "auth_pwd: 'U2FsdGVkX199MZ7YOPkOR9O6wEZmtGSgiDfnlcN9hBg='",
    "privacy_password: Lablab#1234",
    "password: ReallyComplexStuff12345!",
    "Ed25519PrivateKey = ed25519.Ed25519PrivateKey",
    "computeSignature('', 'test_secret') => 'f7f9bd47fb987337b5796fdc1fdb9ba221d0d5396814bfcaf9521f43fd8927fd'",
    "api_key=peWcBiMOS9HrZG15peWcBiMOS9HrZG15",
    "NEED_PASS: \"331 Password required for %s.\"",
    "\"weak-password\": \"The password must be 6 characters long or more.\"",
    "connect(host=None, username=None, password=None):",
    "pub const E_INVALPASSWORD: HRESULT = 0x8004004A_u32 as _;",
    "(\"isAuthKeyEasyPSK\", \"isAuthKeyEasyPSK\"),",
    "AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;",
    "The password is required for every user.",
    "the token is invalid, the key is missing",
    "the api key is read from the environment",
    "identified by '<password>'",
    "auth=(\"user\", \"password\")",
    "requirepass foobared",
    "\"pass\": \"passed\", pass: 12",
];

#[test]
fn a_text_with_escapes_is_read_with_what_is_around() {
    let scanner = Scanner::new(&Options::default());
    let signed = concat!("Credential=", "ASIA8O5N", "RIIV82KMJ07N", "%2F20260101%2Feu-west-1%2Fs3%2Faws4_request");
    for before in 250..340 {
        let text = format!("\\u2026{} {signed}", "word ".repeat(before / 5) + &"x".repeat(before % 5));
        assert!(scanner.scan_text(text.as_bytes()).is_empty(), "{text}");
    }
}

#[test]
fn what_programs_and_sessions_are_full_of_passes() {
    let scanner = Scanner::new(&Options::default());
    let mut wrong = Vec::new();
    for text in TEXTS {
        for body in [
            text.to_owned(),
            format!("a line\n    {text}\nanother"),
            serde_json::json!({"messages": [{"content": text}]}).to_string(),
        ] {
            let found: Vec<String> = scanner
                .scan(body.as_bytes())
                .iter()
                .filter(|found| found.rule.acts)
                .map(|found| found.rule.id.clone())
                .collect();
            if !found.is_empty() {
                wrong.push(format!("{}: {body}", found.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
