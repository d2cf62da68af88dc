//! An SMTP server for tests, on a free port of this machine: it keeps what it takes, and refuses whom it is told to.
#![allow(dead_code, reason = "other crates' tests include this file, and each uses what it needs")]
#![allow(clippy::disallowed_methods, reason = "tests own the tasks they spawn")]

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it does.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// What it protects connections with; it does not without.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether it does so from the first byte, instead of offering STARTTLS.
    pub(crate) wrapped: bool,
    /// The name and the password that it wants.
    pub(crate) credentials: Option<(&'static str, &'static str)>,
    /// How it takes them: `PLAIN LOGIN`.
    pub(crate) mechanisms: &'static str,
    /// What somebody on the way adds in clear text behind its answer to STARTTLS.
    pub(crate) injected: &'static str,
    /// Whether it repeats what it was told when it does not accept credentials.
    pub(crate) repeats: bool,
    /// What it says to credentials that are right.
    pub(crate) welcome: &'static str,
    /// What it says first, instead of a greeting.
    pub(crate) greeting: Option<String>,
    /// After which command it says nothing any more; `.` ends a message, which it has taken then.
    pub(crate) silent_after: &'static str,
    /// After which command it hangs up, in the same way.
    pub(crate) hangs_up_after: &'static str,
}

impl Manners {
    /// Falls silent or hangs up after this command, if those are its manners.
    async fn bear_with(&self, command: &str) -> io::Result<()> {
        if self.silent_after == command {
            pending::<()>().await;
        }
        if self.hangs_up_after == command { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// A message it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Head and body as they came, without the dots added on the way.
    pub(crate) text: String,
    pub(crate) is_protected: bool,
    /// Who had signed in.
    pub(crate) user: Option<String>,
}

impl Letter {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// What it says, with the lines that were cut on the way (RFC 2045, 6.7) whole again.
    pub(crate) fn body(&self) -> String {
        let (_, body) = self.text.split_once("\r\n\r\n").unwrap_or_default();
        body.replace("=\r\n", "").replace("\r\n", "\n")
    }
}

/// The server, until it is dropped.
pub(crate) struct SmtpServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    manners: Manners,
    refused: Mutex<BTreeMap<String, String>>,
    letters: watch::Sender<Vec<Letter>>,
    commands: Mutex<Vec<String>>,
}

impl SmtpServer {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            manners,
            refused: Mutex::default(),
            letters: watch::Sender::default(),
            commands: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (serving, cancel) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = cancel.run_until_cancelled(listener.accept()).await {
                let (serving, cancel) = (Arc::clone(&serving), cancel.clone());
                // Clients that do not like it hang up; the tests look at what they say of that.
                tokio::spawn(async move { cancel.run_until_cancelled(serve(stream, &serving)).await });
            }
        });
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// Answers a recipient with `reply`, such as `550 5.1.1 nobody of this name`; not at all if it is empty.
    pub(crate) fn refuse(&self, recipient: &str, reply: &str) {
        self.shared.refused.lock().expect("no panic").insert(recipient.to_owned(), reply.to_owned());
    }

    /// Takes what is for this recipient again.
    pub(crate) fn allow(&self, recipient: &str) {
        self.shared.refused.lock().expect("no panic").remove(recipient);
    }

    /// What it took.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.shared.letters.borrow().clone()
    }

    /// What it took, once it is so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Letter> {
        let mut letters = self.shared.letters.subscribe();
        letters.wait_for(|letters| letters.len() >= count).await.expect("the server is there").clone()
    }

    /// The first words of what it was told.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().expect("no panic").clone()
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Protect,
    Leave,
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    match &shared.manners.tls {
        Some(tls) if shared.manners.wrapped => {
            let mut stream = BufReader::new(tls.accept(stream).await?);
            say(&mut stream, shared.manners.greeting.as_deref().unwrap_or("220 smtp.test ESMTP\r\n")).await?;
            talk(&mut stream, shared, true).await?;
        }
        tls => {
            let mut stream = BufReader::new(stream);
            say(&mut stream, shared.manners.greeting.as_deref().unwrap_or("220 smtp.test ESMTP\r\n")).await?;
            let next = talk(&mut stream, shared, false).await?;
            if let (Next::Protect, Some(tls)) = (next, tls) {
                talk(&mut BufReader::new(tls.accept(stream.into_inner()).await?), shared, true).await?;
            }
        }
    }
    Ok(())
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    shared: &Shared,
    is_protected: bool,
) -> io::Result<Next> {
    let manners = &shared.manners;
    let (mut user, mut from, mut to) = (None, String::new(), Vec::new());
    loop {
        let line = hear(stream).await?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        shared.commands.lock().expect("no panic").push(verb.to_ascii_uppercase());
        manners.bear_with(&verb.to_ascii_uppercase()).await?;
        match verb.to_ascii_uppercase().as_str() {
            "" => return Ok(Next::Leave),
            "EHLO" => {
                let mut offers = vec!["smtp.test".to_owned()];
                if manners.tls.is_some() && !is_protected {
                    offers.push("STARTTLS".to_owned());
                } else if manners.credentials.is_some() {
                    offers.push(format!("AUTH {}", manners.mechanisms));
                }
                let offers: String = offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
                say(stream, &format!("{offers}250 8BITMIME\r\n")).await?;
            }
            "STARTTLS" if manners.tls.is_some() && !is_protected => {
                say(stream, &format!("220 2.0.0 go ahead\r\n{}", manners.injected)).await?;
                return Ok(Next::Protect);
            }
            "AUTH" => {
                let told = match rest.split_once(' ') {
                    Some(("PLAIN", plain)) => decoded(plain),
                    _ if rest == "LOGIN" => {
                        say(stream, &format!("334 {}\r\n", STANDARD.encode("Username:"))).await?;
                        let username = decoded(&hear(stream).await?);
                        say(stream, &format!("334 {}\r\n", STANDARD.encode("Password:"))).await?;
                        format!("\0{username}\0{}", decoded(&hear(stream).await?))
                    }
                    _ => String::new(),
                };
                let is_known =
                    manners.credentials.filter(|(username, password)| told == format!("\0{username}\0{password}"));
                user = is_known.map(|(username, _)| username.to_owned());
                match &user {
                    Some(_) if !manners.welcome.is_empty() => say(stream, manners.welcome).await?,
                    Some(_) => say(stream, "235 2.7.0 welcome\r\n").await?,
                    None if manners.repeats => {
                        let said = format!("535-5.7.8 not known: {rest}\r\n535 5.7.8 that is {:?}\r\n", decoded(rest));
                        say(stream, &said.replace("\\0", "")).await?;
                    }
                    None => say(stream, "535 5.7.8 not known\r\n").await?,
                }
            }
            "MAIL" if manners.credentials.is_some() && user.is_none() => {
                say(stream, "530 5.7.0 sign in first\r\n").await?;
            }
            "MAIL" => {
                from = address(rest);
                to.clear();
                say(stream, "250 2.1.0 ok\r\n").await?;
            }
            "RCPT" => {
                let recipient = address(rest);
                let refusal = shared.refused.lock().expect("no panic").get(&recipient).cloned();
                if refusal.as_deref() == Some("") {
                    return pending().await;
                }
                if refusal.is_none() {
                    to.push(recipient);
                }
                say(stream, &format!("{}\r\n", refusal.as_deref().unwrap_or("250 2.1.5 ok"))).await?;
            }
            "DATA" if to.is_empty() => say(stream, "554 5.5.1 nobody to give it to\r\n").await?,
            "DATA" => {
                say(stream, "354 go ahead\r\n").await?;
                let mut text = String::new();
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await? == 0 {
                        return Ok(Next::Leave);
                    }
                    match line.strip_prefix('.') {
                        Some("\r\n") => break,
                        unstuffed => text.push_str(unstuffed.unwrap_or(&line)),
                    }
                }
                let letter =
                    Letter { from: from.clone(), to: std::mem::take(&mut to), text, is_protected, user: user.clone() };
                shared.letters.send_modify(|letters| letters.push(letter));
                manners.bear_with(".").await?;
                let count = shared.letters.borrow().len();
                say(stream, &format!("250 2.0.0 queued as {count}\r\n")).await?;
            }
            "QUIT" => {
                say(stream, "221 2.0.0 bye\r\n").await?;
                return Ok(Next::Leave);
            }
            _ => say(stream, "502 5.5.2 what?\r\n").await?,
        }
    }
}

/// A line without its end; empty when there are no more.
async fn hear<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(text.as_bytes()).await?;
    stream.get_mut().flush().await
}

/// `FROM:<a@example.com> BODY=8BITMIME` → `a@example.com`.
fn address(rest: &str) -> String {
    let inner = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(address, _)| address.to_owned()).unwrap_or_default()
}

fn decoded(text: &str) -> String {
    let text = text.rsplit(' ').next().unwrap_or_default();
    STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
