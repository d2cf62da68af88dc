//! What time it is for whoever deletes: a clock that jumps forward must not make everything old.
//!
//! The time of the last deletion that was in order is kept in the database. Deletion pauses while this server's clock and
//! the database's disagree, and while the time is far beyond that one. A machine that was off for a month looks the same as
//! a clock that is a month ahead, so after a day of steady time, by a clock nobody sets, what it says is believed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use systemprompt_model::Condition;

/// How far the clocks of this server and of the database may be apart.
const APART: TimeDelta = TimeDelta::minutes(15);

/// How far the time may be beyond the one of the last deletion, which is tried every ten minutes.
const BEYOND: TimeDelta = TimeDelta::days(2);

/// How long a time beyond it must be steady until it is believed.
const STEADY_FOR: Duration = Duration::from_hours(24);

/// Decides what time deletion may go by.
#[derive(Debug, Default)]
pub(super) struct RetentionClock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When a time beyond was seen first, and which.
    beyond: Option<(Instant, DateTime<Utc>)>,
    paused: Condition,
}

/// Why nothing is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Pause {
    #[error("the clocks of this server ({here}) and of PostgreSQL ({there}) disagree")]
    Apart { here: DateTime<Utc>, there: DateTime<Utc> },
    #[error("the clock says {now}, and content was last looked after at {trusted}")]
    Beyond { now: DateTime<Utc>, trusted: DateTime<Utc> },
}

impl RetentionClock {
    /// The time to delete by; nothing while it cannot be trusted, which is said once.
    pub(super) async fn now(&self, pool: &PgPool, here: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let row = sqlx::query!(
            r#"
            SELECT
                clock_timestamp() AS "there!",
                (SELECT trusted_at FROM ledger_retention_clock) AS trusted_at,
                (SELECT MAX(at) FROM ledger_chains WHERE seq > 0) AS newest_at
            "#
        )
        .fetch_one(pool)
        .await?;
        // Before the first deletion the newest entry tells, which a new installation has just written.
        let trusted = row.trusted_at.or(row.newest_at);
        match self.judge(here, row.there, trusted, Instant::now()) {
            Ok(now) => {
                sqlx::query!(
                    r#"
                    INSERT INTO ledger_retention_clock AS c (id, trusted_at) VALUES (TRUE, $1)
                    ON CONFLICT (id) DO UPDATE SET trusted_at = EXCLUDED.trusted_at
                    "#,
                    now
                )
                .execute(pool)
                .await?;
                Ok(Some(now))
            }
            Err(_) => Ok(None),
        }
    }

    fn judge(
        &self,
        here: DateTime<Utc>,
        there: DateTime<Utc>,
        trusted: Option<DateTime<Utc>>,
        at: Instant,
    ) -> Result<DateTime<Utc>, Pause> {
        let mut state = self.0.lock().expect("no panic while the lock is held");
        // What is older by both clocks is old.
        let now = here.min(there);
        let judged = if (here - there).abs() > APART {
            Err(Pause::Apart { here, there })
        } else {
            match trusted {
                Some(trusted) if now - trusted > BEYOND => {
                    let (since, seen) = *state.beyond.get_or_insert((at, now));
                    let steadily = TimeDelta::from_std(at.duration_since(since)).unwrap_or_default();
                    let is_steady = (now - seen - steadily).abs() < APART;
                    if !is_steady {
                        state.beyond = Some((at, now));
                    }
                    if is_steady && at.duration_since(since) >= STEADY_FOR {
                        Ok(now)
                    } else {
                        Err(Pause::Beyond { now, trusted })
                    }
                }
                _ => Ok(now),
            }
        };
        match judged {
            Ok(_) => {
                state.beyond = None;
                if let Some(lasted) = state.paused.ends() {
                    tracing::info!(
                        lasted_s = lasted.as_secs(),
                        "content that was kept for long enough is deleted again"
                    );
                }
            }
            Err(why) if state.paused.begins() => {
                tracing::warn!(%why, "nothing is deleted until the clock has been steady for a day, or is right again");
            }
            Err(_) => {}
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + number)
    }

    #[test]
    fn a_clock_that_jumps_deletes_nothing_and_one_that_stays_is_believed_after_a_day() {
        let clock = RetentionClock::default();
        let start = Instant::now();
        let judge = |here, there, trusted, hours| {
            clock.judge(here, there, trusted, start + Duration::from_hours(hours)).map_err(|pause| match pause {
                Pause::Apart { .. } => "apart",
                Pause::Beyond { .. } => "beyond",
            })
        };
        let minute = TimeDelta::minutes(1);
        assert_eq!(judge(day(0), day(0), None, 0), Ok(day(0)), "nothing to compare with");
        assert_eq!(judge(day(1), day(1) + minute, Some(day(0)), 0), Ok(day(1)));
        assert_eq!(judge(day(0) - minute, day(0), Some(day(0)), 0), Ok(day(0) - minute), "backwards deletes nothing");
        assert_eq!(judge(day(40), day(0), Some(day(0)), 1), Err("apart"));
        assert_eq!(judge(day(0), day(40), Some(day(0)), 1), Err("apart"));
        assert_eq!(judge(day(40), day(40), Some(day(0)), 1), Err("beyond"), "both, as on one machine");
        assert_eq!(judge(day(40), day(40), Some(day(0)), 20), Err("beyond"), "a clock that stands is not steady");
        let hours = TimeDelta::hours;
        assert_eq!(judge(day(40) + hours(20), day(40) + hours(20), Some(day(0)), 40), Err("beyond"));
        assert_eq!(judge(day(80), day(80), Some(day(0)), 41), Err("beyond"), "it jumped again");
        assert_eq!(
            judge(day(0) + hours(42), day(0) + hours(42), Some(day(0)), 42),
            Ok(day(0) + hours(42)),
            "it was set right"
        );
        assert_eq!(judge(day(30), day(30), Some(day(2)), 50), Err("beyond"), "it was off for a month");
        assert_eq!(judge(day(30) + hours(24), day(30) + hours(24), Some(day(2)), 74), Ok(day(31)));
    }
}
