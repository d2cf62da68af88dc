//! The shape of the workspace, checked against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Which of our crates a crate may use, directly. Arrows point down only; a new edge is a decision, taken here and in
/// `ARCHITECTURE.md`.
const EDGES: &[(&str, &[&str])] = &[
    ("systemprompt-model", &[]),
    ("systemprompt-secrets", &["model"]),
    ("systemprompt-llm", &["model"]),
    ("systemprompt-config", &["model"]),
    ("systemprompt-database", &["model"]),
    ("systemprompt-extension", &["model", "config", "database"]),
    ("systemprompt-verify", &[]),
    ("systemprompt-mail", &["model", "config", "extension"]),
    ("systemprompt-governance", &["model", "secrets", "config", "database", "extension", "mail", "verify"]),
    ("systemprompt-identity", &["model", "config", "database", "extension", "governance"]),
    ("systemprompt-telemetry", &["model", "config", "database", "extension", "governance"]),
    ("systemprompt-hooks", &["model", "config", "database", "extension", "governance", "identity"]),
    (
        "systemprompt-gateway",
        &["model", "llm", "config", "database", "extension", "governance", "identity", "telemetry"],
    ),
    ("systemprompt-server", &["model", "config", "database", "extension"]),
    (
        "systemprompt-cli",
        &[
            "model",
            "secrets",
            "llm",
            "config",
            "database",
            "extension",
            "mail",
            "governance",
            "identity",
            "telemetry",
            "hooks",
            "gateway",
            "server",
            "verify",
        ],
    ),
    (
        "systemprompt",
        &[
            "model",
            "secrets",
            "llm",
            "config",
            "database",
            "extension",
            "mail",
            "governance",
            "identity",
            "telemetry",
            "hooks",
            "gateway",
            "server",
            "cli",
        ],
    ),
    // The tools: programs beside the product. Nothing of the product may use them, except in its tests.
    ("systemprompt-mock-upstream", &[]),
    ("systemprompt-bench", &["model", "llm", "mock-upstream"]),
    ("xtask", &["mock-upstream", "bench"]),
];

const TOOLS: &[&str] = &["systemprompt-mock-upstream", "systemprompt-bench", "xtask"];

#[test]
fn crates_use_only_what_lies_below_them() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<String>> = EDGES
        .iter()
        .map(|(name, below)| (*name, below.iter().map(|short| format!("systemprompt-{short}")).collect()))
        .collect();
    let ours: BTreeSet<String> = packages(&metadata).map(|package| package.name.to_string()).collect();
    let mut breaches = Vec::new();
    for package in packages(&metadata) {
        let name = package.name.as_str();
        if is_example(&metadata, package) {
            // An example sees what an outside author sees.
            breaches.extend(
                of_ours(package, &ours).filter(|(used, _)| *used != "systemprompt").map(|(used, _)| edge(name, used)),
            );
            continue;
        }
        let Some(allowed) = allowed.get(name) else {
            breaches.push(format!("{name} is not in the table of edges"));
            continue;
        };
        for (used, kind) in of_ours(package, &ours) {
            // Tests of the whole are the façade's, where there is a server to drive: no crate assembles one of its own for its
            // tests, and the server has no feature even for those.
            let in_tests_only =
                kind == DependencyKind::Development && (name, used) == ("systemprompt", "systemprompt-mock-upstream");
            if !allowed.contains(used) && !in_tests_only {
                breaches.push(edge(name, used));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_table_of_edges_points_down_only() {
    let mut below: BTreeSet<String> = BTreeSet::new();
    for (name, uses) in EDGES {
        for used in *uses {
            assert!(
                below.contains(&format!("systemprompt-{used}")),
                "{name} uses {used}, which is not above it in the table"
            );
        }
        below.insert((*name).to_owned());
        let is_tool = TOOLS.contains(name);
        let uses_tool = uses.iter().any(|used| TOOLS.contains(&format!("systemprompt-{used}").as_str()));
        assert!(is_tool || !uses_tool, "{name} uses a tool");
    }
}

/// The server knows a list of extensions, not what they do: none of their crates, types, paths or services is named in its
/// sources.
#[test]
fn the_server_names_no_feature() {
    const NAMES: &[&str] = &[
        "systemprompt_mail",
        "systemprompt_governance",
        "systemprompt_identity",
        "systemprompt_gateway",
        "systemprompt_telemetry",
        "systemprompt_hooks",
        "systemprompt_llm",
        "Authenticator",
        "GatewayExtension",
        "IdentityExtension",
        "GovernanceExtension",
        "/v1/messages",
        "/v1/chat",
        "/v1/models",
        "/api/public",
        "jwks",
    ];
    let mut breaches = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let text = std::fs::read_to_string(&entry).expect("a source file");
                let named = NAMES.iter().filter(|name| text.contains(**name));
                breaches.extend(named.map(|name| format!("{} names {name}", entry.display())));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_package_inherits_the_workspace_lints() {
    let metadata = metadata();
    let without: Vec<_> = packages(&metadata)
        .filter(|package| !manifest(package).contains("[lints]\nworkspace = true\n"))
        .map(|package| package.name.to_string())
        .collect();
    assert!(without.is_empty(), "without `[lints] workspace = true`: {}", without.join(", "));
}

/// One version and one feature set of everything, declared at the root. Examples are exempt where they play the outside
/// author: they name the façade by its path, with the features they want.
#[test]
fn third_party_dependencies_are_declared_at_the_root() {
    let metadata = metadata();
    let ours: BTreeSet<String> = packages(&metadata).map(|package| package.name.to_string()).collect();
    let mut breaches = Vec::new();
    for package in packages(&metadata) {
        for (name, declaration) in declarations(&manifest(package)) {
            if ours.contains(&name) && is_example(&metadata, package) {
                continue;
            }
            if !declaration.contains("workspace = true") {
                breaches.push(format!("{}: {name} = {declaration}", package.name));
            } else if declaration.contains("features") {
                breaches.push(format!(
                    "{}: {name} asks for features of its own; features are declared at the root",
                    package.name
                ));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn packages_share_version_edition_and_licence() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let manifest = manifest(package);
        for key in ["version", "edition", "rust-version", "license"] {
            assert!(
                manifest.contains(&format!("{key}.workspace = true")),
                "{}: `{key}.workspace = true`",
                package.name
            );
        }
        assert_eq!(package.license.as_deref(), Some("MIT OR Apache-2.0"), "{}", package.name);
    }
}

/// `model`, `secrets` and `llm` do no I/O, so nothing that can do any may be linked into them.
#[test]
fn pure_crates_have_no_means_of_io() {
    const PURE: &[&str] = &["systemprompt-model", "systemprompt-secrets", "systemprompt-llm"];
    const IO: &[&str] = &["axum", "hyper", "hyper-util", "reqwest", "sqlx", "tempfile", "tokio", "tokio-util", "tower"];
    let metadata = metadata();
    for package in packages(&metadata).filter(|package| PURE.contains(&package.name.as_str())) {
        let io: Vec<_> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal && IO.contains(&dependency.name.as_str()))
            .map(|dependency| dependency.name.as_str())
            .collect();
        assert!(io.is_empty(), "{} depends on {}", package.name, io.join(", "));
    }
}

fn metadata() -> Metadata {
    // Only our own packages matter, and their manifests say it all: no network, no lock.
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("`cargo metadata` on this workspace")
}

fn packages(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata.packages.iter()
}

fn is_example(metadata: &Metadata, package: &Package) -> bool {
    package.manifest_path.starts_with(metadata.workspace_root.join("extensions"))
}

fn of_ours<'a>(package: &'a Package, ours: &'a BTreeSet<String>) -> impl Iterator<Item = (&'a str, DependencyKind)> {
    package
        .dependencies
        .iter()
        .filter(|dependency| ours.contains(&dependency.name))
        .map(|dependency| (dependency.name.as_str(), dependency.kind))
}

fn edge(from: &str, to: &str) -> String {
    format!("{from} uses {to}, which the table of edges does not allow")
}

fn manifest(package: &Package) -> String {
    let path: &Path = package.manifest_path.as_std_path();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of all dependency tables as `(name, what is declared)`.
fn declarations(manifest: &str) -> Vec<(String, String)> {
    let mut in_dependencies = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            in_dependencies = table.ends_with("dependencies");
            assert!(!table.contains("dependencies."), "write dependencies as one line each: [{table}]");
        } else if in_dependencies && let Some((name, declaration)) = line.split_once('=') {
            match name.trim().split_once('.') {
                Some((name, key)) => found.push((name.to_owned(), format!("{key} = {}", declaration.trim()))),
                None => found.push((name.trim().to_owned(), declaration.trim().to_owned())),
            }
        }
    }
    found
}
