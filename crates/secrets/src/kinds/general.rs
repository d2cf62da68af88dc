//! What is recognised by where it stands and what it looks like, whoever issued it.

use super::kind::{Kind, read};

pub(crate) const KINDS: &[Kind] = &[
    read("pem-private-key-rsa", "RSA private key in PEM"),
    read("pem-private-key-ec", "Elliptic curve private key in PEM"),
    read("pem-private-key", "Private key in PEM: PKCS #8, OpenSSH, PGP and others"),
    read("putty-private-key", "PuTTY private key"),
    read("age-secret-key", "age secret key"),
    read("postgres-url-with-password", "Password in a PostgreSQL URL"),
    read("mysql-url-with-password", "Password in a MySQL or MariaDB URL"),
    read("mongodb-srv-url", "Password in a MongoDB URL"),
    read("redis-url-with-auth", "Password in a Redis URL"),
    read("amqp-url-with-password", "Password in the URL of a message broker"),
    read("url-with-password", "Password in a URL"),
    read("connection-string-password", "Password in a connection string"),
    read("command-line-password", "Password on a command line"),
    read("password-line", "Password in a file of users, such as .pgpass"),
    read("netrc-password", "Password in a .netrc file"),
    read("docker-auth", "User and password in a Docker or npm configuration"),
    read("kubernetes-secret", "Value of a Kubernetes Secret"),
    read("password-hash", "Hash of a password in a file of users"),
    read("wordpress-salt", "Key or salt of a WordPress installation"),
    read("generic-password-field", "Field that is called a password"),
    read("generic-secret-field", "Field that is called a secret, a token or a key"),
];
