//! The bans a server knows. They are all in memory, so that asking costs nothing, and read again when one changes anywhere,
//! and once a minute in case nobody said so.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use systemprompt_config::profile::WhenUnknown;
use systemprompt_database::DbPool;
use systemprompt_database::notify::{NotificationHub, Subscription};
use systemprompt_extension::{Ban, ClientIp, KnowsBans};
use systemprompt_model::{Ambient, with_causes};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{network, queries};

/// Where `schema/banned_ips.sql` announces changes.
const CHANNEL: &str = "banned_ips";
/// The list is read again after this at the latest.
const READ_EVERY: Duration = Duration::from_mins(1);

/// What a server knows of bans.
pub struct BanList {
    db: DbPool,
    ambient: Ambient,
    when_unknown: WhenUnknown,
    known: RwLock<Known>,
    /// Whether what is known was read from the table the last time that was tried.
    is_known: AtomicBool,
}

/// Until when each is shut out; for good without a time.
#[derive(Default)]
struct Known {
    addresses: HashMap<IpAddr, Option<DateTime<Utc>>>,
    networks: Vec<(IpNet, Option<DateTime<Utc>>)>,
}

impl BanList {
    /// Reads the list and follows its changes; the task belongs to `tracker` and ends with `cancel`.
    pub(crate) async fn follow(
        db: DbPool,
        ambient: Ambient,
        when_unknown: WhenUnknown,
        hub: &NotificationHub,
        tracker: &TaskTracker,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let subscription = hub.subscribe(CHANNEL);
        let list =
            Arc::new(Self { db, ambient, when_unknown, known: RwLock::default(), is_known: AtomicBool::new(false) });
        // Before the first request.
        list.read().await;
        tracker.spawn(Arc::clone(&list).keep_reading(subscription, cancel));
        list
    }

    async fn keep_reading(self: Arc<Self>, mut changes: Subscription, cancel: CancellationToken) {
        loop {
            let goes_on = tokio::select! {
                () = cancel.cancelled() => false,
                event = changes.next() => event.is_some(),
                () = tokio::time::sleep(READ_EVERY) => true,
            };
            if !goes_on {
                return;
            }
            self.read().await;
        }
    }

    async fn read(&self) {
        match queries::list(self.db.write(), Some(self.ambient.now())).await {
            Ok(bans) => {
                let mut known = Known::default();
                for ban in bans {
                    match network(&ban.ip_address) {
                        Some(one) if one.prefix_len() == one.max_prefix_len() => {
                            known.addresses.insert(one.addr(), ban.expires_at);
                        }
                        Some(many) => known.networks.push((many, ban.expires_at)),
                        None => tracing::warn!(address = ban.ip_address, "a ban names no address and shuts nobody out"),
                    }
                }
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
                self.is_known.store(true, Ordering::Release);
            }
            Err(error) => {
                if self.is_known.swap(false, Ordering::AcqRel) {
                    tracing::warn!(error = with_causes(&error), "the list of banned addresses cannot be read");
                }
            }
        }
    }
}

impl KnowsBans for BanList {
    fn ban_of(&self, client: ClientIp) -> Ban {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let address = client.address();
        let ends = known.addresses.get(&address).into_iter();
        let of_networks = known.networks.iter().filter(|(network, _)| network.contains(&address)).map(|(_, end)| end);
        let mut ends = ends.chain(of_networks).peekable();
        if ends.peek().is_some() {
            let now = self.ambient.now();
            if ends.any(|end| end.is_none_or(|end| now < end)) {
                return Ban::Banned;
            }
        }
        if self.when_unknown == WhenUnknown::Refuse && !self.is_known.load(Ordering::Acquire) {
            return Ban::Unknown;
        }
        Ban::Free
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::ban::store::Bans;
    use crate::testing::World;

    fn client(text: &str) -> ClientIp {
        ClientIp::new(text.parse().expect("an address"))
    }

    #[tokio::test]
    async fn a_ban_counts_on_every_replica_until_it_is_over_or_taken_back() {
        let world = World::new().await;
        let replica = world.replica().await;
        let follow = async |when_unknown| {
            let (db, hub) = (Arc::clone(&replica.db), &replica.hub);
            BanList::follow(db, world.ambient.clone(), when_unknown, hub, &replica.tracker, replica.deafen.clone())
                .await
        };
        let list = follow(WhenUnknown::Allow).await;
        let bans = Bans::new(Arc::clone(&replica.db), world.ambient.clone());
        let until = async |address: &str, expected: Ban| {
            let ends = async {
                while list.ban_of(client(address)) != expected {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), ends).await.expect("it is told");
        };
        let net = |text| network(text).expect("a network");
        assert_eq!(list.ban_of(client("192.0.2.1")), Ban::Free);

        bans.add(net("192.0.2.1"), "guesses", Some(TimeDelta::hours(1))).await.expect("bans");
        until("192.0.2.1", Ban::Banned).await;
        assert_eq!(list.ban_of(client("::ffff:192.0.2.1")), Ban::Banned);
        assert_eq!(list.ban_of(client("192.0.2.2")), Ban::Free);
        world.clock.advance(TimeDelta::hours(1));
        assert_eq!(list.ban_of(client("192.0.2.1")), Ban::Free, "it is over");
        assert_eq!(bans.cleanup().await.expect("deletes"), 1);

        bans.add(net("2001:db8::/32"), "a whole network", None).await.expect("bans");
        let again = bans.add(net("2001:db8::/32"), "still", None).await.expect("bans");
        assert_eq!((again.ban_count, again.is_permanent), (2, true));
        until("2001:db8::7", Ban::Banned).await;
        assert_eq!(bans.of(net("2001:db8::7")).await.expect("finds").len(), 1);
        bans.remove(net("2001:db8::/32")).await.expect("takes back").expect("was there");
        until("2001:db8::7", Ban::Free).await;

        let strict = follow(WhenUnknown::Refuse).await;
        assert_eq!(strict.ban_of(client("192.0.2.9")), Ban::Free);
        replica.db.close().await;
        strict.read().await;
        list.read().await;
        assert_eq!(strict.ban_of(client("192.0.2.9")), Ban::Unknown, "nobody knows");
        assert_eq!(list.ban_of(client("192.0.2.9")), Ban::Free, "what was known last");
    }
}
