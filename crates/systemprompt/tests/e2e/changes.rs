//! What operators change is recorded with who did it, also what they change before there is a ledger.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::harness::{Instance, command, document, path, remove_cluster, run};

/// Operations, oldest first, with what they were about.
fn operations(changes: &Value) -> Vec<(&str, &str)> {
    let items = changes["items"].as_array().expect("a list");
    items.iter().rev().map(|row| (row["operation"].as_str().unwrap(), row["about_id"].as_str().unwrap())).collect()
}

/// What the record says of a profile's state: the digest of the digests of its files.
fn state(profile: &Path) -> String {
    let digest = |content: &[u8]| hex::encode(Sha256::digest(content));
    let files: BTreeMap<_, _> = std::fs::read_dir(profile)
        .expect("a profile")
        .map(|file| file.expect("a file"))
        .map(|file| (file.file_name().into_string().unwrap(), digest(&std::fs::read(file.path()).unwrap())))
        .collect();
    digest(json!(files).to_string().as_bytes())
}

#[tokio::test]
async fn profiles_that_are_made_and_replaced_are_in_the_record() {
    let instance = Instance::start().await;
    let list = ["infra", "logs", "changes", "list", "-n", "50"];
    // The profile was written before there was a database.
    let first = instance.cli(&list);
    let operations_first = operations(&first);
    assert_eq!(operations_first[0], ("profile.create", "local"));
    let names: Vec<_> = operations_first.iter().map(|(operation, _)| *operation).collect();
    assert_eq!(
        names,
        ["profile.create", "schema.load", "configuration.load", "access_rules.load", "administrator.bootstrap"]
    );
    let created = first["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&created["actor_kind"], &created["status"]), (&json!("operator"), &json!("completed")));
    assert!(created["before_sha256"].is_null() && created["after_sha256"].is_string());
    let shown = instance.cli(&["infra", "logs", "changes", "show", created["id"].as_str().unwrap()]);
    assert_eq!(shown["request"]["request"]["secrets"], json!(["anthropic", "openai"]));
    assert!(shown["request"]["made_at"].as_str().unwrap() <= created["created_at"].as_str().unwrap());

    // Replaced: in the ledger that was in force, at once, with what was there before and after.
    let profile = path(&instance, "profiles/local");
    let secrets = std::fs::read(profile.join("secrets.json")).unwrap();
    let before = state(&profile);
    let replaced = run(instance.home.path(), &["--json", "admin", "setup", "-e", "local", "--force", "--yes"]);
    assert!(replaced.status.success(), "{}", String::from_utf8_lossy(&replaced.stderr));
    let after = state(&profile);
    std::fs::write(profile.join("secrets.json"), secrets).unwrap();
    let changes = instance.cli(&list);
    let latest = &changes["items"][0];
    assert_eq!((&latest["operation"], &latest["about_id"]), (&json!("profile.create"), &json!("local")));
    assert_eq!((&latest["before_sha256"], &latest["after_sha256"]), (&json!(before), &json!(after)));
    assert_eq!((&latest["actor_kind"], &latest["status"]), (&json!("operator"), &json!("completed")));

    // A profile whose own database is not there yet waits for the next command that records something.
    let waits = path(&instance, "ledger/unrecorded.jsonl");
    assert_eq!(std::fs::read_to_string(&waits).unwrap(), "");
    // What was torn off by a full disk is kept, and holds up nothing.
    std::fs::write(&waits, "{\"id").unwrap();
    let second = run(instance.home.path(), &["admin", "setup", "-e", "second"]);
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(std::fs::read_to_string(&waits).unwrap().lines().count(), 2);
    let create = ["--profile", "local", "admin", "users", "create", "--name", "eve", "--email", "eve@example.com"];
    instance.cli(&create);
    assert_eq!(std::fs::read_to_string(&waits).unwrap(), "{\"id\n");
    let changes = instance.cli(&[&["--profile", "local"], &list[..]].concat());
    assert_eq!(operations(&changes)[names.len() + 1..], [("profile.create", "second"), ("user.create", "eve")]);
    let verified = instance.cli(&["--profile", "local", "infra", "logs", "audit", "verify"]);
    assert_eq!(verified["problems"], json!([]));
}

#[test]
fn a_set_up_that_makes_the_database_is_in_its_record() {
    let home = TempDir::new().expect("a directory");
    let written = run(home.path(), &["--json", "admin", "setup", "-e", "local", "--migrate"]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let listed = command(home.path()).args(["--json", "infra", "logs", "changes", "list"]).output().unwrap();
    let changes = document(&listed);
    let names: Vec<_> = operations(&changes).into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(names, ["profile.create", "schema.migrate"]);
    remove_cluster(home.path());
}
