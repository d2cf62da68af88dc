//! What happens while entries cannot be written.

use std::time::Instant;

use systemprompt_model::{ApiKeyId, Credential, UserType};
use tokio::sync::Semaphore;

use super::super::housekeeping::keep_house;
use super::super::queue::Pending;
use super::*;

/// How soon everybody is told of an outage.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

impl Fixture {
    async fn wait_until(&self, available: bool) {
        let mut known = self.ledger.shared.queue.available.subscribe();
        timeout(Duration::from_secs(20), known.wait_for(|now| *now == available)).await.expect("in time").unwrap();
    }
}

/// Has PostgreSQL refuse every new row of this table with this error.
async fn refuse_rows(pool: &PgPool, table: &str, code: &str, message: &str) {
    let statements = format!(
        "CREATE OR REPLACE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$;
         CREATE TRIGGER refused BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_row();"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

async fn take_rows(pool: &PgPool, table: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TRIGGER refused ON {table}"))).execute(pool).await.unwrap();
}

#[tokio::test]
async fn a_database_that_takes_nothing_is_away_until_it_takes_something() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let mut completed = 0;
    for (table, code, message, reason) in [
        ("ledger", "53100", "could not extend file: No space left on device", "PostgreSQL has no disk space left"),
        ("ledger_content", "53100", "could not extend file: No space left on device", "has no disk space left"),
        ("ledger", "25006", "cannot execute INSERT in a read-only transaction", "PostgreSQL is read-only"),
        // As if every entry were to blame.
        ("ledger", "23514", "no partition of relation found for row", "PostgreSQL refuses what is written"),
    ] {
        let early = fixture.admit("before").await.unwrap();
        refuse_rows(pool, table, code, message).await;
        let begun = Instant::now();
        if table == "ledger" {
            assert_eq!(fixture.admit("hello").await.err(), Some(Refusal::LedgerUnavailable), "{code}");
        }
        finish(early, "hi");
        fixture.wait_until(false).await;
        assert!(begun.elapsed() < TOLD_WITHIN, "{code} was noticed after {:?}", begun.elapsed());
        let outage = fixture.ledger.shared.queue.outage().expect("it is said why");
        assert!(outage.reason.contains(reason), "{code}: {}", outage.reason);

        // It can be connected to all the time, and is not taken for well.
        let mut known = fixture.ledger.shared.queue.available.subscribe();
        let reopened = timeout(Duration::from_secs(1), known.wait_for(|available| *available)).await;
        assert!(reopened.is_err(), "{code}: it is said to be available and is not");
        assert_eq!(fixture.ledger.shared.queue.outage().map(|outage| outage.since), Some(outage.since));
        let page = fixture.metrics.encode();
        let lag = page.lines().find_map(|line| line.strip_prefix("audit_chain_lag_seconds ")).expect("a metric");
        assert!(lag.parse::<f64>().unwrap() >= 1.0, "{lag}");
        assert!(page.contains("\nledger_available 0\n"));

        take_rows(pool, table).await;
        fixture.wait_until(true).await;
        assert_eq!(fixture.ledger.shared.queue.outage(), None);
        finish(fixture.admit("after").await.unwrap(), "hi");
        completed += 2;
    }
    fixture.drained().await;
    assert_eq!(statuses(pool).await, [("completed".to_owned(), completed)]);
    assert_sound(pool).await;
}

#[tokio::test]
async fn a_postgresql_that_stands_still_is_noticed_while_nobody_asks() {
    let cluster = TestCluster::start().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    install(&pool, &[module()], &InstallOptions::default()).await.unwrap();
    let fixture = Setup::default().start(&pool).await;
    let permit = fixture.admit("hello").await.unwrap();

    cluster.freeze();
    let begun = Instant::now();
    fixture.wait_until(false).await;
    let noticed = begun.elapsed();
    assert_refused_at_once(&fixture);
    finish(permit, "hi");
    cluster.thaw();
    assert!(noticed < TOLD_WITHIN, "{noticed:?}");

    fixture.wait_until(true).await;
    finish(fixture.admit("hello again").await.unwrap(), "hi");
    fixture.drained().await;
    assert_eq!(statuses(pool.write()).await, [("completed".to_owned(), 2)]);
    assert_sound(pool.write()).await;
}

const ROUNDS: u32 = 6;

/// After how many admissions the fault of this round comes.
const fn before_fault(round: u32) -> u32 {
    13 + 7 * round
}

#[tokio::test]
async fn a_postgresql_that_crashes_or_freezes_in_the_middle_of_commits_loses_and_repeats_nothing() {
    let cluster = TestCluster::start().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    install(&pool, &[module()], &InstallOptions::default()).await.unwrap();
    let fixture = Setup::default().start(&pool).await;
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let admitted = Semaphore::new(0);
        let admit = async || {
            let permit = fixture.admit("hello").await.ok()?;
            admitted.add_permits(1);
            Some(permit)
        };
        let load = async {
            let mut permits = Vec::new();
            // Until nothing is admitted any more.
            loop {
                let before = permits.len();
                permits.extend(join_all((0..10).map(|_| admit())).await.into_iter().flatten());
                if permits.len() == before {
                    return permits;
                }
            }
        };
        let fault = async {
            // While some of ten are written, and others not.
            let _some = admitted.acquire_many(before_fault(round)).await.expect("it is not closed");
            if round % 2 == 0 { cluster.crash() } else { cluster.freeze() }
        };
        let (permits, ()) = tokio::join!(load, fault);
        for permit in permits {
            answered.push(permit.id());
            finish(permit, "hi");
        }
        if round % 2 == 0 {
            cluster.restart();
        } else {
            cluster.thaw();
        }
        fixture.wait_until(true).await;
    }
    fixture.drained().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    let least: u32 = (0..ROUNDS).map(before_fault).sum();
    assert!(answered.len() >= least as usize, "{} were admitted", answered.len());
    for id in answered {
        assert_eq!(kinds_of(pool.write(), id).await, ["decided", "ended"], "{id}");
    }
    assert!(statuses(pool.write()).await.iter().all(|(status, _)| status != "pending"));
    assert_sound(pool.write()).await;
}

/// A server of this home, which keeps a journal.
async fn at_home(home: &Path, database: &TestDatabase, durability: Durability) -> Fixture {
    let journal = Some(Journal::open(home).unwrap());
    Setup { durability, journal, ..Setup::default() }.start(&database.pool).await
}

fn journals(home: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(home).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).collect()
}

/// Ends the server as `kill -9` would: nothing of it is heard any more.
async fn kill_at_once(fixture: &Fixture) {
    fixture.ledger.abort.cancel();
    fixture.ledger.ended.cancelled().await;
}

#[tokio::test]
async fn what_a_killed_server_had_not_written_is_settled_by_the_next() {
    for durability in [Durability::Durable, Durability::Asynchronous] {
        let database = testing::database(&[module()]).await;
        let pool = database.pool.write();
        let home = tempfile::tempdir().unwrap();
        let killed = at_home(home.path(), &database, durability).await;
        let mut answered = Vec::new();
        for permit in join_all((0..20).map(|_| killed.admit("hello"))).await {
            answered.push(permit.as_ref().unwrap().id());
            finish(permit.unwrap(), "hi");
        }
        // Under way, and a token had come.
        let permit = killed.admit("a long one").await.unwrap();
        let interrupted = permit.id();
        let (_, running) = permit.begin(&target()).unwrap();
        for output_tokens in [1, 7] {
            let usage = Usage { output_tokens, input_tokens: 3, ..Usage::ONE_CALL };
            running.stands(&Outcome { usage, ..Outcome::failed("the server died") });
        }
        let silent = killed.admit("nothing came of it").await.unwrap();
        let silent = (silent.id(), silent.begin(&target()).unwrap());
        for permit in join_all((0..20).map(|_| killed.admit("hello"))).await {
            answered.push(permit.as_ref().unwrap().id());
            finish(permit.unwrap(), "hi");
        }
        kill_at_once(&killed).await;
        let left = journals(home.path());
        assert!(!left.is_empty(), "{durability:?}: something waited");
        let copies: Vec<_> = left.iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        // Of a process that is gone nothing is dropped either.
        std::mem::forget((running, silent.1));

        // Once, and once more as if the first had died before it could tidy up.
        for _ in 0..2 {
            let restarted = at_home(home.path(), &database, durability).await;
            restarted.ledger.recover().await.unwrap();
            assert!(copies.iter().all(|(path, _)| !path.exists()), "{durability:?}: it is in the ledger");
            for id in &answered {
                let entries = entries_of(pool, *id).await;
                let kinds: Vec<_> = entries.iter().map(|(kind, _)| kind.as_str()).collect();
                assert_eq!(kinds, ["decided", "ended"], "{durability:?}");
                assert_eq!(entries[1].1["facts"]["tokens"], 15, "{durability:?}");
            }
            let entries = entries_of(pool, interrupted).await;
            assert_eq!(entries.len(), 2);
            assert_eq!(entries[1].1["status"], "failed");
            assert_eq!(entries[1].1["usage"]["output_tokens"], 7, "what had been seen last counts");
            assert_eq!(kinds_of(pool, silent.0).await, ["decided", "abandoned"]);
            assert_sound(pool).await;
            restarted.drained().await;
            for (path, bytes) in &copies {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_leaves_no_journal() {
    let database = testing::database(&[module()]).await;
    let home = tempfile::tempdir().unwrap();
    let fixture = at_home(home.path(), &database, Durability::Durable).await;
    finish(fixture.admit("hello").await.unwrap(), "hi");
    fixture.drained().await;
    assert_eq!(journals(home.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_journal_may_be_torn_at_its_end_and_changed_nowhere() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    for (change, expected) in
        [("torn", 3), ("changed", 1), ("a length", 1), ("a length's check", 1), ("another home's", 0)]
    {
        let home = tempfile::tempdir().unwrap();
        let killed = at_home(home.path(), &database, Durability::Durable).await;
        let mut ends = Vec::new();
        let permits = join_all((0..4).map(|_| killed.admit("hello"))).await;
        // The writer has gone before anything ends.
        kill_at_once(&killed).await;
        let journal = Journal::open(home.path()).unwrap();
        for permit in permits {
            let permit = permit.unwrap();
            let end = EndedEntry {
                action: permit.id(),
                answer: None,
                at: killed.ambient.now(),
                effect: Ask::KIND,
                facts: None,
                inspections: &[],
                kept: &[],
                latency_ms: None,
                reason: None,
                status: "completed",
                usage: Usage::ONE_CALL,
            };
            assert!(journal.keep(&end.seal(), &[], false).is_some());
            ends.push(permit.id());
            std::mem::forget(permit);
        }
        let path = journals(home.path()).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let record = (bytes.len() - 40) / 4;
        match change {
            "torn" => bytes.truncate(bytes.len() - 10),
            "changed" => bytes[40 + record + 30] ^= 1,
            // So long that the file seems to end inside of it.
            "a length" => bytes[40 + record + 2] ^= 1,
            "a length's check" => bytes[40 + record + 5] ^= 1,
            _ => std::fs::write(home.path().join("key"), "f".repeat(64)).unwrap(),
        }
        std::fs::write(&path, bytes).unwrap();
        drop(journal);

        let restarted = at_home(home.path(), &database, Durability::Durable).await;
        // What cannot be written now is found again.
        run(pool, "ALTER TABLE ledger RENAME COLUMN body TO gone").await;
        let unwritten = restarted.ledger.recover().await;
        run(pool, "ALTER TABLE ledger RENAME COLUMN gone TO body").await;
        assert!(unwritten.is_err() || expected == 0, "{change}");
        assert!(path.exists() || expected == 0, "{change}: it is nowhere else yet");
        restarted.ledger.recover().await.unwrap();
        for (number, id) in ends.iter().enumerate() {
            let last = if number < expected { "ended" } else { "abandoned" };
            assert_eq!(kinds_of(pool, *id).await, ["decided", last], "{change}, record {number}");
        }
        assert!(!path.exists());
        assert_eq!(path.with_extension("damaged").exists(), change != "torn", "what was changed is kept for a look");
        restarted.drained().await;
        assert_sound(pool).await;
    }
}

#[test]
fn a_journal_that_was_put_aside_is_not_put_aside_over_another() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("000000000003.damaged"), "what was found").unwrap();
    let journal = Journal::open(home.path()).unwrap();
    journal.note(&entry::abandoned(ActionId::generate(&Ambient::system()), "infer", Ambient::system().now()));
    assert_eq!(journals(home.path()), [home.path().join("000000000004.journal")]);
}

#[tokio::test]
async fn what_is_refused_because_the_ledger_closes_does_not_wait_in_the_journal() {
    let database = testing::database(&[module()]).await;
    let home = tempfile::tempdir().unwrap();
    let fixture = at_home(home.path(), &database, Durability::Durable).await;
    let queue = &fixture.ledger.shared.queue;
    let journal = queue.journal().unwrap();
    let entry = entry::abandoned(ActionId::generate(&fixture.ambient), Ask::KIND, fixture.ambient.now());
    let filed = journal.keep(&entry, &[], true);
    assert!(journal.waiting() > 0);
    queue.close();
    let content = Vec::new();
    let late = Pending { entry, content, opens: true, waiter: None, filed, _slot: None, queued: Instant::now() };
    assert!(queue.push_decision(late).is_err());
    assert_eq!(journal.waiting(), 0);
    fixture.drained().await;
    assert_eq!(journals(home.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn what_is_in_the_ledger_leaves_the_home_while_the_server_runs() {
    let database = testing::database(&[module()]).await;
    let home = tempfile::tempdir().unwrap();
    let fixture = at_home(home.path(), &database, Durability::Durable).await;
    let open = fixture.admit("a long one").await.unwrap();
    finish(fixture.admit("hello").await.unwrap(), "what it answered");
    let mut left = journals(home.path());
    assert_eq!(left.len(), 1, "its end was kept");
    for _ in 0..200 {
        keep_house(&fixture.ledger).await.unwrap();
        left = journals(home.path());
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    finish(open, "hi");
    assert_eq!(journals(home.path()).len(), 1, "what comes begins another");
    fixture.drained().await;
    assert_eq!(statuses(database.pool.write()).await, [("completed".to_owned(), 2)]);
}

#[tokio::test]
async fn decisions_are_kept_in_the_home_while_the_ledger_cannot_be_written() {
    let cluster = TestCluster::start().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    install(&pool, &[module()], &InstallOptions::default()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let start = async || {
        let audit = AuditProfile { on_store_failure: OnStoreFailure::Spool, spool_limit_mib: 1 };
        let journal = Some(Journal::open(home.path()).unwrap());
        let pool = Database::connect(&cluster.connect_options()).await.unwrap();
        Setup { journal, audit, ..Setup::default() }.start(&pool).await
    };
    let mut answered = Vec::new();
    for killed in [false, true] {
        let fixture = start().await;
        fixture.ledger.recover().await.unwrap();
        finish(fixture.admit("before").await.unwrap(), "hi");
        cluster.stop();
        fixture.wait_until(false).await;
        let refused = fixture.refuse().await;
        let mut waiting = Vec::new();
        for number in 0..141 {
            let permit = fixture.admit("while it is away").await.unwrap();
            answered.push(permit.id());
            // Some end in another order than they began.
            waiting.push(permit);
            if number % 7 == 0 {
                waiting.drain(..).rev().for_each(|permit| finish(permit, "hi"));
            }
        }
        waiting.drain(..).for_each(|permit| finish(permit, "hi"));
        let page = fixture.metrics.encode();
        let spooled = page.lines().find_map(|line| line.strip_prefix("ledger_spool_bytes ")).expect("a metric");
        assert!(spooled.parse::<u64>().unwrap() > 100_000, "{spooled}");
        // What is in the home can be read by nobody without its key.
        for path in journals(home.path()) {
            let bytes = std::fs::read(path).unwrap();
            assert!(
                !bytes.windows(16).any(|window| window == b"while it is away" || window == b"\"kind\":\"decided\"")
            );
        }
        // It is bounded.
        let mut more = 0;
        while let Ok(permit) = fixture.admit(&"x".repeat(2000)).await {
            finish(permit, "hi");
            more += 1;
            assert!(more < 2000, "a mebibyte holds no more");
        }
        if killed {
            kill_at_once(&fixture).await;
            cluster.restart();
            let next = start().await;
            next.ledger.recover().await.unwrap();
            next.drained().await;
        } else {
            cluster.restart();
            fixture.wait_until(true).await;
            fixture.drained().await;
        }
        let pool = Database::connect(&cluster.connect_options()).await.unwrap();
        for id in answered.drain(..) {
            assert_eq!(kinds_of(pool.write(), id).await, ["decided", "ended"], "killed: {killed}");
        }
        assert_eq!(kinds_of(pool.write(), refused).await, ["decided"]);
        assert!(statuses(pool.write()).await.iter().all(|(status, _)| ["completed", "rejected"].contains(&&**status)));
        assert_sound(pool.write()).await;
        assert_eq!(journals(home.path()), Vec::<std::path::PathBuf>::new(), "killed: {killed}");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_breaks_no_chain() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let clock = Arc::new(ManualClock::new(Ambient::system().now()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let fixture = Setup { ambient, ..Setup::default() }.start(&database.pool).await;
    for jump in
        [TimeDelta::zero(), TimeDelta::days(-3), TimeDelta::days(40), TimeDelta::days(-40), TimeDelta::hours(-1)]
    {
        clock.advance(jump);
        finish(fixture.admit("hello").await.unwrap(), "hi");
    }
    fixture.drained().await;
    let times: Vec<(DateTime<Utc>,)> =
        sqlx::query_as("SELECT at FROM ledger ORDER BY seq").fetch_all(pool).await.unwrap();
    assert_eq!(times.len(), 10);
    assert!(times.is_sorted(), "the time of entries decreases: {times:?}");
    assert_sound(pool).await;
}

#[tokio::test]
async fn content_can_be_erased_and_the_log_stays() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let decisions: Vec<Arc<dyn Projection>> = vec![Arc::new(crate::decisions::Decisions)];
    let home = tempfile::tempdir().unwrap();
    let fixture = Setup { projections: decisions, ..Setup::default() }.start(&database.pool).await;
    let fixture_ambient = fixture.ambient.clone();
    let (ada, bob) = (UserId::generate(&fixture.ambient), UserId::generate(&fixture.ambient));
    let mut ids = Vec::new();
    for user in [ada, bob, ada] {
        let mut action = fixture.action("what I said");
        let principal = Principal {
            user_id: user,
            user_type: UserType::Admin,
            roles: vec!["admin".to_owned()],
            credential: Credential::ApiKey(ApiKeyId::generate(&fixture.ambient)),
            ..Principal::clone(&action.by.principal)
        };
        action.by.principal = Arc::new(principal);
        let permit = fixture.gate.admit(action).await.unwrap();
        ids.push(permit.id());
        finish(permit, "what it answered");
    }
    let ledger = fixture.ledger.clone();
    fixture.drained().await;
    ledger.catch_up().await.unwrap();
    let kept = async |id: ActionId| -> Vec<String> {
        let parts = sqlx::query_as("SELECT part FROM ledger_content WHERE action_id = $1 ORDER BY part");
        let parts: Vec<(String,)> = parts.bind(id.as_uuid()).fetch_all(pool).await.unwrap();
        parts.into_iter().map(|(part,)| part).collect()
    };
    let all = ["answer", "request", "tool_call.0"];
    assert_eq!(kept(ids[0]).await, all);
    let now = Ambient::system().now();

    let users: Vec<(Option<Uuid>,)> =
        sqlx::query_as("SELECT DISTINCT user_id FROM governance_decisions").fetch_all(pool).await.unwrap();
    let is_recorded = users.contains(&(Some(ada.as_uuid()),));
    assert!(is_recorded, "{users:?}");
    // What a copy of the database from before holds.
    run(
        pool,
        "CREATE TABLE copied_content AS SELECT * FROM ledger_content; CREATE TABLE copied AS SELECT * FROM ledger; \
         CREATE TABLE copied_chains AS SELECT * FROM ledger_chains",
    )
    .await;
    let ada_gone = ActionId::generate(&fixture_ambient);
    let change = Change::new("content.erase", About::new("user", ada), &()).under(ada_gone);
    let erase = async || {
        let erased = erasure::erase_user(pool, ada, ada_gone, now).await?;
        let after = erasure::state(&mut *pool.acquire().await?, ada_gone).await?;
        Ok::<_, sqlx::Error>(Changed { value: erased, before: None, after: Some(StateDigest::of(&after)) })
    };
    let later = Setup { checkpoints: Some(Checkpoints::open(home.path()).unwrap()), ..Setup::default() };
    let later = later.start(&database.pool).await;
    let by = || Attribution::operator("root", 7, &fixture_ambient);
    let erased = later.gate.change(by(), change, erase).await.unwrap();
    assert_eq!(erased, erasure::Erased { actions: 2, parts: 6 });
    assert_eq!((kept(ids[0]).await.len(), kept(ids[2]).await.len()), (0, 0));
    assert_eq!(kept(ids[1]).await, all, "it is somebody else's");
    let again = ActionId::generate(&fixture_ambient);
    assert_eq!(erasure::erase_user(pool, ada, again, now).await.unwrap(), erasure::Erased::default());

    let (parts, part_gone) = (["answer".to_owned()], ActionId::generate(&fixture_ambient));
    let change = Change::new("content.redact", About::new("request", ids[1]), &()).under(part_gone);
    let redact = async || {
        let erased = erasure::erase_action(pool, ids[1], Some(&parts), part_gone, now).await?;
        let after = erasure::state(&mut *pool.acquire().await?, part_gone).await?;
        Ok::<_, sqlx::Error>(Changed { value: erased, before: None, after: Some(StateDigest::of(&after)) })
    };
    let erased = later.gate.change(by(), change, redact).await.unwrap();
    assert_eq!(erased, erasure::Erased { actions: 1, parts: 1 });
    assert_eq!(kept(ids[1]).await, ["request", "tool_call.0"]);
    let noted = sqlx::query_as("SELECT part FROM ledger_erasures WHERE action_id = $1");
    let noted: Vec<(String,)> = noted.bind(ids[1].as_uuid()).fetch_all(pool).await.unwrap();
    assert_eq!(noted, [("answer".to_owned(),)]);

    // Changes that erased nothing: one that only read, and one that was refused.
    let (read, refused) = (ActionId::generate(&fixture_ambient), ActionId::generate(&fixture_ambient));
    let change = Change::new("content.read", About::new("ledger", "content"), &()).under(read);
    later.gate.change(by(), change, async || Ok::<_, sqlx::Error>(Changed::unseen(()))).await.unwrap();
    let mut nobody = by();
    nobody.principal = Arc::new(Principal {
        user_id: bob,
        user_type: UserType::User,
        roles: Vec::new(),
        credential: Credential::ApiKey(ApiKeyId::generate(&fixture_ambient)),
        ..Principal::clone(&nobody.principal)
    });
    let change = Change::new("content.erase", About::new("user", ada), &()).under(refused);
    let done = later.gate.change(nobody, change, async || Ok::<_, sqlx::Error>(Changed::unseen(()))).await;
    assert!(done.is_err(), "it is for administrators");
    later.drained().await;
    let report = assert_sound(pool).await;
    assert_eq!((report.erased, report.notes.len()), (7, 0), "the log is as it was, and says what is gone: {report:?}");
    let seen = remembered(home.path());
    assert_eq!(verify(pool, &seen, &[]).await.unwrap().problems, []);

    // Nobody erases, or takes back an erasure, behind the log.
    let (bob, row) = (ids[1].as_uuid(), "action_id, part, erased_at, change_id");
    let blamed = |change: ActionId| {
        (
            "no entry of the log says that this change erased it",
            format!("INSERT INTO ledger_erasures ({row}) VALUES ('{bob}', 'request', now(), '{}')", change.as_uuid()),
            format!("DELETE FROM ledger_erasures WHERE change_id = '{}'", change.as_uuid()),
        )
    };
    for (what, tampering, mending) in [
        blamed(read),
        blamed(refused),
        (
            "1 parts were erased, and it is not written down by which change",
            format!("INSERT INTO ledger_erasures ({row}) VALUES ('{bob}', 'request', now(), NULL)"),
            "DELETE FROM ledger_erasures WHERE change_id IS NULL".to_owned(),
        ),
        (
            "it is not what this change recorded that it erased",
            format!("CREATE TABLE all_of_it AS SELECT * FROM ledger_erasures; DELETE FROM ledger_erasures WHERE change_id = '{}'; \
                     INSERT INTO ledger_erasures ({row}) VALUES ('{bob}', 'request', now(), NULL)", part_gone.as_uuid()),
            "DELETE FROM ledger_erasures; INSERT INTO ledger_erasures SELECT * FROM all_of_it".to_owned(),
        ),
        (
            "no entry of the log says that this change erased it",
            format!("INSERT INTO ledger_erasures ({row}) VALUES ('{bob}', 'request', now(), '{}')", Uuid::from_u128(7)),
            format!("DELETE FROM ledger_erasures WHERE change_id = '{}'", Uuid::from_u128(7)),
        ),
        (
            "it is not what this change recorded that it erased",
            format!("INSERT INTO ledger_erasures ({row}) VALUES ('{bob}', 'request', now(), '{}')", part_gone.as_uuid()),
            format!("DELETE FROM ledger_erasures WHERE action_id = '{bob}' AND part = 'request'"),
        ),
        (
            "it is not what this change recorded that it erased",
            "CREATE TABLE aside AS SELECT * FROM ledger_erasures; DELETE FROM ledger_erasures WHERE part = 'answer'".to_owned(),
            "INSERT INTO ledger_erasures SELECT * FROM aside WHERE part = 'answer'".to_owned(),
        ),
        (
            "it is not what this change recorded that it erased",
            "UPDATE ledger_erasures SET erased_at = erased_at - interval '1 day' WHERE part = 'answer'".to_owned(),
            "UPDATE ledger_erasures SET erased_at = erased_at + interval '1 day' WHERE part = 'answer'".to_owned(),
        ),
        (
            "it was erased, and is here again",
            "INSERT INTO ledger_content SELECT * FROM copied_content ON CONFLICT DO NOTHING".to_owned(),
            "DELETE FROM ledger_content AS c USING ledger_erasures AS e WHERE e.action_id = c.action_id AND e.part = c.part"
                .to_owned(),
        ),
    ] {
        run(pool, &tampering).await;
        let report = verify(pool, &Remembered::default(), &[]).await.unwrap();
        assert!(said(&report).contains(&what), "{what}: {report:?}");
        run(pool, &mending).await;
        assert_sound(pool).await;
    }

    // A copy from before the erasure does not pass for what came after it: the home has seen more.
    run(
        pool,
        "DELETE FROM ledger; INSERT INTO ledger SELECT * FROM copied; DELETE FROM ledger_erasures; \
         DELETE FROM ledger_content; INSERT INTO ledger_content SELECT * FROM copied_content; \
         UPDATE ledger_chains AS c SET seq = o.seq, hash = o.hash, at = o.at FROM copied_chains AS o \
         WHERE o.chain_id = c.chain_id",
    )
    .await;
    assert_sound(pool).await;
    let report = verify(pool, &seen, &[]).await.unwrap();
    assert!(!report.is_sound(), "{report:?}");
}

#[tokio::test]
async fn an_erasure_that_does_not_say_what_it_erased_is_noticed() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let change = Change::new("content.erase", About::new("user", "somebody"), &());
    let by = Attribution::operator("root", 7, &fixture.ambient);
    fixture.gate.change(by, change, async || Ok::<_, sqlx::Error>(Changed::unseen(()))).await.unwrap();
    fixture.drained().await;
    let report = verify(database.pool.write(), &Remembered::default(), &[]).await.unwrap();
    assert_eq!(said(&report), ["its end does not say what it erased"]);
}

/// An id that does not have its time keeps nothing for ever.
#[tokio::test]
async fn content_expires_by_when_it_was_kept() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let fixture = ledger(&database).await;
    let old = Uuid::from_u128(u128::MAX);
    run(
        pool,
        &format!(
            "INSERT INTO ledger_content (action_id, part, created_at, bytes, body) VALUES \
             ('{old}', 'request', now() - interval '31 days', 1, 'x'), ('{old}', 'answer', now(), 1, 'y')"
        ),
    )
    .await;
    assert_eq!(fixture.ledger.sweep(fixture.ambient.now()).await.unwrap(), 1);
    let left: Vec<(String,)> = sqlx::query_as("SELECT part FROM ledger_content").fetch_all(pool).await.unwrap();
    assert_eq!(left, [("answer".to_owned(),)]);
}

#[tokio::test]
async fn classes_of_content_have_rules_of_their_own() {
    let database = testing::database(&[module()]).await;
    let pool = database.pool.write();
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp_micros(1_900_000_000_000_000).unwrap()));
    let ambient = Ambient { clock: clock.clone(), ..Ambient::system() };
    let classes = ContentClasses {
        prompts: Some(ClassRetention { content: None, days: Some(7) }),
        answers: Some(ClassRetention { content: None, days: Some(60) }),
        tool_inputs: Some(ClassRetention { content: Some(ContentRetention::None), days: None }),
        findings: None,
    };
    let retention = RetentionProfile { classes, ..RetentionProfile::default() }.resolve(false);
    let fixture = Setup { retention, ambient, ..Setup::default() }.start(&database.pool).await;
    finish(fixture.admit("what I said").await.unwrap(), "what it answered");
    let ledger = fixture.ledger.clone();
    fixture.drained().await;
    for (days, left) in [(0, &["answer", "request"][..]), (8, &["answer"]), (40, &["answer"]), (20, &[])] {
        clock.advance(TimeDelta::days(days));
        ledger.sweep(clock.now()).await.unwrap();
        let parts: Vec<(String,)> =
            sqlx::query_as("SELECT part FROM ledger_content ORDER BY part").fetch_all(pool).await.unwrap();
        assert_eq!(parts.iter().map(|(part,)| part.as_str()).collect::<Vec<_>>(), left, "{days} days later");
    }
}
