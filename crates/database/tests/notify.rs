//! The shared listener, through loss and return of the connection.

use std::time::Duration;

use systemprompt_database::Database;
use systemprompt_database::notify::{Event, MAX_PAYLOAD, NotificationHub, Subscription, notify};
use systemprompt_database::testing::{TestCluster, empty_database};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

async fn next(subscription: &mut Subscription) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.expect("an event in time")
}

#[tokio::test]
async fn subscribers_see_their_channel_and_learn_when_they_do() {
    let database = empty_database().await;
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let hub = NotificationHub::start(&database.pool, &tracker, cancel.clone());
    let mut keys = hub.subscribe("api_keys");
    assert_eq!(next(&mut keys).await, Some(Event::Reconnected));
    assert!(hub.is_live());
    let mut also_keys = hub.subscribe("api_keys");
    let mut rules = hub.subscribe("rules");
    assert_eq!(next(&mut also_keys).await, Some(Event::Reconnected));
    assert_eq!(next(&mut rules).await, Some(Event::Reconnected));

    notify(database.pool.write(), "api_keys", "revoked").await.unwrap();
    for subscription in [&mut keys, &mut also_keys] {
        assert_eq!(next(subscription).await, Some(Event::Notification("revoked".into())));
    }
    let mut transaction = database.pool.write().begin().await.unwrap();
    notify(&mut *transaction, "rules", "never").await.unwrap();
    transaction.rollback().await.unwrap();
    notify(database.pool.write(), "rules", &"x".repeat(MAX_PAYLOAD)).await.unwrap();
    assert_eq!(next(&mut rules).await, Some(Event::Notification("x".repeat(MAX_PAYLOAD))));
    assert!(notify(database.pool.write(), "rules", &"x".repeat(MAX_PAYLOAD + 1)).await.is_err());

    cancel.cancel();
    assert_eq!(next(&mut keys).await, None);
    assert_eq!(hub.subscribe("late").next().await, None);
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_replaced() {
    let cluster = TestCluster::start().await;
    let database = Database::connect(&cluster.connect_options()).await.unwrap();
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    let hub = NotificationHub::start(&database, &tracker, cancel.clone());
    let mut keys = hub.subscribe("api_keys");
    assert_eq!(next(&mut keys).await, Some(Event::Reconnected));
    cluster.stop();
    assert_eq!(next(&mut keys).await, Some(Event::Lost));
    assert!(!hub.is_live());
    cluster.restart();
    assert_eq!(next(&mut keys).await, Some(Event::Reconnected));
    assert!(hub.is_live());
    let again = Database::connect(&cluster.connect_options()).await.unwrap();
    notify(again.write(), "api_keys", "back").await.unwrap();
    assert_eq!(next(&mut keys).await, Some(Event::Notification("back".into())));
    cancel.cancel();
    tracker.close();
    tracker.wait().await;
}
