//! Shipping on a real PostgreSQL.

use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use systemprompt_database::Module;
use systemprompt_database::testing::{self, TestDatabase};
use systemprompt_extension::SchemaDefinition;

use super::*;
use crate::config::{
    FileShipmentConfig, ObjectLockConfig, ObjectLockMode, ObjectStoreShipmentConfig, OtlpShipmentConfig,
    WebhookShipmentConfig,
};
use crate::ledger::chain::{Head, link_hash};
use crate::webhook::StoredObject;

/// The headers and the body of a message.
type Message = (Vec<(&'static str, String)>, Value);

/// The address, the headers and the body of an object.
type Object = (String, Vec<(&'static str, String)>, String);

/// Somebody who takes messages, or does not.
#[derive(Default)]
struct Receiver {
    is_down: Mutex<bool>,
    got: Mutex<Vec<Message>>,
    objects: Mutex<Vec<Object>>,
}

#[async_trait]
impl Courier for Receiver {
    async fn post(&self, _: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String> {
        let body = serde_json::from_str(&body).expect("JSON");
        self.got.lock().unwrap().push((headers.to_vec(), body));
        if *self.is_down.lock().unwrap() { Err("it answered 503".to_owned()) } else { Ok(()) }
    }

    async fn put(&self, object: StoredObject<'_>) -> Result<(), String> {
        assert_eq!(object.credentials.expose(), "Bearer key");
        self.objects.lock().unwrap().push((object.url, object.headers, object.body));
        if *self.is_down.lock().unwrap() { Err("it answered 503".to_owned()) } else { Ok(()) }
    }
}

fn module() -> Module {
    Module {
        id: "governance".to_owned(),
        schemas: vec![
            crate::ledger::schema(),
            SchemaDefinition::inline("ledger_shipments", include_str!("../../schema/shipping.sql")),
        ],
        ..Module::default()
    }
}

/// A chain of decisions and their ends.
async fn entries(database: &TestDatabase, actions: u128) {
    let pool = database.pool.write();
    let chain = Uuid::from_u128(1);
    let mut head = Head::first(chain);
    head.at = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap();
    for number in 1..=actions {
        let action = Uuid::from_u128(number);
        let id = Uuid::from_u128(1000);
        let decided = format!(
            r#"{{"action":"{action}","at":1,"by":{{"actors":[{{"id":"ada","kind":"user"}}],"credential":"api_key","trace":"{id}","user":"{id}"}},"content":{{"bytes":1}},"decision":{{"evaluations":[],"id":"{id}","policy":"default_allow","policy_version":"v","subject":"user_prompt","verdict":"allow"}},"effect":{{"facts":{{}},"kind":"infer"}},"instance":"{id}","kind":"decided","received_at":1,"resource":{{"id":"m","kind":"gateway_route"}}}}"#
        );
        let ended = format!(
            r#"{{"action":"{action}","at":2,"effect":"infer","kind":"ended","latency_ms":7,"status":"completed","usage":{{"calls":1,"cost_microdollars":2500,"input_tokens":3,"output_tokens":4}}}}"#
        );
        for (kind, body) in [("decided", decided), ("ended", ended)] {
            let hash = link_hash(&head.hash, head.seq + 1, head.at, &sha256(body.as_bytes()));
            head = Head { seq: head.seq + 1, hash, at: head.at };
            sqlx::query("INSERT INTO ledger VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(chain)
                .bind(head.seq)
                .bind(head.at)
                .bind(kind)
                .bind(action)
                .bind(body)
                .bind(&head.hash[..])
                .execute(pool)
                .await
                .unwrap();
        }
    }
    sqlx::query("INSERT INTO ledger_chains VALUES ($1, 'here', $2, $3, $4, 1, now(), now())")
        .bind(chain)
        .bind(head.seq)
        .bind(&head.hash[..])
        .bind(head.at)
        .execute(pool)
        .await
        .unwrap();
}

fn to(name: &str) -> ShipmentConfig {
    ShipmentConfig {
        name: name.to_owned(),
        what: Shipped::Events,
        file: None,
        webhook: None,
        otlp: None,
        object_store: None,
    }
}

fn shipping(database: &TestDatabase, to: &[ShipmentConfig]) -> Shipping {
    let secret = |_: &str| Some(Secret::new("Bearer key".to_owned()));
    Shipping::new(to, secret, Arc::clone(&database.pool), Ambient::system(), &Metrics::new())
}

async fn at_once(database: &TestDatabase) {
    sqlx::query("UPDATE ledger_shipments SET next_attempt_at = now()").execute(database.pool.write()).await.unwrap();
}

#[tokio::test]
async fn a_destination_gets_every_entry_in_order_and_again_what_it_did_not_take() {
    let database = testing::database(&[module()]).await;
    entries(&database, 300).await;
    let url = "https://siem.example.com/in".to_owned();
    let webhook = WebhookShipmentConfig { url, secret: "siem".to_owned() };
    let configured = [ShipmentConfig { webhook: Some(webhook), ..to("siem") }];
    let (first, second) = (shipping(&database, &configured), shipping(&database, &configured));
    let receiver = Receiver::default();
    *receiver.is_down.lock().unwrap() = true;
    assert_eq!(first.turn(&first.destinations[0], &receiver).await.unwrap(), Turn::Failed);
    // Nobody asks again at once.
    assert_eq!(second.turn(&second.destinations[0], &receiver).await.unwrap(), Turn::NotOurs);
    at_once(&database).await;
    *receiver.is_down.lock().unwrap() = false;
    assert_eq!(second.turn(&second.destinations[0], &receiver).await.unwrap(), Turn::Shipped(500));
    assert_eq!(first.turn(&first.destinations[0], &receiver).await.unwrap(), Turn::Shipped(100));
    assert_eq!(first.turn(&first.destinations[0], &receiver).await.unwrap(), Turn::Idle);
    let got = receiver.got.lock().unwrap();
    assert_eq!(got.len(), 3);
    let id = |message: usize| got[message].0.iter().find(|(name, _)| *name == "webhook-id").unwrap().1.clone();
    assert_eq!(id(0), id(1), "what comes again comes under the same id");
    let seqs: Vec<i64> = got[1..]
        .iter()
        .flat_map(|(_, body)| body["data"].as_array().unwrap())
        .map(|event| event["id"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<i64>>());
    let ended = &got[2].1["data"][99];
    assert_eq!(
        (&ended["event_type"], &ended["user_id"], &ended["tokens_in"], &ended["cost_usd"], &ended["duration_ms"]),
        (&json!("action.completed"), &json!(Uuid::from_u128(1000)), &json!(3), &json!(0.0025), &json!(7)),
        "{ended}"
    );
}

#[tokio::test]
async fn a_server_that_holds_the_turn_keeps_others_away_until_it_is_over() {
    let database = testing::database(&[module()]).await;
    entries(&database, 1).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.jsonl");
    // A crash tore the line before.
    std::fs::write(&path, "{\"torn").unwrap();
    let file = FileShipmentConfig { path: path.clone() };
    let configured = [ShipmentConfig { file: Some(file), what: Shipped::Entries, ..to("archive") }];
    let (first, second) = (shipping(&database, &configured), shipping(&database, &configured));
    let receiver = Receiver::default();
    let mut connection = database.pool.write().acquire().await.unwrap();
    assert_eq!(queries::lease(&mut connection, "archive", first.server, LEASE_SECS).await.unwrap(), Some(0));
    assert_eq!(second.turn(&second.destinations[0], &receiver).await.unwrap(), Turn::NotOurs);
    sqlx::query("UPDATE ledger_shipments SET leased_until = now() - interval '1 s'")
        .execute(database.pool.write())
        .await
        .unwrap();
    assert_eq!(second.turn(&second.destinations[0], &receiver).await.unwrap(), Turn::Shipped(2));
    // Who lost the turn moves nothing.
    let ahead = Places { chains: vec![Uuid::from_u128(1)], seqs: vec![99] };
    queries::shipped(&mut connection, "archive", first.server, &ahead).await.unwrap();
    assert_eq!(queries::places(&mut connection, "archive").await.unwrap().get(Uuid::from_u128(1)), 2);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "{\"torn"));
    assert!(matches!(
        serde_json::from_str(lines[2]).unwrap(),
        systemprompt_verify::format::Line::Entry(entry) if entry.seq == 2 && entry.hash.len() == 64
    ));
}

#[tokio::test]
async fn a_collector_gets_log_records() {
    let database = testing::database(&[module()]).await;
    entries(&database, 1).await;
    let url = "https://collector.example.com/v1/logs".to_owned();
    let otlp = OtlpShipmentConfig { url, authorization: Some("collector".to_owned()) };
    let shipping = shipping(&database, &[ShipmentConfig { otlp: Some(otlp), ..to("collector") }]);
    let receiver = Receiver::default();
    assert_eq!(shipping.turn(&shipping.destinations[0], &receiver).await.unwrap(), Turn::Shipped(2));
    let got = receiver.got.lock().unwrap();
    assert_eq!(got[0].0, [("authorization", "Bearer key".to_owned())]);
    let records = got[0].1["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["body"]["stringValue"], "action.completed");
    assert_eq!(records[1]["timeUnixNano"], "1800000000000000000");
    assert!(
        records[1]["attributes"]
            .as_array()
            .unwrap()
            .contains(&json!({"key": "tokens_out", "value": {"intValue": "4"}}))
    );
}

fn bucket() -> ObjectStoreShipmentConfig {
    ObjectStoreShipmentConfig {
        bucket: "audit".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: None,
        prefix: "ledger/".to_owned(),
        credentials: "archive".to_owned(),
        lock: Some(ObjectLockConfig { mode: ObjectLockMode::Compliance, days: 365 }),
    }
}

#[tokio::test]
async fn an_object_store_gets_locked_objects_that_are_called_by_what_is_in_them() {
    let database = testing::database(&[module()]).await;
    entries(&database, 1).await;
    let configured = [ShipmentConfig { object_store: Some(bucket()), what: Shipped::Entries, ..to("archive") }];
    let shipping = shipping(&database, &configured);
    let receiver = Receiver::default();
    *receiver.is_down.lock().unwrap() = true;
    assert_eq!(shipping.turn(&shipping.destinations[0], &receiver).await.unwrap(), Turn::Failed);
    *receiver.is_down.lock().unwrap() = false;
    at_once(&database).await;
    assert_eq!(shipping.turn(&shipping.destinations[0], &receiver).await.unwrap(), Turn::Shipped(2));
    let objects = receiver.objects.lock().unwrap();
    let [(first, _, again), (second, headers, body)] = objects.as_slice() else { panic!("{objects:?}") };
    let expected = format!(
        "https://audit.s3.eu-central-1.amazonaws.com/ledger/{}/00000000000000000001-00000000000000000002.entries.jsonl",
        Uuid::from_u128(1)
    );
    assert_eq!((first, again, second), (&expected, body, &expected), "what comes again has the same name");
    let lines: Vec<systemprompt_verify::format::Line> =
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    let until = header("x-amz-object-lock-retain-until-date").unwrap();
    let until: DateTime<Utc> = until.parse().unwrap();
    let days = (until - Ambient::system().now()).num_days();
    assert!((363..=365).contains(&days), "{until}");
}

/// A store that is so slow, or so late, that the turn is over after each object.
struct Late {
    database: DbPool,
    statement: &'static str,
    /// How many seconds of the turn were left whenever it was given one.
    left: Mutex<Vec<f64>>,
}

#[async_trait]
impl Courier for Late {
    async fn post(&self, _: &str, _: &[(&'static str, String)], _: String) -> Result<(), String> {
        unreachable!("it is a store")
    }

    async fn put(&self, _: StoredObject<'_>) -> Result<(), String> {
        let left = "SELECT EXTRACT(EPOCH FROM leased_until - clock_timestamp())::float8 FROM ledger_shipments";
        let (left,): (f64,) = sqlx::query_as(left).fetch_one(self.database.write()).await.unwrap();
        self.left.lock().unwrap().push(left);
        sqlx::query(self.statement).execute(self.database.write()).await.unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn the_turn_lasts_for_as_many_objects_as_there_are_unless_it_is_taken() {
    let database = testing::database(&[module()]).await;
    entries(&database, 1).await;
    let mut connection = database.pool.write().acquire().await.unwrap();
    for (table, change) in [("ledger", ""), ("ledger_chains", ", name = 'there'")] {
        let another = format!(
            "CREATE TEMP TABLE another AS SELECT * FROM {table};
             UPDATE another SET chain_id = '{}'{change};
             INSERT INTO {table} SELECT * FROM another; DROP TABLE another",
            Uuid::from_u128(2)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(another)).execute(&mut *connection).await.unwrap();
    }
    let configured = [ShipmentConfig { object_store: Some(bucket()), what: Shipped::Entries, ..to("archive") }];
    for (statement, turn, objects) in [
        ("UPDATE ledger_shipments SET leased_by = gen_random_uuid()", Turn::Failed, 1),
        ("UPDATE ledger_shipments SET leased_until = clock_timestamp() + interval '1 s'", Turn::Shipped(4), 2),
    ] {
        let shipping = shipping(&database, &configured);
        let late = Late { database: Arc::clone(&database.pool), statement, left: Mutex::default() };
        assert_eq!(shipping.turn(&shipping.destinations[0], &late).await.unwrap(), turn, "{statement}");
        let left = late.left.into_inner().unwrap();
        assert_eq!(left.len(), objects, "{statement}");
        assert!(left.iter().all(|left| *left > LEASE_SECS / 2.0), "{statement}: {left:?}");
        sqlx::query("UPDATE ledger_shipments SET leased_until = NULL").execute(database.pool.write()).await.unwrap();
    }
}

#[tokio::test]
async fn who_wants_checkpoints_only_gets_those() {
    let database = testing::database(&[module()]).await;
    entries(&database, 1).await;
    let configured = [ShipmentConfig { object_store: Some(bucket()), what: Shipped::Checkpoints, ..to("checkpoints") }];
    let shipping = shipping(&database, &configured);
    let receiver = Receiver::default();
    // Nothing is sent of what is none, and it counts as taken.
    assert_eq!(shipping.turn(&shipping.destinations[0], &receiver).await.unwrap(), Turn::Shipped(2));
    assert!(receiver.objects.lock().unwrap().is_empty());
    let chain = Uuid::from_u128(1);
    let body = format!(
        r#"{{"at":7,"heads":[{{"chain":"{chain}","hash":"00","seq":2}}],"key":"k","kind":"checkpoint","public_key":"p","reason":"interval","signature":"s"}}"#
    );
    sqlx::query("INSERT INTO ledger SELECT chain_id, 3, at, 'checkpoint', $1, $2, hash FROM ledger_chains")
        .bind(Uuid::nil())
        .bind(body)
        .execute(database.pool.write())
        .await
        .unwrap();
    sqlx::query("UPDATE ledger_chains SET seq = 3").execute(database.pool.write()).await.unwrap();
    assert_eq!(shipping.turn(&shipping.destinations[0], &receiver).await.unwrap(), Turn::Shipped(1));
    let objects = receiver.objects.lock().unwrap();
    let [(url, _, body)] = objects.as_slice() else { panic!("{objects:?}") };
    assert!(url.ends_with("/00000000000000000003-00000000000000000003.checkpoints.jsonl"), "{url}");
    let line: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&line["heads"][0]["seq"], &line["signature"]), (&json!(2), &json!("s")), "{line}");
    serde_json::from_value::<SignedCheckpoint>(line).expect("it is as a home has it");
}

#[test]
fn a_destination_has_one_way_a_name_and_secrets_that_exist() {
    let webhook = WebhookShipmentConfig { url: "https://x.example".to_owned(), secret: "gone".to_owned() };
    let file = FileShipmentConfig { path: "relative".into() };
    let otlp = OtlpShipmentConfig { url: "https://x.example".to_owned(), authorization: None };
    let configured = [
        to("none"),
        ShipmentConfig { webhook: Some(webhook.clone()), file: Some(file), ..to("none") },
        ShipmentConfig { otlp: Some(otlp), what: Shipped::Entries, ..to("collector") },
        ShipmentConfig { webhook: Some(WebhookShipmentConfig { secret: "here".to_owned(), ..webhook }), ..to("good") },
        ShipmentConfig {
            object_store: Some(ObjectStoreShipmentConfig {
                bucket: "no bucket".to_owned(),
                region: String::new(),
                prefix: "/a?b".to_owned(),
                ..bucket()
            }),
            ..to("store")
        },
    ];
    let flaws = crate::config::shipping::flaws(&configured, |secret| secret == "here");
    let pointers: Vec<&str> = flaws.iter().map(|flaw| flaw.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/0",
            "/1/name",
            "/1",
            "/1/file/path",
            "/1/webhook/secret",
            "/2/what",
            "/4/object_store/bucket",
            "/4/object_store/region",
            "/4/object_store/prefix",
            "/4/object_store/credentials"
        ]
    );
}
