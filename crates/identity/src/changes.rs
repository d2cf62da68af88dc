//! What may no longer be believed, as told by every replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use systemprompt_database::notify::{Event, NotificationHub, Subscription};
use systemprompt_model::UserId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The channel on which `schema/identity_changes.sql` announces changes; the payload is a user's id, or `*`.
const CHANNEL: &str = "identity_changes";
/// Users share these cells; a change of one makes what is remembered of about one in 1,024 others be read again.
const CELLS: usize = 1024;

/// Knows since when what was read about a user may be out of date, on this replica, from every replica's announcements.
///
/// Time is a counter of announcements. A reader takes a mark *before* it asks the database and keeps it with the
/// answer; the answer holds as long as no announcement about the user came after the mark. PostgreSQL delivers an
/// announcement after the change is committed, so an answer read after it cannot miss the change, and an answer that
/// was under way while it came is not used, however late it is stored.
pub struct Changes {
    /// Whether announcements are being heard.
    live: AtomicBool,
    /// Announcements heard so far.
    count: AtomicU64,
    /// The count at the last announcement that concerned everybody.
    everybody: AtomicU64,
    /// The count at the last announcement that concerned a user of the cell.
    users: Box<[AtomicU64]>,
    heard: watch::Sender<u64>,
}

/// A moment in the order of announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Changes {
    /// Listens through `hub`; the task belongs to `tracker` and ends with `cancel` or with the hub.
    pub fn follow(hub: &NotificationHub, tracker: &TaskTracker, cancel: CancellationToken) -> Arc<Self> {
        let changes = Arc::new(Self {
            live: AtomicBool::new(false),
            count: AtomicU64::new(0),
            everybody: AtomicU64::new(0),
            users: std::iter::repeat_with(|| AtomicU64::new(0)).take(CELLS).collect(),
            heard: watch::Sender::new(0),
        });
        let subscription = hub.subscribe(CHANNEL);
        tracker.spawn(Arc::clone(&changes).listen(subscription, cancel));
        changes
    }

    /// Whether announcements are being heard; if not, nothing that was remembered may be used.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Follows the number of announcements heard and acted upon, of any kind.
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// The moment to remember with what is about to be read.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.count.load(Ordering::Acquire))
    }

    /// Whether what was read about `user` after `mark` is still known to be true.
    pub(crate) fn holds(&self, mark: Mark, user: UserId) -> bool {
        self.is_live()
            && mark.0 >= self.everybody.load(Ordering::Acquire)
            && mark.0 >= self.users[cell(user)].load(Ordering::Acquire)
    }

    /// Whether nothing at all has changed since `mark`.
    pub(crate) fn nothing_since(&self, mark: Mark) -> bool {
        self.is_live() && mark == self.mark()
    }

    async fn listen(self: Arc<Self>, mut subscription: Subscription, cancel: CancellationToken) {
        loop {
            let event = tokio::select! {
                () = cancel.cancelled() => None,
                event = subscription.next() => event,
            };
            match event {
                Some(Event::Notification(payload)) => match payload.parse() {
                    Ok(user) => self.changed(&self.users[cell(user)]),
                    // `*`, or something newer than this version.
                    Err(_) => self.changed(&self.everybody),
                },
                Some(Event::Reconnected) => {
                    self.changed(&self.everybody);
                    self.live.store(true, Ordering::Release);
                }
                Some(Event::Lost) => self.live.store(false, Ordering::Release),
                None => {
                    self.live.store(false, Ordering::Release);
                    self.heard.send_modify(|heard| *heard += 1);
                    return;
                }
            }
            self.heard.send_modify(|heard| *heard += 1);
        }
    }

    fn changed(&self, whom: &AtomicU64) {
        let now = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        whom.store(now, Ordering::Release);
    }
}

fn cell(user: UserId) -> usize {
    // The last bytes of a version 7 UUID are random.
    let bytes = user.as_uuid().into_bytes();
    usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % CELLS
}

#[cfg(test)]
mod tests {
    use systemprompt_database::notify::notify;
    use systemprompt_model::{Ambient, UserId};

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn an_announcement_ends_what_was_read_before_it_and_not_what_was_read_after() {
        let world = World::new().await;
        let replica = world.replica().await;
        let changes = &replica.identity.changes;
        let user = UserId::generate(&Ambient::system());
        let other = std::iter::repeat_with(|| UserId::generate(&Ambient::system()))
            .find(|other| cell(*other) != cell(user))
            .expect("one among many");
        let db = world.database.pool.write();

        let before = changes.mark();
        assert!(changes.holds(before, user) && changes.nothing_since(before));
        replica.hears(notify(db, CHANNEL, &user.to_string())).await.expect("announces");
        let after = changes.mark();
        assert!(!changes.holds(before, user), "whoever began to read before the announcement read too early");
        assert!(!changes.nothing_since(before));
        assert!(changes.holds(after, user));
        assert!(changes.holds(before, other), "others are not concerned");

        replica.hears(notify(db, CHANNEL, "*")).await.expect("announces");
        assert!(!changes.holds(after, user) && !changes.holds(after, other), "everybody is concerned");

        let last = changes.mark();
        assert!(changes.holds(last, user));
        replica.deafen.cancel();
        replica.until(|replica| !replica.identity.changes.is_live()).await;
        assert!(!changes.holds(last, user) && !changes.nothing_since(last));
        replica.stop().await;
    }
}
