//! Calls that destroy: of tools that are offered as destructive, of tools whose name says so, and commands and statements that
//! are known to.
//!
//! It is a list of the well known. What is not on it may destroy all the same, so it is no substitute for permissions.

use std::fmt;
use std::sync::LazyLock;

use regex::RegexSet;
use serde_json::Value;

use crate::config::words;

/// Words of names of tools that destroy.
const WORDS: [&str; 14] = [
    "delete",
    "deprovision",
    "destroy",
    "drop",
    "erase",
    "nuke",
    "purge",
    "remove",
    "rm",
    "rmdir",
    "terminate",
    "truncate",
    "uninstall",
    "wipe",
];

/// Words of names of tools whose input is a command, a script or a statement. What others are given is text.
const RUNNERS: [&str; 18] = [
    "bash",
    "cli",
    "cmd",
    "command",
    "console",
    "db",
    "database",
    "exec",
    "execute",
    "powershell",
    "query",
    "run",
    "script",
    "sh",
    "shell",
    "sql",
    "terminal",
    "zsh",
];

/// What such an input does, and what it is recognised by.
const COMMANDS: [(&str, &str); 18] = [
    ("deletes files", r#"(?:^|[\s;&|(`'"/\\{])rm\s+(?:-\S+\s+)*(?:-[a-zA-Z]*[rRf]|--recursive|--force)"#),
    ("deletes files", r"\bfind\b[^;&|\n]*\s(?:-delete\b|-exec(?:dir)?\s+(?:\S*/)?rm\b)"),
    (
        "deletes files",
        r"(?i)\b(?:remove-item|rm|ri)\b[^;|\n]*\s-(?:recurse|force)\b|\b(?:del|erase|rd|rmdir)\s+(?:/\w\s+)*/[sq]\b",
    ),
    (
        "deletes files",
        r"\bshutil\.rmtree\s*\(|\bfs(?:\.promises)?\.(?:rm|rmdir)(?:Sync)?\s*\([^)]*recursive|\bFileUtils\.rm_rf\b",
    ),
    ("empties a file", r"\btruncate\s+(?:-\S+\s+)*(?:-s\s*0|--size[= ]0)\b"),
    (
        "overwrites a disk",
        r"(?:^|[\s;&|(])(?:mkfs(?:\.\w+)?|wipefs|shred|blkdiscard)\s|\bdd\b[^;&|\n]*\sof=/dev/|>\s*/dev/(?:sd|hd|vd|nvme|disk)",
    ),
    ("overwrites a disk", r"(?i)(?:^|[\s;&|(])format\s+[a-z]:|\bclear-disk\b|\bdiskpart\b"),
    (
        "rewrites what others have in git",
        r"\bgit\s+(?:-[cC]\s+\S+\s+)*push\b[^;&|\n]*\s(?:--force\S*|-[a-zA-Z]*f[a-zA-Z]*|--delete|--mirror|-d|\+\S+|:\S+)(?:\s|$|['\x22])",
    ),
    (
        "throws work away in git",
        r"\bgit\s+(?:-[cC]\s+\S+\s+)*(?:reset\s[^;&|\n]*--hard|clean\s[^;&|\n]*-\w*f|checkout\s+(?:-f|--force)\b|branch\s+(?:-\S+\s+)*-D\b|stash\s+(?:clear|drop)|filter-branch|filter-repo|reflog\s+expire|worktree\s+remove\s[^;&|\n]*--force)",
    ),
    (
        "drops or empties tables",
        r"(?i)\b(?:drop\s+(?:table|database|schema|view|materialized\s+view|index|user|role|owned|tablespace|keyspace|collection)\b|truncate\s+(?:table\s+|only\s+)?[\w\x22`\[])",
    ),
    ("deletes every row", r#"(?i)\bdelete\s+from\s+[\w."`\[\]]+\s*(?:;|$|['"])"#),
    (
        "empties a database",
        r"(?i)\b(?:dropdb|dropuser)\s|\bflush(?:all|db)\b|\.dropDatabase\s*\(|\.drop\s*\(\s*\)|\.deleteMany\s*\(\s*\{\s*\}",
    ),
    (
        "destroys infrastructure",
        r"\b(?:terraform|tofu|terragrunt|pulumi|cdk)\s+(?:\S+\s+)*destroy\b|\bterraform\s+state\s+rm\b",
    ),
    (
        "destroys infrastructure",
        r"\bkubectl\s+(?:\S+\s+)*(?:delete|drain)\b|\bhelm\s+(?:\S+\s+)*(?:uninstall|delete)\b",
    ),
    (
        "destroys infrastructure",
        r"\baws\s+(?:\S+\s+)*(?:s3\s+r[bm]\b|(?:delete|terminate|deregister|purge)-\S+)|\b(?:gcloud|az|doctl|heroku|flyctl|fly|vercel|gh)\s+(?:\S+\s+)*(?:delete|destroy|apps:destroy|pg:reset)\b|\bgsutil\s+(?:\S+\s+)*rm\b",
    ),
    (
        "deletes containers or volumes",
        r"\b(?:docker|podman)\s+(?:(?:system|volume|image|container|builder|network)\s+(?:prune|rm)\b|rmi?\s)|\bdocker(?:\s+|-)compose\s+(?:\S+\s+)*down\s+(?:\S+\s+)*(?:-v|--volumes)\b",
    ),
    (
        "stops the machine",
        r"(?:^|[;&|(]\s*|\bsudo\s+(?:-\S+\s+)*)(?:shutdown|reboot|poweroff|halt)(?:\s|$)|(?i)\b(?:stop|restart)-computer\b",
    ),
    (
        "takes access away",
        r"(?:^|[;&|(]\s*|\bsudo\s+(?:-\S+\s+)*)(?:userdel|groupdel|crontab\s+-r)\b|\bch(?:mod|own)\s+(?:-\S+\s+)*-\w*R\w*\s+\S+\s+/(?:\s|$)",
    ),
];

static PATTERNS: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(COMMANDS.map(|(_, pattern)| pattern)).expect("the patterns are tried by the tests"));

/// Why a call is taken to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destroys {
    /// Whoever offers the tool says so.
    AsOffered,
    /// A word of its name does.
    ByName(&'static str),
    /// Its input does something that is known to.
    ByInput(&'static str),
    /// Its input is a command that cannot be read.
    Unread,
}

impl fmt::Display for Destroys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsOffered => f.write_str("the tool is offered as destructive"),
            Self::ByName(word) => write!(f, "the tool's name has the word `{word}`"),
            Self::ByInput(what) => write!(f, "it {what}"),
            Self::Unread => f.write_str("it may destroy what it works on, and cannot be read"),
        }
    }
}

/// Whether every call of a tool destroys; `offered` are those that are offered as destructive.
pub(super) fn by_tool(tool: &str, offered: &[String]) -> Option<Destroys> {
    if offered.iter().any(|name| name == tool) {
        return Some(Destroys::AsOffered);
    }
    let is_one = |wanted: &&'static str| words(tool).any(|word| word.eq_ignore_ascii_case(wanted));
    WORDS.iter().copied().find(is_one).map(Destroys::ByName)
}

/// Whether a call of a tool with this input destroys; nothing is known of one that cannot be read.
pub(super) fn by_call(tool: &str, input: Option<&Value>, offered: &[String]) -> Option<Destroys> {
    by_tool(tool, offered).or_else(|| {
        let runs = words(tool).any(|word| RUNNERS.iter().any(|runner| word.eq_ignore_ascii_case(runner)));
        match input {
            _ if !runs => None,
            None => Some(Destroys::Unread),
            Some(input) => in_texts(input).map(Destroys::ByInput),
        }
    })
}

/// What a text in the input does. A command may be a list of its words.
fn in_texts(input: &Value) -> Option<&'static str> {
    match input {
        Value::String(text) => PATTERNS.matches(text).iter().next().map(|at| COMMANDS[at].0),
        Value::Object(map) => map.values().find_map(in_texts),
        Value::Array(items) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            let joined = (words.len() > 1).then(|| Value::String(words.join(" ")));
            items.iter().find_map(in_texts).or_else(|| joined.as_ref().and_then(in_texts))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_to_destroy_is_known() {
        for command in [
            "rm -rf build",
            "sudo rm -r -f /srv/data",
            "cd /tmp && rm -fr *",
            "/bin/rm --recursive x",
            "find . -name '*.log' -delete",
            "find /srv -type f -exec rm {} +",
            "Remove-Item C:\\data -Recurse",
            "del /s /q C:\\data",
            "python3 -c 'import shutil; shutil.rmtree(\"x\")'",
            "truncate -s 0 app.log",
            "mkfs.ext4 /dev/sdb1",
            "dd if=/dev/zero of=/dev/sda bs=1M",
            "git push --force origin main",
            "git push -f",
            "git push origin --delete release",
            "git push origin +main",
            "git -C repo reset --hard HEAD~3",
            "git clean -fdx",
            "git branch -D topic",
            "psql -c 'DROP TABLE users'",
            "drop   database prod;",
            "TRUNCATE TABLE orders",
            "DELETE FROM users;",
            "delete from users",
            "redis-cli -h cache FLUSHALL",
            "db.users.deleteMany({})",
            "terraform -chdir=infra destroy -auto-approve",
            "kubectl -n prod delete deployment web",
            "helm uninstall web",
            "aws s3 rm s3://bucket --recursive",
            "aws ec2 terminate-instances --instance-ids i-1",
            "gcloud compute instances delete web",
            "gh repo delete acme/site --yes",
            "docker system prune -af",
            "docker compose down -v",
            "sudo shutdown -h now",
            "reboot",
            "userdel ada",
            "chmod -R 777 /",
        ] {
            let call = by_call("Bash", Some(&json!({"command": command})), &[]);
            assert!(matches!(call, Some(Destroys::ByInput(_))), "{command}: {call:?}");
        }
        assert!(by_call("shell", Some(&json!({"command": ["rm", "-rf", "x"]})), &[]).is_some());
        assert!(by_call("mcp__db__run_query", Some(&json!({"sql": "drop table users"})), &[]).is_some());
    }

    #[test]
    fn ordinary_work_destroys_nothing() {
        for command in [
            "ls -la && cat README.md",
            "rm notes.txt",
            "npm run format",
            "cargo rm serde",
            "git rm --cached file",
            "git push origin main",
            "git push -u origin feature/force-field",
            "git push origin feature:feature",
            "git reset HEAD~1",
            "git branch -d merged",
            "git stash pop",
            "find . -name '*.rs'",
            "grep -rf patterns .",
            "SELECT * FROM dropped_items WHERE deleted = true",
            "delete from sessions where expires_at < now()",
            "insert into t values ('truncated')",
            "terraform plan",
            "kubectl get pods",
            "docker ps --format '{{.Names}}'",
            "docker compose down",
            "aws s3 ls",
            "echo 'please do not reboot the server'",
            "make shutdown-test",
            "chmod -R u+w build",
            "dd if=image.iso of=copy.iso",
            "python -m http.server",
        ] {
            assert_eq!(by_call("Bash", Some(&json!({"command": command})), &[]), None, "{command}");
        }
        // A file may say what it wants.
        assert_eq!(by_call("Write", Some(&json!({"content": "rm -rf build"})), &[]), None);
        assert_eq!(by_call("Read", None, &[]), None);
    }

    #[test]
    fn a_tool_destroys_by_what_is_said_of_it_or_by_its_name() {
        let offered = ["mcp__crm__merge".to_owned()];
        assert_eq!(by_tool("mcp__crm__merge", &offered), Some(Destroys::AsOffered));
        assert_eq!(by_tool("mcp__db__dropTable", &offered), Some(Destroys::ByName("drop")));
        for harmless in ["mcp__crm__read", "dropdown_options", "undelete", "KillShell", "format_code"] {
            assert_eq!(by_tool(harmless, &offered), None, "{harmless}");
        }
        assert_eq!(by_call("Bash", None, &[]), Some(Destroys::Unread));
    }
}
