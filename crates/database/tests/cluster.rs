//! The managed cluster, driven as the server and the commands drive it, with the PostgreSQL of the machine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use systemprompt_database::cluster::{
    BinarySearch, ClusterError, ClusterOptions, ManagedCluster, Released, RunningCluster,
};
use systemprompt_model::{Ambient, Secret};

/// A directory for one test that the database's user can enter, and clusters in it that do not outlive the test.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("cluster").tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn options(&self, home: impl AsRef<Path>) -> ClusterOptions {
        fs::create_dir_all(self.path().join(&home)).unwrap();
        ClusterOptions {
            system_directory: self.path().join("system"),
            ..ClusterOptions::new(self.path().join(home).join("cluster"), binaries(), Ambient::system())
        }
    }

    fn cluster(&self, home: impl AsRef<Path>) -> ManagedCluster {
        ManagedCluster::open(self.options(home)).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_name() == "postmaster.pid"
                    && let Some(pid) = pid_in(&entry.path())
                    && is_postgres(pid)
                {
                    let _ = kill_process(pid, Signal::QUIT);
                    while is_postgres(pid) {
                        std::thread::yield_now();
                    }
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(entry.path());
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the machine's PostgreSQL is where PATH says")]
fn binaries() -> BinarySearch {
    let directory = |name| std::env::var_os(name).map(PathBuf::from);
    BinarySearch {
        configured: directory("SYSTEMPROMPT_PG_BIN"),
        path: std::env::var_os("PATH"),
        home: directory("HOME"),
        data_home: directory("XDG_DATA_HOME"),
        ..BinarySearch::default()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn pid_in(file: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(file).ok()?.lines().next()?.parse().ok()?)
}

fn is_postgres(pid: Pid) -> bool {
    let pid = pid.as_raw_nonzero();
    if Path::new("/proc/self/stat").exists() {
        // `pid (name) state …`, where Z is a process that has ended but was not waited for.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        return stat.contains("(postgres) ") && !stat.contains("(postgres) Z");
    }
    let ps = Command::new("ps").args(["-o", "stat=,comm=", "-p", &pid.to_string()]).output().unwrap();
    let line = String::from_utf8_lossy(&ps.stdout).into_owned();
    line.contains("postgres") && !line.trim_start().starts_with('Z')
}

fn process(cluster: &RunningCluster) -> Pid {
    Pid::from_raw(cluster.pid.cast_signed()).unwrap()
}

async fn connect(url: &Secret) -> PgConnection {
    PgConnection::connect_with(&PgConnectOptions::from_str(url.expose()).unwrap()).await.unwrap()
}

async fn ask(url: &Secret, question: &'static str) -> String {
    let mut connection = connect(url).await;
    let answer = sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

/// Waits until `condition` holds; the test's own time limit ends a wait in vain.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_first_start_creates_a_private_database_and_the_next_one_finds_it() {
    let machine = Machine::new();
    let options = ClusterOptions { settings: vec![("work_mem".into(), "5MB".into())], ..machine.options("home") };
    let first = ManagedCluster::open(options).unwrap().ensure_running().await.unwrap();
    assert!(first.was_started);
    let url = first.url();
    assert_eq!(ask(&url, "SELECT current_user::text || ' ' || current_database()").await, "systemprompt systemprompt");
    assert_eq!(ask(&url, "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user").await, "false");
    assert_eq!(ask(&url, "SHOW listen_addresses").await, "");
    assert_eq!(ask(&url, "SHOW server_encoding").await, "UTF8");
    assert_eq!(ask(&url, "SHOW data_checksums").await, "on");
    assert_eq!(ask(&url, "SHOW work_mem").await, "5MB");
    assert_eq!(ask(&url, "SHOW wal_level").await, "minimal");
    let mut connection = connect(&url).await;
    sqlx::query("CREATE TABLE kept (n int)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let status = first.status().unwrap();
    assert!(status.ready);
    assert_eq!(status.pid, Some(first.pid));
    let mode = |name: &str| fs::metadata(status.directory.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("data"), mode("socket"), mode("password")), (0o700, 0o700, 0o600));
    assert_eq!(fs::metadata(&status.directory).unwrap().mode() & 0o007, 0);

    let password = fs::read_to_string(status.directory.join("password")).unwrap();
    let wrong = Secret::new(url.expose().replace(&password, "guessed"));
    let refused = PgConnection::connect_with(&PgConnectOptions::from_str(wrong.expose()).unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("password authentication failed"));

    assert_eq!(first.release().await.unwrap(), Released::Stopped);
    assert_eq!(machine.cluster("home").status().unwrap().pid, None);

    let again = machine.cluster("home").ensure_running().await.unwrap();
    assert!(again.was_started);
    assert_eq!(again.url(), url);
    assert_eq!(ask(&url, "SELECT count(*)::text FROM kept").await, "0");
    again.release().await.unwrap();
}

#[tokio::test]
async fn libpq_programs_understand_the_url() {
    let machine = Machine::new();
    let cluster = machine.cluster("a home").ensure_running().await.unwrap();
    let psql = Command::new("psql").args([cluster.url().expose(), "-Atc", "SELECT 1"]).output();
    // The PostgreSQL that npm carries has no psql.
    if let Ok(psql) = psql {
        assert_eq!(String::from_utf8_lossy(&psql.stdout), "1\n", "{}", String::from_utf8_lossy(&psql.stderr));
    }
    cluster.release().await.unwrap();
}

#[tokio::test]
async fn a_cluster_in_use_is_joined_and_not_stopped() {
    let machine = Machine::new();
    let server = machine.cluster("home").ensure_running().await.unwrap();
    let command = machine.cluster("home").ensure_running().await.unwrap();
    assert_eq!((command.was_started, command.pid), (false, server.pid));

    assert_eq!(server.release().await.unwrap(), Released::InUse);
    assert_eq!(machine.cluster("home").stop_if_unused().await.unwrap(), Released::InUse);
    assert_eq!(ask(&command.url(), "SELECT 'here'").await, "here");

    let pid = process(&command);
    assert_eq!(command.release().await.unwrap(), Released::Stopped);
    assert!(!is_postgres(pid));
}

#[tokio::test]
async fn an_orphan_of_a_killed_server_is_joined() {
    let machine = Machine::new();
    // Dropping releases the lock and stops nothing, which is what the death of a process does.
    let killed = machine.cluster("home").ensure_running().await.unwrap();
    let pid = killed.pid;
    drop(killed);

    let next = machine.cluster("home").ensure_running().await.unwrap();
    assert_eq!((next.was_started, next.pid), (false, pid));
    assert_eq!(next.release().await.unwrap(), Released::Stopped);
}

#[tokio::test]
async fn postgres_killed_without_warning_is_started_again() {
    let machine = Machine::new();
    let mut user = machine.cluster("home").ensure_running().await.unwrap();
    let mut busy = connect(&user.url()).await;
    sqlx::query("CREATE TABLE kept AS SELECT 1 AS n").execute(&mut busy).await.unwrap();
    // This backend does not notice for a long time that its server has died.
    let query = sqlx::query("SELECT count(*) FROM generate_series(1, 1000000000)");
    let busy = async { query.execute(&mut busy).await.map(|_| ()) };
    let killed = process(&user);
    let kill = async {
        until(|| {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", killed.as_raw_nonzero()));
            children.map_or(true, |children| children.split_whitespace().count() >= 5)
        })
        .await;
        kill_process(killed, Signal::KILL).unwrap();
        until(|| !is_postgres(killed)).await;
        user.revive().await.unwrap();
    };
    let (lost, ()) = tokio::join!(busy, kill);
    assert!(lost.is_err());
    assert_ne!(process(&user), killed);
    assert_eq!(ask(&user.url(), "SELECT n::text FROM kept").await, "1");

    // The same for somebody who comes later.
    let killed = process(&user);
    kill_process(killed, Signal::KILL).unwrap();
    let later = machine.cluster("home").ensure_running().await.unwrap();
    assert!(later.was_started);
    assert_eq!(ask(&user.url(), "SELECT n::text FROM kept").await, "1");
    assert_eq!(later.release().await.unwrap(), Released::InUse);
    assert_eq!(user.release().await.unwrap(), Released::Stopped);
}

#[tokio::test]
async fn a_server_nobody_can_reach_any_more_is_replaced() {
    let machine = Machine::new();
    let user = machine.cluster("home").ensure_running().await.unwrap();
    let socket = user.status().unwrap().socket_directory.unwrap();
    fs::remove_file(socket.join(".s.PGSQL.5432")).unwrap();

    let next = machine.cluster("home").ensure_running().await.unwrap();
    assert!(next.was_started);
    assert_eq!(ask(&next.url(), "SELECT 'here'").await, "here");
    drop(user);
    assert_eq!(next.release().await.unwrap(), Released::Stopped);
}

#[tokio::test]
async fn leftovers_of_a_crash_do_not_keep_it_from_starting() {
    let machine = Machine::new();
    let cluster = machine.cluster("home").ensure_running().await.unwrap();
    let status = cluster.status().unwrap();
    let (data, socket) = (status.directory.join("data"), status.socket_directory.unwrap());
    let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let rest = pid_file.split_once('\n').unwrap().1.to_owned();
    cluster.release().await.unwrap();

    // Its number has been given to another process of the same user meanwhile.
    let owner = fs::metadata(&data).unwrap();
    let mut stranger = Command::new("sleep");
    if is_root() {
        stranger.uid(owner.uid()).gid(owner.gid());
    }
    let mut stranger = stranger.arg("600").spawn().unwrap();
    let id = stranger.id();

    let garbage = ["", "rubbish\n", "0\n"].map(str::to_owned);
    for content in [format!("{id}\n{rest}"), format!("{id}\n")].into_iter().chain(garbage) {
        for (path, content) in [
            (data.join("postmaster.pid"), content.as_str()),
            (socket.join(".s.PGSQL.5432.lock"), &*format!("{id}\n")),
            (socket.join(".s.PGSQL.5432"), ""),
        ] {
            fs::write(&path, content).unwrap();
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let cluster = machine.cluster("home").ensure_running().await.unwrap();
        assert!(cluster.was_started, "{content:?}");
        assert_eq!(ask(&cluster.url(), "SELECT 'here'").await, "here");
        cluster.release().await.unwrap();
    }
    assert!(stranger.try_wait().unwrap().is_none(), "the other process was left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn any_path_will_do() {
    let machine = Machine::new();
    let long = "a rather long name of a directory/".repeat(6);
    for home in ["with space", "it's \"quoted\", 100% + more", "日本語", &long] {
        let cluster = machine.cluster(home).ensure_running().await.unwrap();
        assert_eq!(ask(&cluster.url(), "SELECT 'here'").await, "here", "{home}");
        let socket = cluster.status().unwrap().socket_directory.unwrap();
        assert!(socket.as_os_str().len() < 100);
        assert_eq!(socket.starts_with(machine.path()), home != long, "{home}");
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
        cluster.release().await.unwrap();
        if home == long {
            fs::remove_dir_all(socket).unwrap();
        }
    }
}

#[tokio::test]
async fn a_socket_directory_others_could_enter_is_refused() {
    let machine = Machine::new();
    let long = "a rather long name of a directory/".repeat(6);
    let cluster = machine.cluster(&long).ensure_running().await.unwrap();
    let socket = cluster.status().unwrap().socket_directory.unwrap();
    cluster.release().await.unwrap();

    fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
    let error = machine.cluster(&long).ensure_running().await.err().unwrap();
    fs::remove_dir_all(&socket).unwrap();
    assert!(matches!(&error, ClusterError::SocketDirectory { path, .. } if *path == socket), "{error}");
    assert!(error.to_string().contains("others may enter it"), "{error}");
}

#[tokio::test]
async fn a_home_only_root_may_enter_has_its_cluster_elsewhere() {
    let machine = Machine::new();
    fs::create_dir(machine.path().join("private")).unwrap();
    fs::set_permissions(machine.path().join("private"), Permissions::from_mode(0o700)).unwrap();
    let cluster = machine.cluster("private/home").ensure_running().await.unwrap();
    let place = cluster.status().unwrap().directory;
    let url = cluster.url();
    if !is_root() {
        assert_eq!(place, machine.path().join("private/home/cluster").canonicalize().unwrap());
        cluster.release().await.unwrap();
        return;
    }
    assert!(place.starts_with(machine.path().join("system/clusters")));
    assert_ne!(fs::metadata(place.join("data")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(&place).unwrap().uid(), 0);
    let joined = machine.cluster("private/home").ensure_running().await.unwrap();
    assert_eq!(joined.pid, cluster.pid);
    drop(joined);
    cluster.release().await.unwrap();

    // A home that is moved takes its database along.
    fs::rename(machine.path().join("private/home"), machine.path().join("private/moved")).unwrap();
    let moved = machine.cluster("private/moved").ensure_running().await.unwrap();
    assert_eq!(moved.url(), url);

    // A copy does not get it.
    let copy =
        Command::new("cp").arg("-r").args(["moved", "copy"]).current_dir(machine.path().join("private")).status();
    assert!(copy.unwrap().success());
    let error = ManagedCluster::open(machine.options("private/copy")).err().unwrap();
    assert!(matches!(error, ClusterError::Copied { .. }), "{error}");
    assert!(error.hint().unwrap().contains("private/copy/cluster/location"));

    // A home that is deleted and made again starts with nothing, and the old database, still running, is stopped.
    let pid = process(&moved);
    drop(moved);
    fs::remove_dir_all(machine.path().join("private")).unwrap();
    fs::create_dir(machine.path().join("private")).unwrap();
    fs::set_permissions(machine.path().join("private"), Permissions::from_mode(0o700)).unwrap();
    let old = fs::read_to_string(place.join("home")).unwrap();
    assert!(old.ends_with("private/moved/cluster"));
    fs::write(place.join("home"), old.replace("moved", "home")).unwrap();
    let anew = machine.cluster("private/home").ensure_running().await.unwrap();
    assert_ne!(anew.url(), url);
    assert!(!is_postgres(pid));
    anew.release().await.unwrap();
}

#[tokio::test]
async fn processes_that_race_share_one_server() {
    let machine = Machine::new();
    let directory = machine.path().join("home/cluster");
    fs::create_dir(machine.path().join("home")).unwrap();
    let mut processes: Vec<_> = (0..3)
        .map(|_| {
            let mut process = Command::new(env!("CARGO_BIN_EXE_prepare-schema"))
                .arg(&directory)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(process.stdout.take().unwrap());
            (process, output)
        })
        .collect();
    let urls: Vec<String> = processes
        .iter_mut()
        .map(|(_, output)| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.trim().to_owned()
        })
        .collect();
    assert!(urls.iter().all(|url| url.starts_with("postgres://") && *url == urls[0]), "{urls:?}");
    let pid = pid_in(&directory.join("data/postmaster.pid")).unwrap();

    while let Some((mut process, _output)) = processes.pop() {
        assert!(is_postgres(pid));
        assert_eq!(ask(&Secret::new(&*urls[0]), "SELECT 'here'").await, "here");
        drop(process.stdin.take());
        assert!(process.wait().unwrap().success());
    }
    assert!(!is_postgres(pid));
}

#[tokio::test]
async fn a_machine_without_postgres_is_told_what_to_do() {
    let machine = Machine::new();
    let nothing = machine.path().join("nothing");
    let old = program_directory(&machine, "old", "echo 'postgres (PostgreSQL) 13.4'");
    let search = BinarySearch {
        path: Some(old.clone().into_os_string()),
        patterns: vec![nothing.join("*/bin")],
        ..BinarySearch::default()
    };
    let options = ClusterOptions { binaries: search, ..machine.options("home") };
    let cluster = ManagedCluster::open(options).unwrap();
    assert_eq!(cluster.status().unwrap().pid, None);
    assert_eq!(cluster.stop_if_unused().await.unwrap(), Released::Stopped);
    let early = cluster.find_programs().await.err().unwrap();
    assert!(!machine.path().join("home/cluster").exists(), "looking makes nothing");
    let error = cluster.ensure_running().await.err().unwrap();
    assert_eq!(error.to_string(), early.to_string());
    assert_eq!(
        error.to_string(),
        format!(
            "no PostgreSQL 15 or newer was found; looked at\n  {}: PostgreSQL 13 is too old\n  {}: nothing there\n  \
             {}: nothing there",
            old.display(),
            nothing.join("*/bin").display(),
            machine.path().join("system/postgresql/*/bin").display()
        )
    );
    let hint = error.hint().unwrap();
    for way in ["cargo xtask up", "apt-get install postgresql", "SYSTEMPROMPT_PG_BIN"] {
        assert!(hint.contains(way), "{hint}");
    }
    assert!(!machine.path().join("home/cluster/data").exists());

    let search = BinarySearch { configured: Some(nothing), ..binaries() };
    let options = ClusterOptions { binaries: search, ..machine.options("home") };
    let error = ManagedCluster::open(options).unwrap().ensure_running().await.err().unwrap();
    assert!(error.to_string().starts_with("SYSTEMPROMPT_PG_BIN names "), "{error}");
}

#[tokio::test]
async fn data_of_another_version_is_left_alone() {
    let machine = Machine::new();
    machine.cluster("home").ensure_running().await.unwrap().release().await.unwrap();
    let version = machine.path().join("home/cluster/data/PG_VERSION");
    let ours = fs::read_to_string(&version).unwrap();
    fs::write(&version, "14\n").unwrap();
    let error = machine.cluster("home").ensure_running().await.err().unwrap();
    assert!(matches!(error, ClusterError::OtherMajor { major: 14, .. }), "{error}");
    assert!(error.hint().unwrap().contains("postgresql-14"));

    fs::write(&version, ours).unwrap();
    machine.cluster("home").ensure_running().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_failed_creation_leaves_nothing_behind() {
    let machine = Machine::new();
    // Says its version, then writes half a cluster and gives up.
    let broken = program_directory(
        &machine,
        "broken",
        "case $1 in --version) echo 'initdb (PostgreSQL) 16.1';; *) echo 16 > \"$2/PG_VERSION\"; \
         echo 'initdb: error: no space left' >&2; exit 1;; esac",
    );
    let search = BinarySearch { configured: Some(broken), ..binaries() };
    let options = ClusterOptions { binaries: search, ..machine.options("home") };
    let error = ManagedCluster::open(options).unwrap().ensure_running().await.err().unwrap();
    assert_eq!(error.to_string(), "the database could not be created: no space left");
    let left: Vec<_> = fs::read_dir(machine.path().join("home/cluster")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("data")), "{left:?}");

    // Nor does one that was interrupted.
    fs::create_dir_all(machine.path().join("home/cluster/.data-0badf00d/base")).unwrap();
    machine.cluster("home").ensure_running().await.unwrap().release().await.unwrap();
    assert!(!machine.path().join("home/cluster/.data-0badf00d").exists());
}

#[tokio::test]
async fn a_server_that_refuses_its_settings_says_why() {
    let machine = Machine::new();
    let settings = vec![("work_mem".to_owned(), "plenty".to_owned())];
    let options = ClusterOptions { settings, ..machine.options("home") };
    let error = ManagedCluster::open(options).unwrap().ensure_running().await.err().unwrap();
    assert!(matches!(error, ClusterError::Start { .. }));
    assert!(error.to_string().contains("postgresql.conf"), "{error}");
    assert!(error.hint().unwrap().contains("postgres.log"));
    assert_eq!(machine.cluster("home").status().unwrap().pid, None);
}

#[tokio::test]
async fn giving_up_on_a_start_stops_the_server() {
    let machine = Machine::new();
    let cluster = machine.cluster("home");
    let running = cluster.ensure_running().await.unwrap();
    let programs = cluster.find_programs().await.unwrap();
    running.release().await.unwrap();
    let data = machine.path().join("home/cluster/data");

    // From before there is a process to one that is nearly ready.
    for milliseconds in (0..80).step_by(16) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(milliseconds)) => {}
            running = cluster.ensure_running() => drop(running.unwrap()),
        }
        assert_eq!(cluster.stop_if_unused().await.unwrap(), Released::Stopped);
        assert!(!data.join("postmaster.pid").exists(), "given up after {milliseconds} ms");
    }

    // One that has not said yet that it is there, and does not listen yet either.
    let open_to_all = machine.path().join("open");
    fs::create_dir(&open_to_all).unwrap();
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o777)).unwrap();
    let begun = open_to_all.join("begun");
    let slow = program_directory(
        &machine,
        "slow",
        &format!(
            "[ \"$1\" = --version ] || {{ trap : INT; echo $$ > {begun}.new; mv {begun}.new {begun}; sleep 0.3; }}\nexec {real}/$(basename $0) \"$@\"",
            begun = begun.display(),
            real = programs.display()
        ),
    );
    let search = BinarySearch { configured: Some(slow), ..binaries() };
    // However long it takes: the limit of an ordinary stop is over long before.
    let options = ClusterOptions { binaries: search, stop_limit: Duration::from_millis(50), ..machine.options("home") };
    let cluster = ManagedCluster::open(options).unwrap();
    tokio::select! {
        () = until(|| begun.exists()) => {}
        running = cluster.ensure_running() => panic!("ready at once: {}", running.is_ok()),
    }
    let server = pid_in(&begun).unwrap();
    assert_eq!(cluster.stop_if_unused().await.unwrap(), Released::Stopped);
    // A process that has ended has no working directory any more, waited for by its parent or not yet.
    let working_directory = format!("/proc/{}/cwd", server.as_raw_nonzero());
    assert!(fs::metadata(working_directory).is_err(), "it is still on its way");
}

#[tokio::test]
async fn the_log_does_not_grow_without_end() {
    let machine = Machine::new();
    let cluster = machine.cluster("home").ensure_running().await.unwrap();
    let log = cluster.status().unwrap().log;
    let old = vec![b'x'; 5 * 1024 * 1024];
    fs::write(&log, &old).unwrap();
    cluster.bound_log().unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(fs::metadata(log.with_extension("log.1")).unwrap().len(), old.len() as u64);

    let mut connection = connect(&cluster.url()).await;
    sqlx::query("SELECT 1 / 0").execute(&mut connection).await.unwrap_err();
    connection.close().await.unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("division by zero") && !text.contains("SELECT"), "{text}");
    cluster.release().await.unwrap();
}

/// A directory with a `postgres` and an `initdb` that do what the shell script says.
fn program_directory(machine: &Machine, name: &str, script: &str) -> PathBuf {
    let directory = machine.path().join(name);
    fs::create_dir(&directory).unwrap();
    for program in ["postgres", "initdb"] {
        let path = directory.join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    directory
}
