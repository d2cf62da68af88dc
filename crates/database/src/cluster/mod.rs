//! A private PostgreSQL for a home that has no other.
//!
//! [`ManagedCluster::open`] finds out where the cluster lies and who runs it, [`ManagedCluster::ensure_running`] creates it,
//! starts it or joins the one that runs, and [`RunningCluster::release`] stops it when nobody else uses it. The server and
//! the commands an operator runs beside it each do all three; `lock.rs` explains why they do not get into each other's way.
//!
//! The cluster is reached through a unix socket in a directory only its user may enter, with a random password, and never
//! through the network. A server killed without warning leaves its PostgreSQL running; the next [`ensure_running`] joins it.
//! If PostgreSQL itself was killed, the next [`ensure_running`] starts it again.
//!
//! [`ensure_running`]: ManagedCluster::ensure_running

mod account;
mod binaries;
mod create;
mod error;
mod lock;
mod options;
mod place;
mod postmaster;
mod program;
mod settings;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use systemprompt_model::Secret;
use tokio::process::{Child, Command};

use self::binaries::Binaries;
use self::error::files;
use self::place::Place;
use self::postmaster::{POLL, PidFile};
use self::program::{reason_in, restrict_environment};

pub use self::error::{ClusterError, MINIMUM_MAJOR, Rejected};
pub use self::options::{BinarySearch, ClusterOptions, WELL_KNOWN};

/// The log is moved aside (one older log is kept) when it is longer than this many bytes.
const LOG_LIMIT: u64 = 4 * 1024 * 1024;

/// The PostgreSQL cluster of a home, running or not.
#[derive(Clone)]
pub struct ManagedCluster {
    options: ClusterOptions,
    place: Place,
}

/// A cluster that was running when this was made, and that nobody stops while this exists.
///
/// Dropping it without [`RunningCluster::release`] leaves PostgreSQL running.
pub struct RunningCluster {
    /// Process id of the PostgreSQL server.
    pub pid: u32,
    /// Whether it was started for this, rather than found running.
    pub was_started: bool,
    /// How long it took to have it running: creation, start and recovery included.
    pub start_duration: Duration,
    cluster: ManagedCluster,
    url: Secret,
    users_lock: File,
}

/// What became of a cluster somebody stopped using.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It has been stopped, or was not running.
    Stopped,
    /// Another process uses it, so it goes on running.
    InUse,
}

/// What there is to see of a cluster from outside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClusterStatus {
    /// The directory of all its files.
    pub directory: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Major version of the data; absent before the first start.
    pub major: Option<u32>,
    /// Process id of the server; absent when it does not run.
    pub pid: Option<u32>,
    /// The directory of its socket; absent when it does not run.
    pub socket_directory: Option<PathBuf>,
    /// Whether it accepts connections.
    pub ready: bool,
}

impl ManagedCluster {
    /// Finds out where the cluster of `options.directory` lies, or would lie, and who runs it. Nothing is made or changed.
    pub fn open(options: ClusterOptions) -> Result<Self, ClusterError> {
        let place = Place::choose(&options.directory, &options.system_directory)?;
        Ok(Self { options, place })
    }

    /// The directory of the programs [`ensure_running`](Self::ensure_running) would use, so that their absence is found out
    /// before anything is made.
    pub async fn find_programs(&self) -> Result<PathBuf, ClusterError> {
        let found = binaries::find(&self.options, self.place.runner, &self.place.data(), self.major()?).await?;
        Ok(found.postgres.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// Makes sure the cluster exists and runs, and keeps others from stopping it.
    ///
    /// When the future is dropped before it is done, a server it was starting is told to stop, and nobody may start or stop
    /// the cluster until it has, or can be found: [`stop_if_unused`](Self::stop_if_unused) returns when it is gone.
    pub async fn ensure_running(&self) -> Result<RunningCluster, ClusterError> {
        // Chosen again: now it is held still and its directories are made.
        let place = Place::prepare(&self.options.directory, &self.options.system_directory)?;
        Self { options: self.options.clone(), place }.join_or_start_for_use().await
    }

    async fn join_or_start_for_use(self) -> Result<RunningCluster, ClusterError> {
        let begun = Instant::now();
        let change = self.lock_change().await?;
        let users_lock = lock::shared(&self.place.users_lock(), lock::file(&self.place.users_lock())?)?;
        self.stop_abandoned().await;

        let server = self.join_or_start(&change).await?;
        let start_duration = begun.elapsed();
        tracing::info!(
            pid = server.pid, was_started = server.was_started, duration_ms = start_duration.as_millis() as u64,
            directory = %self.place.root.display(), "managed PostgreSQL is ready"
        );
        Ok(RunningCluster {
            pid: server.pid,
            was_started: server.was_started,
            start_duration,
            url: server.url,
            users_lock,
            cluster: self,
        })
    }

    /// Stops the cluster unless somebody uses it. One that was never made is not made for this.
    pub async fn stop_if_unused(&self) -> Result<Released, ClusterError> {
        if !self.place.root.exists() {
            return Ok(Released::Stopped);
        }
        let _change = self.lock_change().await?;
        let Some(_users) = lock::if_unused(&self.place.users_lock(), lock::file(&self.place.users_lock())?)? else {
            return Ok(Released::InUse);
        };
        if let Some(file) = PidFile::read(&self.place.data())?
            && postmaster::works_on(file.pid, &self.place.data())
        {
            postmaster::stop(file.pid, &self.place.data(), self.options.stop_limit).await?;
            tracing::info!(pid = file.pid.as_raw_nonzero(), "managed PostgreSQL stopped");
        }
        Ok(Released::Stopped)
    }

    /// What there is to see of the cluster, without starting it or waiting for anything.
    pub fn status(&self) -> Result<ClusterStatus, ClusterError> {
        let data = self.place.data();
        let running = PidFile::read(&data)?.filter(|file| postmaster::works_on(file.pid, &data));
        Ok(ClusterStatus {
            directory: self.place.root.clone(),
            log: self.place.log(),
            major: self.major()?,
            pid: running.as_ref().map(|file| file.pid.as_raw_nonzero().get().cast_unsigned()),
            ready: running.as_ref().is_some_and(PidFile::is_ready),
            socket_directory: running.and_then(|file| file.socket_directory),
        })
    }

    /// The server of this cluster, running. `change` is the lock that says that nobody else changes the cluster.
    async fn join_or_start(&self, change: &File) -> Result<Server, ClusterError> {
        let deadline = Instant::now() + self.options.start_limit;
        let joined = if self.place.data().exists() { self.join(deadline).await? } else { None };
        let was_started = joined.is_none();
        let (pid, socket) = match joined {
            Some(running) => running,
            None => self.start(change, deadline).await?,
        };
        Ok(Server { pid: pid.as_raw_nonzero().get().cast_unsigned(), was_started, url: self.url(&socket)? })
    }

    /// Joins the server that runs already, waiting until it is ready. `None` when there is none, or none any more.
    async fn join(&self, deadline: Instant) -> Result<Option<(Pid, PathBuf)>, ClusterError> {
        let data = self.place.data();
        loop {
            let Some(file) = PidFile::read(&data)? else { return Ok(None) };
            // The socket is tried before the process is looked for: a server in another container has a process id that
            // means nothing here, and must not be given a rival.
            let answer = match &file.socket_directory {
                Some(socket) => self.probe(socket).await?,
                None => Answer::NotYet,
            };
            match (answer, file.socket_directory.clone()) {
                (Answer::Ready, Some(socket)) => return Ok(Some((file.pid, socket))),
                _ if !postmaster::works_on(file.pid, &data) => return Ok(None),
                (Answer::Refused(source), _) => {
                    return Err(ClusterError::Refused { pid: file.pid.as_raw_nonzero().get(), source });
                }
                (Answer::NoSocket, _) if file.is_ready() && !file.is_stopping() => {
                    // Somebody removed the socket of a live server, so nobody can reach it any more.
                    postmaster::stop(file.pid, &data, self.options.stop_limit).await?;
                }
                (Answer::Ready | Answer::NoSocket | Answer::NotYet, _) => {}
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Starts the server, after creating the cluster if there is none.
    async fn start(&self, change: &File, deadline: Instant) -> Result<(Pid, PathBuf), ClusterError> {
        let (place, data) = (&self.place, self.place.data());
        let binaries = binaries::find(&self.options, place.runner, &data, self.major()?).await?;
        if !data.exists() {
            tracing::info!(directory = %data.display(), postgres = %binaries.postgres.display(), "creating the database");
            create::create(place, &binaries, &self.options.ambient).await?;
        }
        let socket = place.socket_directory(self.options.runtime_directory.as_deref())?;
        let has_local = place.root.join("local.conf").exists();
        let initdb_conf = fs::read_to_string(data.join("postgresql.conf")).unwrap_or_default();
        let shared_memory = settings::shared_memory_in(&initdb_conf);
        let conf = settings::postgresql_conf(binaries.major, shared_memory, has_local, &self.options);
        place::write_readable(&place.settings(), conf.as_bytes(), place.runner)?;
        place::write_readable(&place.access_rules(), settings::ACCESS_RULES.as_bytes(), place.runner)?;
        bound_log(&place.log())?;

        loop {
            postmaster::clear_stale(&data, place.runner)?;
            place::remove_socket(&socket)?;
            let mut log = place::open_private(&place.log(), OpenOptions::new().append(true).create(true).read(true))?;
            let log_start = log.seek(SeekFrom::End(0)).map_err(files("read", &place.log()))?;
            let change = change.try_clone().map_err(files("lock", &place.change_lock()))?;
            let server = self.spawn(&binaries, &socket, &log)?;
            let starting = Starting { server: Some(server), change: Some(change), data: data.clone() };

            if let Some(pid) = self.until_ready(starting, &socket, deadline).await? {
                return Ok((pid, socket));
            }
            // Processes of a killed server may still be at work on the data; PostgreSQL waits for nobody, we do.
            let output = log_since(&mut log, log_start);
            if !output.contains("pre-existing shared memory block") || Instant::now() >= deadline {
                return Err(ClusterError::Start { output: reason_in(&output), log: place.log() });
            }
            postmaster::end_orphans(&data);
            tokio::time::sleep(POLL * 10).await;
        }
    }

    /// Runs `postgres` in a process group of its own: a terminal's Ctrl-C must not stop it before we have let go of it.
    fn spawn(&self, binaries: &Binaries, socket: &Path, log: &File) -> Result<Child, ClusterError> {
        let setting = |name: &str, value: &std::ffi::OsStr| {
            let mut text = std::ffi::OsString::from(format!("{name}="));
            text.push(value);
            text
        };
        // A list of directories, so quoted as one element of it.
        let quoted = format!("\"{}\"", socket.to_string_lossy().replace('"', "\"\""));
        let mut command = Command::new(&binaries.postgres);
        command.arg("-D").arg(self.place.data());
        command.arg("-c").arg(setting("config_file", self.place.settings().as_os_str()));
        command.arg("-c").arg(setting("hba_file", self.place.access_rules().as_os_str()));
        command.arg("-c").arg(setting("unix_socket_directories", quoted.as_ref()));
        command.args(["-c", "listen_addresses=", "-c", "port=5432"]);
        let log_handle = || log.try_clone().map_err(files("open", &self.place.log()));
        command.stdin(Stdio::null()).stdout(log_handle()?).stderr(log_handle()?).process_group(0);
        restrict_environment(&mut command);
        self.place.runner.apply(&mut command);
        command.spawn().map_err(|source| ClusterError::Spawn { program: binaries.postgres.clone(), source })
    }

    /// Waits until the server that was just spawned accepts connections; `None` when it ended instead.
    async fn until_ready(
        &self,
        mut starting: Starting,
        socket: &Path,
        deadline: Instant,
    ) -> Result<Option<Pid>, ClusterError> {
        let data = self.place.data();
        loop {
            let Some(pid) = starting.pid() else {
                starting.server = None;
                return Ok(None);
            };
            if PidFile::read(&data)?.is_some_and(|file| file.pid == pid && file.is_ready()) {
                match self.probe(socket).await? {
                    Answer::Ready => {
                        starting.server = None;
                        return Ok(Some(pid));
                    }
                    Answer::Refused(source) => {
                        return Err(ClusterError::Refused { pid: pid.as_raw_nonzero().get(), source });
                    }
                    Answer::NotYet | Answer::NoSocket => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(self.timed_out());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Tries to connect.
    async fn probe(&self, socket: &Path) -> Result<Answer, ClusterError> {
        let url = self.url(socket)?;
        let options = PgConnectOptions::from_str(url.expose()).expect("a URL we wrote");
        let attempt = tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(&options));
        let error = match attempt.await {
            Err(_elapsed) => return Ok(Answer::NotYet),
            Ok(Ok(connection)) => {
                // It answered; how it takes our leave does not matter.
                let _ = connection.close().await;
                return Ok(Answer::Ready);
            }
            Ok(Err(error)) => error,
        };
        Ok(match &error {
            sqlx::Error::Io(cause) => match cause.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Answer::NoSocket,
                std::io::ErrorKind::PermissionDenied => Answer::Refused(error),
                // Closed while it was greeting us: it is on its way up or down.
                _ => Answer::NotYet,
            },
            sqlx::Error::Database(cause) => match cause.code().as_deref() {
                // cannot_connect_now: starting, recovering or stopping.
                Some("57P03") => Answer::NotYet,
                // Wrong password, no such role, no such database: not the cluster we made.
                Some("28P01" | "28000" | "3D000") => Answer::Refused(error),
                // Whatever else it complains about, such as too many connections, it runs.
                _ => Answer::Ready,
            },
            _ => Answer::Refused(error),
        })
    }

    fn url(&self, socket: &Path) -> Result<Secret, ClusterError> {
        let path = self.place.password();
        let password = match fs::read_to_string(&path) {
            Ok(password) if !password.trim().is_empty() => password.trim().to_owned(),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(files("read", &path)(error)),
            _ => return Err(ClusterError::NoPassword { path }),
        };
        // TLS has no place on a unix socket; saying so spares each connection the question.
        let parameters = [("host", &*socket.to_string_lossy()), ("sslmode", "disable")];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        // Written for libpq too, which takes a plus sign literally.
        let query = query.replace('+', "%20");
        let role = create::ROLE;
        Ok(Secret::new(format!("postgres://{role}:{password}@localhost/{role}?{query}")))
    }

    /// Major version of the data, if there is any.
    fn major(&self) -> Result<Option<u32>, ClusterError> {
        let path = self.place.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(version) => Ok(version.trim().split('.').next().and_then(|major| major.parse().ok())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files("read", &path)(error)),
        }
    }

    /// Stops clusters of earlier homes at the same path, whose processes nobody would ever stop.
    async fn stop_abandoned(&self) {
        for root in &self.place.abandoned {
            let stopped = async {
                let place = Place::existing(root.clone())?;
                let options = self.options.clone();
                ManagedCluster { options, place }.stop_if_unused().await
            };
            match stopped.await {
                Ok(_) => tracing::warn!(
                    directory = %root.display(),
                    "this home was made anew and has a new database; the one of its predecessor is still on the disk"
                ),
                Err(error) => tracing::warn!(%error, directory = %root.display(), "cannot stop an abandoned database"),
            }
        }
    }

    async fn lock_change(&self) -> Result<File, ClusterError> {
        let path = self.place.change_lock();
        lock::exclusive(&path, lock::file(&path)?, self.options.start_limit).await
    }

    fn timed_out(&self) -> ClusterError {
        ClusterError::StartTimedOut { waited: self.options.start_limit, log: self.place.log() }
    }
}

impl RunningCluster {
    /// How to connect to it, as the role that owns the product's database: for `sqlx`, `psql` and libpq alike.
    pub fn url(&self) -> Secret {
        self.url.clone()
    }

    /// What there is to see of it.
    pub fn status(&self) -> Result<ClusterStatus, ClusterError> {
        self.cluster.status()
    }

    /// Starts PostgreSQL again if it has died, for instance because somebody killed it. The URL stays the same.
    pub async fn revive(&mut self) -> Result<(), ClusterError> {
        let change = self.cluster.lock_change().await?;
        let server = self.cluster.join_or_start(&change).await?;
        (self.pid, self.url) = (server.pid, server.url);
        Ok(())
    }

    /// Moves the log aside when it has grown too long. One look at the file; call it now and then.
    pub fn bound_log(&self) -> Result<(), ClusterError> {
        bound_log(&self.cluster.place.log())
    }

    /// Ends this use of the cluster, and stops the cluster when it was the last one.
    pub async fn release(self) -> Result<Released, ClusterError> {
        drop(self.users_lock);
        self.cluster.stop_if_unused().await
    }
}

/// A server that accepts connections.
struct Server {
    pid: u32,
    was_started: bool,
    url: Secret,
}

/// What a try to connect came to.
enum Answer {
    Ready,
    NotYet,
    NoSocket,
    Refused(sqlx::Error),
}

/// A server that is being started. Told to stop when whoever waits for it gives up.
///
/// Until it has written its `postmaster.pid` nobody but its parent knows of it. So the parent keeps `change.lock` for as
/// long as that takes: whoever wants to start or stop the cluster next finds either a server with its file or none.
struct Starting {
    server: Option<Child>,
    /// `change.lock`, held through this handle too.
    change: Option<File>,
    /// Where it writes its file.
    data: PathBuf,
}

impl Starting {
    /// The process id, unless it has ended.
    fn pid(&mut self) -> Option<Pid> {
        let server = self.server.as_mut()?;
        match server.try_wait() {
            Ok(None) => server.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            Ok(Some(_)) | Err(_) => None,
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let (Some(pid), Some(mut server)) = (self.pid(), self.server.take()) else { return };
        // Nothing more can be done about a process that refuses the signal.
        let _ = kill_process(pid, Signal::INT);
        let (change, data) = (self.change.take(), std::mem::take(&mut self.data));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // No limit: a machine may be slow, and a lock let go too early leaves a server nobody knows of.
            let is_known = || matches!(PidFile::read(&data), Ok(Some(file)) if file.pid == pid);
            while !is_known() {
                if tokio::time::timeout(POLL, server.wait()).await.is_ok() {
                    break;
                }
            }
            drop(change);
        });
    }
}

/// Copies the log to `postgres.log.1` and empties it when it is longer than [`LOG_LIMIT`]. The server appends, so it goes on
/// at the beginning.
fn bound_log(log: &Path) -> Result<(), ClusterError> {
    let too_long = fs::metadata(log).is_ok_and(|metadata| metadata.len() > LOG_LIMIT);
    if too_long {
        let mut current = place::open_private(log, OpenOptions::new().read(true).write(true))?;
        let older = log.with_extension("log.1");
        let mut kept = place::open_private(&older, OpenOptions::new().write(true).create(true).truncate(true))?;
        std::io::copy(&mut current, &mut kept).map_err(files("write", &older))?;
        current.set_len(0).map_err(files("write", log))?;
    }
    Ok(())
}

/// What was written to the log since `start`.
fn log_since(log: &mut File, start: u64) -> String {
    let mut bytes = Vec::new();
    // An unreadable log leaves the message without a reason, but with the path of the log.
    let _ = log.seek(SeekFrom::Start(start)).and_then(|_| log.take(64 * 1024).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
