//! How PostgreSQL is told to behave.

use std::fmt::Write as _;

use super::options::ClusterOptions;

/// Peers authenticate with a password, over the unix socket; nothing else gets in.
pub(super) const ACCESS_RULES: &str = "\
# Written by systemprompt at each start.
# TYPE  DATABASE  USER  METHOD
local   all       all   scram-sha-256
";

/// The kind of shared memory `initdb` found to work on this machine, out of the file it wrote: containers without a usable
/// `/dev/shm` need another one than the rest.
pub(super) fn shared_memory_in(initdb_conf: &str) -> &'static str {
    let chosen = initdb_conf.lines().find_map(|line| line.trim().strip_prefix("dynamic_shared_memory_type = "));
    let chosen = chosen.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    ["posix", "sysv", "mmap"].into_iter().find(|kind| *kind == chosen).unwrap_or("posix")
}

/// The text of `postgresql.conf`. After ours comes the operator's `local.conf`, if there is one;
/// the settings of `options` come last and win.
///
/// The socket and the absence of network listeners are given on the command line instead, which no file can override.
pub(super) fn postgresql_conf(major: u32, shared_memory: &str, has_local: bool, options: &ClusterOptions) -> String {
    let max_connections = options.max_connections;
    let mut text = format!(
        "\
# Written by systemprompt at each start: changes are lost. Put your own into local.conf, which is read after this.

cluster_name = 'systemprompt'
max_connections = {max_connections}
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
ssl = off

# Small while idle: memory is taken as pages are used, and processes nobody needs are not started.
shared_buffers = '64MB'
dynamic_shared_memory_type = {shared_memory}
effective_cache_size = '1GB'
work_mem = '8MB'
maintenance_work_mem = '64MB'
max_logical_replication_workers = 0
# Reports must not take the processors from the requests being governed, and /dev/shm is tiny in containers.
max_parallel_workers_per_gather = 0
autovacuum_max_workers = 2
# Statements are short; compiling them costs more than it gains.
jit = off
random_page_cost = 1.1

# Many small commits, each durable before it is answered. Concurrent requests already share a commit, so PostgreSQL does
# not wait for more. Rare checkpoints keep full-page images, which are most of the log volume of such a load, rare too.
synchronous_commit = on
commit_delay = 0
wal_compression = on
wal_buffers = '4MB'
wal_level = minimal
max_wal_senders = 0
checkpoint_timeout = '15min'
max_wal_size = '1GB'
min_wal_size = '80MB'

# The log is for what went wrong. Statements are left out: they may hold what people wrote.
logging_collector = off
log_destination = 'stderr'
log_min_messages = warning
log_min_error_statement = panic
log_checkpoints = off
log_line_prefix = '%m [%p] %a '
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
"
    );
    if major >= 18 {
        text.push_str("\n# As before version 18: no processes that only read ahead.\nio_method = sync\n");
    }
    if has_local {
        text.push_str("\ninclude 'local.conf'\n");
    }
    for (name, value) in &options.settings {
        let _ = writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_what_initdb_found_to_work() {
        let conf = "#shared_memory_type = mmap\ndynamic_shared_memory_type = sysv\t# the default is usually posix\n";
        assert_eq!(shared_memory_in(conf), "sysv");
        assert_eq!(shared_memory_in("#dynamic_shared_memory_type = posix"), "posix");
        assert_eq!(shared_memory_in("dynamic_shared_memory_type = none'; rm"), "posix");
    }

    #[test]
    fn settings_are_quoted() {
        let search = crate::cluster::BinarySearch::default();
        let mut options = ClusterOptions::new("/home", search, systemprompt_model::Ambient::system());
        options.settings = vec![("search_path".to_owned(), r"it's a \".to_owned())];
        let conf = postgresql_conf(15, "posix", true, &options);
        assert!(conf.ends_with("\ninclude 'local.conf'\nsearch_path = 'it''s a \\\\'\n"), "{conf}");
    }
}
