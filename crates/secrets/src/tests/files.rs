//! The files in which credentials lie around, with made-up ones in them.

use std::collections::BTreeMap;

use crate::samples::{BASE62, made_of};
use crate::{Options, Scanner};

/// What of a file is a credential stands for itself: `${p}` a password, `${s}` a secret of 40 characters, `${h}` one in 32
/// hexadecimal digits.
const FILES: [(&str, &str); 30] = [
    (
        ".env",
        "APP_ENV=production\nDB_PASSWORD=${p}\nexport SECRET_KEY=${s}\nAPI_TOKEN='${h}'\nMAIL_PASSWORD=\"${p}\"\n",
    ),
    (
        "docker-compose.yml",
        "services:\n  db:\n    image: postgres:16\n    environment:\n      POSTGRES_USER: app\n      POSTGRES_PASSWORD: ${p}\n      - MYSQL_ROOT_PASSWORD=${p}\n",
    ),
    ("terraform.tfvars", "region = \"eu-west-1\"\ndb_password = \"${p}\"\napi_token   = \"${s}\"\n"),
    ("variables.tf", "variable \"db_password\" {\n  default = \"${p}\"\n}\n"),
    (
        "settings.py",
        "DATABASES = {'default': {'USER': 'app', 'PASSWORD': '${p}', 'HOST': 'db'}}\nSECRET_KEY = '${s}'\n",
    ),
    ("application.yml", "spring:\n  datasource:\n    username: app\n    password: ${p}\n"),
    ("application.properties", "spring.datasource.username=app\nspring.datasource.password=${p}\njwt.secret=${s}\n"),
    ("wp-config.php", "define('DB_NAME', 'wp');\ndefine('DB_PASSWORD', '${p}');\ndefine( 'DB_PASSWORD', '${p}' );\n"),
    ("kubeconfig", "users:\n- name: admin\n  user:\n    token: ${s}\n    password: ${p}\n"),
    (".netrc", "machine api.acme.com\n  login me\n  password ${p}\n"),
    (".npmrc", "//registry.npmjs.org/:_authToken=${s}\n"),
    (".pypirc", "[pypi]\nusername = me\npassword = ${p}\n"),
    ("pip.conf", "[global]\nindex-url = https://me:${p}@pypi.acme.com/simple\n"),
    ("database.yml", "production:\n  adapter: mysql2\n  password: ${p}\n  secret_key_base: ${h}${h}${h}${h}\n"),
    (
        "config.json",
        "{\n  \"user\": \"app\",\n  \"password\": \"${p}\",\n  \"clientSecret\": \"${s}\",\n  \"apiKey\": \"${h}\"\n}\n",
    ),
    ("appsettings.json", "{\"ConnectionStrings\": {\"Main\": \"Server=db;Database=app;User Id=sa;Password=${p};\"}}"),
    (
        "web.config",
        "<add name=\"Main\" connectionString=\"Data Source=db;User ID=app;Password=${p}\" />\n<add key=\"ApiKey\" value=\"${s}\" />\n",
    ),
    (
        "settings.xml",
        "<server>\n  <id>releases</id>\n  <username>me</username>\n  <password>${p}</password>\n</server>\n",
    ),
    (
        "deploy.sh",
        "#!/bin/sh\nmysql -u root -p${p} app\nsshpass -p '${p}' ssh me@host\ncurl -u me:${p} https://api.acme.com\ndocker login -u me -p ${p}\n",
    ),
    ("Dockerfile", "FROM debian\nENV API_TOKEN=${s}\nARG DB_PASSWORD=${p}\n"),
    ("deployment.yaml", "env:\n- name: DB_PASSWORD\n  value: \"${p}\"\n- name: API_SECRET\n  value: ${s}\n"),
    ("celery.py", "broker = 'amqp://app:${p}@rabbit.acme.com:5672//'\nbackend = \"redis://:${p}@cache.acme.com/0\"\n"),
    ("main.go", "const apiKey = \"${s}\"\nvar dbPassword string = \"${p}\"\nclient.SetAuthToken(\"${s}\")\n"),
    (
        "client.ts",
        "const client = new Client({ apiKey: '${s}', password: \"${p}\" });\nheaders: { 'X-Api-Key': '${h}' }\n",
    ),
    ("schema.sql", "CREATE USER app WITH PASSWORD '${p}';\nALTER USER root IDENTIFIED BY '${p}';\n"),
    ("redis.conf", "requirepass ${p}\nmasterauth ${p}\n"),
    ("deploy.ps1", "$password = ConvertTo-SecureString '${p}' -AsPlainText -Force\n$env:API_KEY = \"${h}\"\n"),
    ("Client.java", "DriverManager.getConnection(url, \"app\", \"${p}\");\nreq.SetBasicAuth(\"svc\", \"${p}\");\n"),
    ("mail.txt", "The API key is ${s}, please rotate it.\nLogin as admin, the password: ${p}\n"),
    ("config.js", "module.exports = { db: { user: 'app', pass: '${p}' }, wifi: { psk: \"${p}\" } };\n"),
];

#[test]
fn credentials_are_found_in_the_files_they_lie_around_in() {
    check(&FILES, 93);
}

/// Asserts that of a hundred credentials in `files` so many are found at least.
pub(super) fn check(files: &[(&str, &str)], least: usize) {
    let scanner = Scanner::new(&Options::default());
    let (mut found, mut all) = (0, 0);
    let mut missed: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for salt in 1..=40 {
        for &(name, file) in files {
            let (mut text, mut secrets) = (String::new(), Vec::new());
            let mut parts = file.split("${");
            text.push_str(parts.next().unwrap_or_default());
            for (index, part) in parts.enumerate() {
                let (kind, rest) = part.split_once('}').expect("marks come in pairs");
                let salt = salt * 1000 + index as u64;
                let secret = match kind {
                    "p" => format!(
                        "{}{}{}",
                        made_of(BASE62, 7, salt),
                        ["!", "", "#", "-", ""][index % 5],
                        made_of(BASE62, 6, salt + 500)
                    ),
                    "s" => made_of(BASE62, 40, salt),
                    _ => made_of("0123456789abcdef", 32, salt),
                };
                text.push_str(&secret);
                text.push_str(rest);
                secrets.push(secret);
            }
            for body in [text.clone(), serde_json::json!({"messages": [{"content": text}]}).to_string()] {
                let values: Vec<String> =
                    scanner.scan(body.as_bytes()).iter().map(|found| found.value.expose().to_owned()).collect();
                for (index, secret) in secrets.iter().enumerate() {
                    all += 1;
                    if values.iter().any(|value| value.contains(secret.as_str())) {
                        found += 1;
                    } else {
                        *missed.entry((name, index)).or_insert(0) += 1;
                    }
                }
            }
        }
    }
    let told: Vec<String> =
        missed.iter().map(|((name, index), times)| format!("{times:>3} {name}, the {}.", index + 1)).collect();
    println!("{found} of {all}\n{}", told.join("\n"));
    assert!(found * 100 >= all * least, "{found} of {all}\n{}", told.join("\n"));
}
