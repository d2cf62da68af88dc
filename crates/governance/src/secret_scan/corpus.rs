//! What an ordinary coding session is full of, which must pass, and what leaks in one, which must not.

use serde_json::json;

use super::tests::{BASE62, JWT_IO, made_of};
use super::*;

const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE32: &str = "abcdefghijklmnopqrstuvwxyz234567";
const HEX: &str = "0123456789abcdef";

fn scanner() -> SecretScanner {
    SecretScanner::new(&SecretScanConfig::default()).expect("the defaults are valid")
}

/// A conversation in which a tool gave `text`, in both dialects.
fn conversations(text: &str) -> [String; 2] {
    let anthropic = json!({"model": "m", "max_tokens": 10, "messages": [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01", "name": "read", "input": {"path": "x"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": text}]},
    ]});
    let openai = json!({"model": "m", "messages": [
        {"role": "user", "content": "read it"},
        {"role": "tool", "tool_call_id": "call_1", "content": text},
    ]});
    [anthropic.to_string(), openai.to_string()]
}

/// Random parts are another for each `salt`.
fn ordinary(salt: u64) -> Vec<(&'static str, String)> {
    let made = |alphabet: &str, length, part: u64| made_of(alphabet, length, salt * 100 + part);
    vec![
        (
            "grep output",
            "ssh.py:52:_SK_START = b\"-----BEGIN OPENSSH PRIVATE KEY-----\"\n\
             ssh.py:53:_SK_END = b\"-----END OPENSSH PRIVATE KEY-----\"\n\
             ssh.py:59:_PEM_RC = re.compile(_SK_START + b\"(.*?)\" + _SK_END, re.DOTALL)\n\
             src/keys.rs:8:    const HEADER: &str = \"-----BEGIN PRIVATE KEY-----\";\n\
             src/keys.rs:9:    assert!(text.starts_with(HEADER), \"not a key: {text}\");\n\
             tests/test_pem.py:12:    with pytest.raises(ValueError, match=\"BEGIN RSA PRIVATE KEY-----\"):\n\
             docs/keys.md:30:-----BEGIN EC PRIVATE KEY-----\ndocs/keys.md:31-<base64 of your key>\n"
                .into(),
        ),
        (
            "lock files",
            format!(
                "\"node_modules/left-pad\": {{\n  \"version\": \"1.3.0\",\n  \"integrity\": \"sha512-{}==\",\n  \"license\": \"WTFPL\"\n}}\n\
                 [[package]]\nname = \"serde\"\nversion = \"1.0.200\"\nchecksum = \"{}\"\n\
                 golang.org/x/crypto v0.21.0 h1:{}=\n\
                 \"lodash@npm:^4.17.21\":\n  checksum: 10c0/{}\n\
                 idna==3.6 --hash=sha256:{} \\\n    --hash=sha256:{}\n\
                 resolution: {{integrity: sha512-{}==}}\n",
                made(BASE64, 86, 1),
                made(HEX, 64, 2),
                made(BASE64, 43, 3),
                made(HEX, 128, 4),
                made(HEX, 64, 5),
                made(HEX, 64, 6),
                made(BASE64, 86, 7)
            ),
        ),
        (
            "an HTTP dump",
            format!(
                "< HTTP/2 200\n< content-type: text/html\n< etag: \"{}\"\n< x-amz-cf-id: {}==\n< x-amz-cf-pop: FRA56-P6\n\
                 < x-amz-id-2: {}=\n< x-amz-request-id: {}\n< cf-ray: {}-FRA\n< x-github-request-id: C0DE:{}\n\
                 < report-to: {{\"endpoints\":[{{\"url\":\"https:\\/\\/a.nel.cloudflare.com\\/report\\/v4?s={}\"}}]}}\n\
                 < x-cache-key: {}\n< strict-transport-security: max-age=31536000\n< x-request-id: {}\n\
                 < content-security-policy: script-src 'nonce-{}=='\n< sec-websocket-accept: {}=\n",
                made(BASE62, 32, 1),
                made(BASE64, 54, 2),
                made(BASE64, 75, 3),
                made("ABCDEFGHJKMNPQRSTVWXYZ0123456789", 16, 4),
                made(HEX, 16, 5),
                made(HEX, 30, 6),
                made(BASE62, 90, 7),
                made(BASE62, 40, 8),
                made(BASE62, 36, 9),
                made(BASE64, 22, 10),
                made(BASE64, 27, 11)
            ),
        ),
        (
            "source code with tests",
            format!(
                "def test_login(client):\n    response = client.post('/login', json={{'username': 'alice', 'password': 'password123'}})\n\
                 \x20   assert response.json()['access_token']\n\nSECRET_KEY = 'django-insecure-{}'\n\
                 const token = process.env.GITHUB_TOKEN ?? 'test-token';\nexpect(parse('ghp_{}')).toBe(true);\n\
                 let url = \"postgres://user:password@example.com:5432/db\";\n\
                 DATABASES = {{'default': {{'PASSWORD': os.environ['DB_PASSWORD'], 'USER': 'app'}}}}\n\
                 conn = f\"postgresql://{{user}}:{{password}}@{{host}}/{{db}}\"\n\
                 const jwt = '{JWT_IO}';\nstripe = Stripe('pk_test_{}')\nkey = \"AKIAIOSFODNN7EXAMPLE\"\n\
                 secret = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"\nPassword = \"TestPassword123!\"\n\
                 fn sign(secret: &Secret, key: &SigningKey) -> Result<Signature, Error>\n",
                made(BASE62, 40, 1),
                "x".repeat(36),
                made(BASE62, 99, 2)
            ),
        ),
        (
            ".env.example",
            format!(
                "DATABASE_URL=postgres://postgres:postgres@localhost:5432/app\nREDIS_URL=redis://:changeme@redis:6379/0\n\
                 MONGO_URL=mongodb+srv://<user>:<password>@cluster0.mongodb.net/app\nMYSQL_URL=mysql://root:${{MYSQL_ROOT_PASSWORD}}@db/app\n\
                 SECRET_KEY=change-me-to-something-random\nJWT_SECRET=your-256-bit-secret\nOPENAI_API_KEY=sk-...\n\
                 ANTHROPIC_API_KEY=sk-ant-api03-your-key-goes-here\nSTRIPE_SECRET_KEY=sk_test_xxxxxxxxxxxxxxxxxxxxxxxx\n\
                 NEXT_PUBLIC_STRIPE_PUBLISHABLE_KEY=pk_live_{}\nNEXT_PUBLIC_MAPS_API_KEY={}\nVITE_PUBLIC_POSTHOG_KEY=phc_{}\n\
                 AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n\
                 SLACK_WEBHOOK=https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX\n\
                 GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nSMTP_URL=smtp://user:pass@mail.example.com\n\
                 GITLAB_TOKEN=glpat-xxxxxxxxxxxxxxxxxxxx\nDB_PASSWORD=changeme\nADMIN_PASSWORD=\"<your password>\"\n",
                made(BASE62, 99, 1),
                made(BASE62, 39, 2),
                made(BASE62, 43, 3)
            ),
        ),
        (
            "a CI log",
            format!(
                "##[group]Run actions/checkout@{}\nwith:\n  token: ***\n  ssh-key: \n  persist-credentials: true\n\
                 Cache restored from key: Linux-cargo-{}\nCache key: node-cache-Linux-x64-npm-{}\ncache-key-{}\n\
                 Digest: sha256:{}\nPushed ghcr.io/acme/app@sha256:{}\nArtifact ID is {}\n\
                 https://artifactcache.actions.githubusercontent.com/{}/_apis/artifactcache/caches\n\
                 env:\n  AWS_SECRET_ACCESS_KEY: ***\n  DATABASE_URL: postgres://postgres:postgres@postgres:5432/test\n\
                 Run id: {}\nSubmitted batch job {}\n",
                made(HEX, 40, 1),
                made(HEX, 64, 2),
                made(HEX, 64, 3),
                made(HEX, 32, 4),
                made(HEX, 64, 5),
                made(HEX, 64, 6),
                made("0123456789", 10, 7),
                made(BASE62, 50, 8),
                made(BASE62, 40, 9),
                made("0123456789", 8, 10)
            ),
        ),
        (
            "content ids and public keys",
            format!(
                "ipfs://Qm{}\nbafybei{}\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC{} me@host\n\
                 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} me@host\nage1{}\nSHA256:{} me@host (ED25519)\n\
                 -----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A{}\n{}\n-----END PUBLIC KEY-----\n\
                 -----BEGIN CERTIFICATE-----\nMIID{}\n{}\n-----END CERTIFICATE-----\n\
                 minisign public key RWQ{}\n\"public_key\": \"{}=\"\nx5t#S256: {}\nkid: {}\n",
                made(BASE58, 44, 1),
                made(BASE32, 52, 2),
                made(BASE64, 300, 3),
                made(BASE64, 43, 4),
                made(BASE32, 58, 5),
                made(BASE64, 43, 6),
                made(BASE64, 32, 7),
                made(BASE64, 64, 8),
                made(BASE64, 60, 9),
                made(BASE64, 64, 10),
                made(BASE64, 53, 11),
                made(BASE64, 43, 12),
                made(BASE62, 43, 13),
                made(BASE62, 43, 14)
            ),
        ),
        (
            "ids of services",
            format!(
                "{{\"id\":\"price_{}\",\"customer\":\"cus_{}\",\"next_page_token\":\"{}\",\"arn\":\"arn:aws:iam::123456789012:role/{}\"}}\n\
                 https://docs.google.com/spreadsheets/d/{}/edit\nproj_{} org-{} asst_{} vs_{}\nsession={}; trace 00-{}-{}-01\n\
                 continuationToken: \"{}\"\ncursor=\"{}\"\nIdempotency-Key: {}\n",
                made(BASE62, 24, 1),
                made(BASE62, 14, 2),
                made(BASE62, 80, 3),
                made(BASE62, 32, 4),
                made(BASE62, 44, 5),
                made(BASE62, 24, 6),
                made(BASE62, 24, 7),
                made(BASE62, 24, 8),
                made(BASE62, 24, 9),
                made(BASE62, 40, 10),
                made(HEX, 32, 11),
                made(HEX, 16, 12),
                made(BASE62, 64, 13),
                made(BASE62, 64, 14),
                made(BASE62, 36, 15)
            ),
        ),
    ]
}

#[test]
fn an_ordinary_session_passes() {
    let scanner = scanner();
    for salt in 1..=40 {
        for (what, text) in ordinary(salt) {
            let plain = scanner.scan(format!("note:\n{text}").as_bytes());
            assert!(plain.is_clean(), "{what} ({salt}): {plain:?}\n{text}");
            for body in conversations(&text) {
                let scan = scanner.scan(body.as_bytes());
                assert!(scan.is_clean(), "{what} ({salt}): {scan:?}\n{text}");
            }
            // Line by line, as a search would show it.
            for line in text.lines() {
                let scan = scanner.scan(format!("src/x.txt:12:{line}").as_bytes());
                assert!(scan.is_clean(), "{what} ({salt}): {scan:?}\n{line}");
            }
        }
    }
}

#[test]
fn what_the_apis_carry_passes() {
    let scanner = scanner();
    for salt in 1..=50 {
        let blob = |length, part| made_of(BASE64, length, salt * 100 + part);
        let url = |length, part| {
            made_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", length, salt * 100 + part)
        };
        let mut body = json!({
            "messages": [
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": blob(600, 1)},
                    {"type": "redacted_thinking", "data": blob(900, 2)},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": [
                        {"type": "web_search_result", "encrypted_content": blob(1200, 3), "encrypted_index": blob(200, 4)}]},
                    {"type": "bash_code_execution_tool_result", "content": {"encrypted_stdout": blob(400, 5)}},
                ]},
                {"role": "assistant", "content": "x", "reasoning_opaque": url(700, 6),
                 "reasoning_details": [{"type": "reasoning.encrypted", "data": blob(500, 7), "id": url(40, 8)}],
                 "extra_content": {"google": {"thought_signature": blob(300, 9)}},
                 "tool_calls": [{"id": url(40, 10), "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "user", "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": blob(4000, 11)}},
                    {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", blob(4000, 12))}},
                    {"type": "input_audio", "input_audio": {"format": "wav", "data": blob(4000, 13)}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": blob(4000, 14)}},
                ]},
            ],
            "contents": [{"parts": [{"thoughtSignature": blob(300, 15)}]}],
            "metadata": {"user_id": format!("user_{}_account__session_{}", url(64, 16), url(36, 17))},
        });
        // And every field of the list, with a value that would be a finding under a name of its own.
        for (at, name) in OPAQUE.iter().enumerate() {
            body[*name] = json!(format!("token={}", blob(80, 20 + at as u64)));
        }
        let scan = scanner.scan(body.to_string().as_bytes());
        assert!(scan.is_clean(), "{salt}: {scan:?}");
    }
}

#[test]
fn a_leak_in_an_ordinary_session_is_refused() {
    let scanner = scanner();
    for salt in 1..=40 {
        let made = |alphabet: &str, length, part: u64| made_of(alphabet, length, salt * 100 + part);
        let key = |length, part| made(BASE62, length, part);
        let capitals = |length, part| made("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length, part);
        let claims = format!("{{\"sub\":\"{}\",\"exp\":1999999999}}", key(20, 30));
        let claims = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
        let jwt = format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{claims}.{}", key(43, 31));
        let pem = |kind: &str| {
            format!(
                "-----BEGIN {kind}-----\nMIIE{}\n{}\n{}\n-----END {kind}-----",
                key(60, 32),
                key(64, 33),
                key(20, 34)
            )
        };
        let leaks = [
            ("aws-access-key", format!("aws_access_key_id = AKIA{}", capitals(16, 1))),
            ("github-token-classic", format!("remote: https://x-access-token:ghp_{}@github.com/a/b", key(36, 2))),
            ("github-token-fine-grained", format!("GH_TOKEN=github_pat_{}_{}", key(22, 3), key(59, 4))),
            ("anthropic-api-key", format!("ANTHROPIC_API_KEY=sk-ant-api03-{}AA", key(93, 5))),
            ("openai-api-key", format!("OPENAI_API_KEY='sk-proj-{}'", key(120, 6))),
            ("stripe-secret-key", format!("stripe.api_key = \"sk_live_{}\"", key(99, 7))),
            ("slack-bot-token", format!("token: xoxb-{}-{}", made("123456789", 12, 9), key(24, 10))),
            ("sendgrid-api-key", format!("SG.{}.{}", key(22, 11), key(43, 12))),
            ("jwt-raw", format!("cookie: session={jwt}")),
            ("bearer-token-jwt", format!("> authorization: Bearer {jwt}")),
            ("pem-private-key-rsa", pem("RSA PRIVATE KEY")),
            ("pem-private-key", format!("     1→{}", pem("PRIVATE KEY").replace('\n', "\n     2→"))),
            ("pem-private-key", format!("key.pem:1:{}", pem("OPENSSH PRIVATE KEY").replace('\n', "\nkey.pem:2:"))),
            ("pem-private-key", json!({"private_key": pem("PRIVATE KEY")}).to_string()),
            ("postgres-url-with-password", format!("DATABASE_URL=postgres://app:{}@db.acme.io:5432/app", key(16, 13))),
            ("postgres-url-with-password", format!("POSTGRES://postgres:{}@db.eu.internal/app", key(12, 14))),
            ("redis-url-with-auth", format!("REDIS_URL=rediss://default:{}@cache.acme.io:6379", key(24, 15))),
        ];
        for (pattern, leak) in leaks {
            // After everything ordinary, and with an example of its own kind before it.
            let around: String = ordinary(salt).into_iter().map(|(_, text)| text).collect();
            let text = format!("{around}\n{leak}\n");
            for body in conversations(&text) {
                let scan = scanner.scan(body.as_bytes());
                assert!(scan.refuses, "{pattern} ({salt}) passes: {leak}");
                assert_eq!(scan.findings[0].pattern, pattern, "{leak}");
            }
        }
    }
}
