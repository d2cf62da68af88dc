//! Places of credentials that no rule of one vendor knows: command lines, files of users, settings whose parent says what
//! they are.

use crate::{Options, Scanner};

/// What is found in a text as it is and as the result of a tool.
fn found(scanner: &Scanner, text: &str) -> [Vec<String>; 2] {
    [text.to_owned(), serde_json::json!({"messages": [{"content": text}]}).to_string()].map(|body| {
        let found = scanner.scan(body.as_bytes());
        found.iter().filter(|found| found.rule.acts).map(|found| found.value.expose().to_owned()).collect()
    })
}

#[test]
fn passwords_are_found_on_command_lines_of_all_kinds() {
    let scanner = Scanner::new(&Options::default());
    let password = ["xK9#mP2", "vLq8"].concat();
    let key = ["kT4pQ8sLw0", "xV7nB3mZ9r"].concat();
    for text in [
        "sqlplus app/{}@db.acme.com:1521/shop",
        "sqlplus -S \"app/{}@shop\"",
        "sqlldr userid=app/{} control=load.ctl",
        "expdp app/{}@shop directory=dump",
        "rman target sys/{}@shop",
        "net use \\\\nas\\share /user:acme\\ann {}",
        "net use Z: \\\\nas\\share {} /user:ann /persistent:yes",
        "NET USE * \\\\nas\\share /USER:ann \"{}\"",
        "net user ann {} /add",
        "cmdkey /add:nas /user:ann /pass:{}",
        "sqlcmd -S db.acme.com -U sa -P {} -Q 'select 1'",
        "bcp shop.orders out orders.dat -S db -U sa -P '{}'",
        "ldapsearch -x -D cn=admin,dc=acme -w {} -b dc=acme",
        "smbclient //nas/share -U 'ann%{}'",
        "xfreerdp /v:pc1 /u:ann /p:{}",
        "openssl pkcs12 -in a.p12 -passin pass:{} -out a.pem",
        "zip -P {} out.zip a.txt",
        "echo 'root:{}' | chpasswd",
        "db.acme.com:5432:shop:app:{}",
        "[smtp.acme.com]:587 alerts@acme.com:{}",
    ] {
        let text = text.replace("{}", &password);
        for found in found(&scanner, &text) {
            assert_eq!(found, [password.as_str()], "{text}");
        }
    }
    for text in ["curl -u {}: https://api.acme.com", "curl -u {}:X https://acme.freshdesk.com/api/v2/tickets"] {
        let text = text.replace("{}", &key);
        for found in found(&scanner, &text) {
            assert_eq!(found, [key.as_str()], "{text}");
        }
    }
}

#[test]
fn what_a_setting_stands_in_says_whose_it_is() {
    let scanner = Scanner::new(&Options::default());
    let key = ["kT4pQ8sLw0", "xV7nB3mZ9r", "C5hD1jF6gY2a"].concat();
    for text in [
        "{\"Jwt\": {\"Issuer\": \"acme\", \"Key\": \"{}\"}}",
        "{\"Jwt:Key\": \"{}\"}",
        "Jwt__Key={}",
        "jwt:\n  issuer: acme\n  key: {}\n",
        "[jwt]\nissuer = \"acme\"\nkey = \"{}\"\n",
        "jwt {\n  issuer = \"acme\"\n  key = \"{}\"\n}",
        "{\"Encryption\": {\"Key\": \"{}\"}}",
        "{\"db_password\": {\"value\": \"{}\"}}",
        "db_password:\n  value: {}\n",
        "{\"outputs\": {\"api_token\": {\"sensitive\": true, \"value\": \"{}\"}}}",
        "{\"headers\": [{\"name\": \"X-Api-Key\", \"value\": \"{}\"}]}",
        "{\"auth0\": {\"client_id\": \"a\", \"client_secret\": \"{}\"}}",
    ] {
        let text = text.replace("{}", &key);
        for found in found(&scanner, &text) {
            assert_eq!(found, [key.as_str()], "{text}");
        }
    }
    let uuid = "1a2b3c4d-5e6f-4708-91a2-b3c4d5e6f708";
    for text in ["{\"scaleway\": {\"access_key\": \"SCW\", \"secret_key\": \"{}\"}}", "snyk:\n  token: {}\n"] {
        let text = text.replace("{}", uuid);
        for found in found(&scanner, &text) {
            assert_eq!(found, [uuid], "{text}");
        }
    }
    for text in [
        "{\"Object\": {\"Bucket\": \"b\", \"Key\": \"{}\"}}",
        "{\"cache\": {\"key\": \"{}\"}}",
        "{\"public\": {\"key\": \"{}\"}}",
        "cache:\n  key: {}\n",
        "[partition]\nkey = \"{}\"\n",
        "{\"name\": \"etag\", \"value\": \"{}\"}",
        "{\"page\": {\"cursor\": {\"value\": \"{}\"}}}",
        "checksum/secret: {}",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:{}",
        "layer with key {} exists",
    ] {
        let text = text.replace("{}", &key);
        for found in found(&scanner, &text) {
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }
}

#[test]
fn commands_without_a_password_pass() {
    let scanner = Scanner::new(&Options::default());
    for text in [
        "sqlplus / as sysdba",
        "sqlplus app/$PASSWORD@db",
        "sqlplus -S /nolog @build/report2.sql",
        "net use",
        "net use Z: \\\\nas\\share2 /persistent:yes",
        "net use Z: \\\\nas\\share /user:ann *",
        "the net use of energy2 in 2026, /user:x",
        "sqlcmd -S db -U sa -P $(SA_PASSWORD)",
        "ssh -p 2222 me@host -w 0:1",
        "smbclient //nas/share -U ann",
        "git push -u origin feature/x9-token2",
        "nmap -P 10.0.0.1-255",
        "localhost:5432:5432",
        "ports: \"127.0.0.1:5432:5432/tcp\"",
        "curl -u $KEY: https://api.acme.com",
        "openssl rsa -passin pass:$PASS -in a.pem",
        "test pass: 12 of 14, bypass:Xk92mPqL8v",
        "passwd --stdin, chpasswd: reads name:password lines",
    ] {
        for found in found(&scanner, text) {
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }
}
