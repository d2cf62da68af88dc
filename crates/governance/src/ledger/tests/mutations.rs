//! Whatever one thing somebody changes who has the database, verification names it: any column of any entry, row or part of
//! content, an order, something that is gone, something that was invented.

use super::*;

/// How many changes are tried. Each is another one; which they are is the same on every run.
const CHANGES: usize = 250;

/// What is copied before and put back after each change.
const TABLES: [&str; 6] =
    ["ledger", "ledger_chains", "ledger_content", "governance_decisions", "governance_changes", "standing"];

/// What one change is made to.
struct Column {
    name: String,
    kind: String,
}

/// Numbers that look random and are the same on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// An SQL expression of another value of this type.
fn other(column: &Column, dice: &mut Dice) -> String {
    let name = &column.name;
    match column.kind.as_str() {
        "text" => match dice.below(3) {
            0 => format!("COALESCE({name}, '') || 'x'"),
            // One character somewhere.
            1 => format!(
                "CASE WHEN COALESCE({name}, '') = '' THEN 'x' ELSE overlay({name} placing \
                 CASE substr({name}, 1 + {at} % length({name}), 1) WHEN 'x' THEN 'y' ELSE 'x' END \
                 from 1 + {at} % length({name}) for 1) END",
                at = dice.below(5000)
            ),
            _ => format!("CASE WHEN {name} = 'other' THEN 'another' ELSE 'other' END"),
        },
        "uuid" => "gen_random_uuid()".to_owned(),
        "timestamp with time zone" => {
            let step = dice.one_of(&["1 microsecond", "-1 second", "3 hours"]);
            format!("COALESCE({name}, now()) + interval '{step}'")
        }
        "bigint" | "integer" => format!("COALESCE({name}, 0) + {}", 1 + dice.below(3)),
        "boolean" => format!("NOT COALESCE({name}, FALSE)"),
        "jsonb" => format!("jsonb_build_array({name})"),
        "bytea" => format!("sha256(COALESCE({name}, ''::bytea))"),
        kind => panic!("a column of the type {kind}"),
    }
}

async fn columns(pool: &PgPool, table: &str) -> Vec<Column> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().map(|(name, kind)| Column { name, kind }).collect()
}

async fn rows(pool: &PgPool, table: &str) -> usize {
    let count = format!("SELECT COUNT(*) FROM saved_{table}");
    let (count,): (i64,) = sqlx::query_as(AssertSqlSafe(count)).fetch_one(pool).await.unwrap();
    count as usize
}

/// A condition that holds for one row of the table.
fn one_row(table: &str, row: usize) -> String {
    format!(
        "ctid = (SELECT ctid FROM {table} ORDER BY {table}::text LIMIT 1 OFFSET {row}) \
         AND tableoid = (SELECT tableoid FROM {table} ORDER BY {table}::text LIMIT 1 OFFSET {row})"
    )
}

/// One change, and the table whose name or places the report must have.
async fn change(pool: &PgPool, dice: &mut Dice) -> String {
    // Liveness and bounds are not what the log promises.
    let unwatched = ["oldest_open", "started_at", "heartbeat_at", "ended_at", "generation", "dropped_hash"];
    let table = dice.one_of(&["ledger", "ledger", "ledger", "ledger_chains", "ledger_content"]);
    let table = if dice.below(2) == 0 { table } else { dice.one_of(&TABLES) };
    let count = rows(pool, table).await;
    let row = one_row(table, dice.below(count));
    let columns = columns(pool, table).await;
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let watched: Vec<&Column> = columns.iter().filter(|column| !unwatched.contains(&column.name.as_str())).collect();
    match (dice.below(10), table) {
        (0, "ledger" | "ledger_chains" | "governance_decisions" | "governance_changes" | "standing") => {
            format!("DELETE FROM {table} WHERE {row}")
        }
        // A copy of a row under another key.
        (1, "ledger_chains") => format!(
            "INSERT INTO ledger_chains SELECT (r).* FROM (SELECT jsonb_populate_record(c, '{{\"chain_id\": \"{}\"}}') AS r \
             FROM ledger_chains AS c LIMIT 1) AS s",
            Uuid::from_u128(u128::from(dice.next()))
        ),
        (1, _) => {
            let id = if table == "ledger_content" || table == "ledger" { "action_id" } else { "id" };
            let seq =
                if table == "ledger" { format!(", \"seq\": {}", 1 + dice.below(count + 3)) } else { String::new() };
            format!(
                "INSERT INTO {table} ({names}) SELECT {names} FROM (SELECT (jsonb_populate_record(t, \
                 '{{\"{id}\": \"{}\", \"at\": \"2026-11-01T00:00:00.{:06}Z\"{seq}}}')).* FROM {table} AS t WHERE {row}) AS s",
                Uuid::from_u128(u128::from(dice.next())),
                dice.below(999_999),
            )
        }
        // Two entries change places.
        (2, "ledger") => {
            let first = 1 + dice.below(count - 1);
            format!(
                "UPDATE ledger AS l SET (kind, action_id, body) = (SELECT kind, action_id, body FROM saved_ledger AS s \
                 WHERE s.chain_id = l.chain_id AND s.seq = 2 * {first} + 1 - l.seq) WHERE seq IN ({first}, {first} + 1)"
            )
        }
        // The end is taken off, and what is recorded of it made to fit.
        (3, "ledger" | "ledger_chains") => {
            let end = 1 + dice.below(count.max(3) - 2);
            format!(
                "DELETE FROM ledger WHERE seq > {end}; UPDATE ledger_chains AS c SET seq = {end}, hash = l.hash, at = l.at \
                 FROM ledger AS l WHERE l.chain_id = c.chain_id AND l.seq = {end}"
            )
        }
        _ => {
            let column = dice.one_of(&watched);
            format!("UPDATE {table} SET {} = {} WHERE {row}", column.name, other(column, dice))
        }
    }
}

#[tokio::test]
async fn any_single_change_is_named() {
    let database = testing::database(&[module_with_changes()]).await;
    let pool = database.pool.write();
    let home = tempfile::tempdir().unwrap();
    let projections: Vec<Arc<dyn Projection>> =
        vec![Standing::new(), Arc::new(crate::decisions::Decisions), Arc::new(Changes)];
    let setup = Setup {
        checkpoints: Some(Checkpoints::open(home.path()).unwrap()),
        projections: projections.clone(),
        retention: RetentionProfile { content: Some(ContentRetention::Excerpt), ..RetentionProfile::default() }
            .resolve(false),
        ..Setup::default()
    };
    let fixture = setup.start(&database.pool).await;
    for round in 0..4 {
        finish(fixture.admit(&format!("hello {round}")).await.unwrap(), "hi");
        // Too long to be kept in whole.
        finish(fixture.admit(&format!("long {}", "words ".repeat(4_000 + round))).await.unwrap(), "\u{0}nothing");
        fixture.refuse().await;
        drop(fixture.admit("given up").await.unwrap());
        let change = Change::new("user.update", About::new("user", round), &json!({"roles": ["admin"]}));
        let changed = Changed { value: (), before: None, after: Some(StateDigest::of(&round)) };
        let by = Attribution::operator("root", 0, &fixture.ambient);
        fixture.gate.change(by, change, async || Ok::<_, String>(changed)).await.unwrap();
        fixture.ledger.checkpoint("regular").await;
    }
    let ledger = Arc::clone(&fixture.ledger);
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    for table in TABLES {
        run(pool, &format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
    }
    let seen = remembered(home.path());
    let sound = verify(pool, &seen, &projections).await.unwrap();
    assert_eq!((sound.problems.as_slice(), sound.notes.as_slice()), ([].as_slice(), [].as_slice()));
    assert!(sound.verified > 30 && sound.content > 20, "{sound:?}");

    let mut dice = Dice(0x5eed_0f1e_d6e7_2026);
    let mut refused = 0;
    for number in 0..CHANGES {
        let statement = change(pool, &mut dice).await;
        let silent = format!("SET session_replication_role = 'replica'; {statement}; RESET session_replication_role");
        let changed = sqlx::raw_sql(AssertSqlSafe(silent)).execute(pool).await;
        run(pool, "SELECT 1").await;
        if changed.is_err() {
            // A key or a partition objected, so nothing was changed.
            refused += 1;
            continue;
        }
        let report = verify(pool, &seen, &projections).await.unwrap();
        let named = |problem: &LedgerProblem| problem.chain.is_some() || problem.row.is_some();
        assert!(report.problems.iter().any(named), "{number}: {statement}: {report:#?}");
        for table in TABLES {
            // A statement each puts everything back as it was, generated columns too.
            run(pool, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved_{table}")).await;
        }
    }
    assert!(refused < CHANGES / 5, "{refused} changes were none");
    assert_eq!(verify(pool, &seen, &projections).await.unwrap(), sound);
}
