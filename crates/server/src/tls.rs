//! TLS in the listener, for installations without a proxy that does it (`server.tls`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use systemprompt_config::profile::Tls;
use tokio_rustls::TlsAcceptor;

/// Why the certificate of `server.tls` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with the chain cannot be read.
    #[error("server.tls.cert_path: {} has no certificates in PEM", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file with the key cannot be read.
    #[error("server.tls.key_path: {} has no private key in PEM", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// They do not go together, or TLS cannot be spoken with them.
    #[error("server.tls: {} and {} cannot be used", .certificate.display(), .key.display())]
    Pair {
        /// The file with the chain.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// Speaks TLS 1.2 and 1.3 with this certificate, and HTTP/2 to clients that know it.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let certificates =
        certificates(&tls.cert_path).map_err(|source| TlsError::Certificate { path: tls.cert_path.clone(), source })?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_path)
        .map_err(|source| TlsError::Key { path: tls.key_path.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|source| TlsError::Pair { certificate: tls.cert_path.clone(), key: tls.key_path.clone(), source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::listener::{Limits, Listener};

    struct Files {
        directory: TempDir,
        certificate: CertificateDer<'static>,
    }

    impl Files {
        fn new() -> Self {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            let directory = TempDir::new().expect("a directory");
            std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).expect("writable");
            std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).expect("writable");
            Self { directory, certificate: made.cert.der().clone() }
        }

        fn tls(&self) -> Tls {
            let path = |name: &str| self.directory.path().join(name);
            Tls { cert_path: path("cert.pem"), key_path: path("key.pem") }
        }

        fn client(&self, protocol: &str) -> TlsConnector {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).expect("a certificate");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            TlsConnector::from(Arc::new(config))
        }
    }

    async fn serve(tls: &Tls) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let router = Router::new().route("/", get(async || "hello"));
        Listener::start(listener, router, &Limits::default(), Some(acceptor(tls).expect("a good pair")))
            .expect("serves")
    }

    #[tokio::test]
    async fn requests_come_through_tls() {
        let files = Files::new();
        let listener = serve(&files.tls()).await;
        let connect = async |protocol: &str| {
            let stream = TcpStream::connect(listener.address).await.expect("connects");
            let name = ServerName::try_from("localhost").expect("a name");
            files.client(protocol).connect(name, stream).await.expect("agrees")
        };
        assert_eq!(connect("h2").await.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut stream = connect("http/1.1").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the end is announced");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");

        let mut plain = TcpStream::connect(listener.address).await.expect("connects");
        plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("writes");
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "nothing is said in the clear");
        assert_eq!(listener.drain(Duration::from_secs(10), || {}).await, 0);
    }

    #[tokio::test]
    async fn a_client_that_never_greets_does_not_delay_the_end() {
        let files = Files::new();
        let listener = serve(&files.tls()).await;
        let silent = TcpStream::connect(listener.address).await.expect("connects");
        // One that was accepted later is served already.
        let later = TcpStream::connect(listener.address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        files.client("h2").connect(name, later).await.expect("agrees");
        assert_eq!(listener.drain(Duration::from_mins(1), || {}).await, 0);
        drop(silent);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file() {
        let (files, other) = (Files::new(), Files::new());
        let said = |tls: &Tls| {
            let error = acceptor(tls).err().expect("is refused");
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {source}").replace(&files.directory.path().display().to_string(), "DIR")
        };
        let sound = files.tls();
        let nowhere = files.directory.path().join("none.pem");
        for (tls, expected) in [
            (Tls { cert_path: nowhere.clone(), ..sound.clone() }, "server.tls.cert_path: DIR/none.pem has no cert"),
            (Tls { key_path: nowhere, ..sound.clone() }, "server.tls.key_path: DIR/none.pem has no private key"),
            (
                Tls { cert_path: sound.key_path.clone(), ..sound.clone() },
                "server.tls.cert_path: DIR/key.pem has no cert",
            ),
            (
                Tls { key_path: sound.cert_path.clone(), ..sound.clone() },
                "server.tls.key_path: DIR/cert.pem has no priv",
            ),
            (Tls { key_path: other.tls().key_path, ..sound.clone() }, "server.tls: DIR/cert.pem and "),
        ] {
            let said = said(&tls);
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
