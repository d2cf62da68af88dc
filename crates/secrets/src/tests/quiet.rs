//! Sources, settings and sessions in which there is nothing to find.

use crate::{Options, Scanner};

const TEXTS: [&str; 62] = [
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
];

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
