//! The server process behind the test databases.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};
use sha2::{Digest, Sha256};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use systemprompt_model::Secret;

/// Data is kept by the kernel when a server process dies, which is all a test can do to it.
const SETTINGS: &str = "
listen_addresses = ''
unix_socket_permissions = 0777
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 300
shared_buffers = 64MB
checkpoint_timeout = 1h
max_wal_size = 4GB
jit = off
";

/// Stops the server of directory `$1` once nobody has used it for `$2` quarters of a second; `$3` says whether to
/// `keep` or `remove` the directory. It is a shell process of its own so that it survives whatever kills the test.
///
/// A process announces itself first and looks for `stopping` afterwards; we write `stopping` first and look for
/// processes afterwards. Whichever way the two interleave, one of them sees the other.
const WATCHDOG: &str = r#"
dir=$1 limit=$2 after=$3 idle=0
alive() {
    kill -0 "$1" 2>/dev/null || return 1
    [ -r "/proc/$1/stat" ] || return 0
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    case $stat in *") Z "* | *") X "*) return 1 ;; esac
}
ours() {
    if [ -r "/proc/$1/cmdline" ]; then grep -q "$dir/data" "/proc/$1/cmdline"; else ps -o args= -p "$1" | grep -q "$dir/data"; fi
}
while [ -d "$dir" ]; do
    used=
    for file in "$dir"/users/*; do
        pid=${file##*/}
        [ "$pid" = '*' ] && continue
        if alive "$pid"; then used=1; else rm -f "$file"; fi
    done
    if [ -n "$used" ]; then idle=0; rm -f "$dir/stopping"
    elif [ "$idle" -lt "$limit" ]; then idle=$((idle + 1))
    elif [ ! -e "$dir/stopping" ]; then : >"$dir/stopping"
    else break
    fi
    sleep 0.25
done
pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && alive "$pid" && ours "$pid"; then
    kill -INT "$pid"
    waited=0
    while alive "$pid" && [ "$waited" -lt 40 ]; do sleep 0.25; waited=$((waited + 1)); done
    alive "$pid" && kill -KILL "$pid"
fi
rm -f "$dir/watchdog.pid" "$dir/stopping"
[ "$after" = remove ] && rm -rf "$dir"
"#;

const SHARED_LINGER: &str = "8";
const PRIVATE_LINGER: &str = "0";

/// A PostgreSQL that lives below `directory`.
#[derive(Debug, Clone)]
pub(super) struct Server {
    directory: PathBuf,
    private: bool,
}

impl Server {
    /// The server all test processes of this user share.
    pub(super) fn shared() -> Self {
        // Another installation of PostgreSQL gets another directory: their data formats may differ.
        let installation = hex::encode(&Sha256::digest(binaries().as_os_str().as_encoded_bytes())[..4]);
        let name = format!("systemprompt-tests-{}-{installation}", geteuid().as_raw());
        Self { directory: std::env::temp_dir().join(name), private: false }
    }

    /// A server for one test.
    pub(super) fn private() -> Self {
        let directory = tempfile::Builder::new().prefix("systemprompt-test-").tempdir().expect("a temporary directory");
        Self { directory: directory.keep(), private: true }
    }

    /// Keeps the server up until [`Server::leave`] or the end of the process, starting it if need be.
    pub(super) fn announce_and_start(&self) {
        make_directory(&self.directory, 0o711);
        make_directory(&self.directory.join("users"), 0o700);
        let lock = File::create(self.directory.join("lock")).expect("the lock file");
        flock(&lock, FlockOperation::LockExclusive).expect("the lock");

        fs::write(self.presence(), "").expect("announcing this process");
        self.wait_while_stopping();
        // Before there is anything to leave behind.
        if !self.watchdog().is_some_and(is_alive) {
            self.spawn_watchdog();
        }
        if !self.answers() {
            self.start();
        }
    }

    /// This process no longer needs the server.
    pub(super) fn leave(&self) {
        // When it cannot be removed, the watchdog notices the end of the process instead.
        let _ = fs::remove_file(self.presence());
    }

    /// Stops the server in one of `pg_ctl`'s modes.
    pub(super) fn stop(&self, mode: &str) {
        let stopped = self.pg_ctl().args(["-m", mode, "-w", "stop"]).status().expect("running pg_ctl");
        assert!(stopped.success(), "pg_ctl could not stop {}", self.directory.display());
    }

    /// Stops the server without ceremony and removes its directory.
    /// Sends a signal to the server and to its children, the server first: it makes new ones.
    pub(super) fn signal(&self, signal: Signal) {
        let pidfile = fs::read_to_string(self.directory.join("data/postmaster.pid")).expect("a running server");
        let first = pidfile.lines().next().expect("its pid").to_owned();
        let send = |pid: &str| {
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
            // A child may have ended meanwhile.
            let _ = kill_process(pid, signal);
        };
        send(&first);
        let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("ps lists processes");
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            if let Some((pid, parent)) = line.trim().split_once(' ')
                && parent.trim() == first
            {
                send(pid);
            }
        }
    }

    pub(super) fn remove(&self) {
        // It may have been stopped by the test.
        let _ = self.pg_ctl().args(["-m", "immediate", "-w", "stop"]).status();
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// The URL of a database, over the unix socket.
    pub(super) fn url(&self, database: &str) -> Secret {
        let directory: String =
            url::form_urlencoded::byte_serialize(self.directory.as_os_str().as_encoded_bytes()).collect();
        Secret::new(format!("postgres://postgres@localhost/{database}?host={directory}"))
    }

    pub(super) async fn admin(&self) -> PgConnection {
        self.try_admin().await.expect("connecting to the test server")
    }

    pub(super) async fn try_admin(&self) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new().socket(&self.directory).username("postgres").database("postgres");
        PgConnection::connect_with(&options).await
    }

    fn start(&self) {
        let data = self.directory.join("data");
        if data.join("PG_VERSION").exists() && self.try_start() {
            return;
        }
        // Left behind half-made, or by another release: it holds nothing that cannot be made again.
        if data.exists() {
            fs::remove_dir_all(&data).expect("removing the unusable data directory");
        }
        make_directory(&data, 0o700);
        give_to_server_user(&data);
        let mut initdb = command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
        let made = initdb.arg(&data).output().expect("running initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", self.directory.display());
        fs::write(data.join("postgresql.auto.conf"), settings).expect("writing the settings");
        let log = self.directory.join("log");
        assert!(self.try_start(), "PostgreSQL does not start: {}", fs::read_to_string(log).unwrap_or_default());
    }

    fn try_start(&self) -> bool {
        let log = self.directory.join("log");
        File::create(&log).expect("the log file");
        give_to_server_user(&log);
        // The server makes its socket here.
        give_to_server_user(&self.directory);
        self.pg_ctl().arg("-l").arg(&log).args(["-w", "-t", "60", "start"]).status().expect("running pg_ctl").success()
    }

    fn pg_ctl(&self) -> Command {
        let mut pg_ctl = command("pg_ctl");
        pg_ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        pg_ctl.arg("-D").arg(self.directory.join("data"));
        pg_ctl
    }

    fn answers(&self) -> bool {
        UnixStream::connect(self.directory.join(".s.PGSQL.5432")).is_ok()
    }

    fn presence(&self) -> PathBuf {
        self.directory.join("users").join(std::process::id().to_string())
    }

    fn watchdog(&self) -> Option<i32> {
        fs::read_to_string(self.directory.join("watchdog.pid")).ok()?.trim().parse().ok()
    }

    fn wait_while_stopping(&self) {
        let marker = self.directory.join("stopping");
        let patience = Instant::now() + Duration::from_secs(20);
        while marker.exists() {
            if Instant::now() > patience || !self.watchdog().is_some_and(is_alive) {
                let _ = fs::remove_file(&marker);
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[expect(clippy::zombie_processes, reason = "it outlives this process, that is what it is for")]
    fn spawn_watchdog(&self) {
        let (linger, after) = if self.private { (PRIVATE_LINGER, "remove") } else { (SHARED_LINGER, "keep") };
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "systemprompt-test-watchdog"])
            .arg(&self.directory)
            .args([linger, after])
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting the watchdog");
        fs::write(self.directory.join("watchdog.pid"), watchdog.id().to_string()).expect("the watchdog's pid file");
    }
}

/// Whether a process with this id exists.
pub(super) fn is_alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn make_directory(path: &Path, mode: u32) {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the directory's mode"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// A program of PostgreSQL, as a user it agrees to run as.
fn command(program: &str) -> Command {
    let mut command = Command::new(binaries().join(program));
    command.current_dir("/");
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

fn give_to_server_user(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).expect("giving the directory to the server's user");
    }
}

/// PostgreSQL refuses to run as root; then it runs as `postgres` or `nobody`.
fn server_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("reading /etc/passwd");
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| {
                let mut ids = fields.skip(1).map(|field| field.parse().expect("a numeric id in /etc/passwd"));
                (ids.next().expect("a user id"), ids.next().expect("a group id"))
            })
        })
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user `postgres` or `nobody` to run PostgreSQL as"))
}

/// The directory with `initdb`, `postgres` and `pg_ctl`.
fn binaries() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| find_binaries().expect("PostgreSQL 15 or newer: put its bin directory on PATH"))
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration to be told this by")]
fn find_binaries() -> Option<PathBuf> {
    let named = std::env::var_os("SYSTEMPROMPT_PG_BIN").map(PathBuf::from);
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let packaged = crate::cluster::WELL_KNOWN.iter().flat_map(|pattern| expand(pattern));
    let has_all =
        |directory: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|program| directory.join(program).is_file());
    named.into_iter().chain(on_path.into_iter().flatten()).chain(packaged).find(has_all)
}

/// The directories a pattern with one `*` matches, newest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or((".", before));
    let mut names: Vec<String> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    // Version 9 is older than version 15.
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.iter().rev().map(|name| PathBuf::from(format!("{parent}/{name}{after}"))).collect()
}
