//! Bans as operators make them and take them back.

use chrono::TimeDelta;
use ipnet::IpNet;
use systemprompt_database::DbPool;
use systemprompt_model::Ambient;

use super::{BannedIp, network, queries, written};
use crate::error::StoreError;

/// The bans of a database.
#[derive(Clone)]
pub struct Bans {
    db: DbPool,
    ambient: Ambient,
}

impl Bans {
    /// Those in `db`.
    pub fn new(db: DbPool, ambient: Ambient) -> Self {
        Self { db, ambient }
    }

    /// All of them, the latest first; those that hold, or those that are over as well.
    pub async fn list(&self, with_expired: bool) -> Result<Vec<BannedIp>, StoreError> {
        let holding_at = (!with_expired).then(|| self.ambient.now());
        Ok(queries::list(self.db.write(), holding_at).await?)
    }

    /// Shuts an address or network out from now on, on every replica, for so long or for good.
    pub async fn add(&self, whom: IpNet, reason: &str, lasts: Option<TimeDelta>) -> Result<BannedIp, StoreError> {
        let now = self.ambient.now();
        let ban = BannedIp {
            ip_address: written(whom),
            reason: reason.to_owned(),
            banned_at: now,
            expires_at: lasts.map(|lasts| now + lasts),
            ban_count: 1,
            is_permanent: lasts.is_none(),
            ban_source: "cli".to_owned(),
        };
        Ok(queries::add(self.db.write(), &ban).await?)
    }

    /// Lets it in again. Nothing if it was not shut out.
    pub async fn remove(&self, whom: IpNet) -> Result<Option<BannedIp>, StoreError> {
        Ok(queries::remove(self.db.write(), &written(whom)).await?)
    }

    /// The bans that shut this address out.
    pub async fn of(&self, whom: IpNet) -> Result<Vec<BannedIp>, StoreError> {
        let all = self.list(false).await?;
        Ok(all.into_iter().filter(|ban| network(&ban.ip_address).is_some_and(|net| net.contains(&whom))).collect())
    }

    /// Deletes bans that are over.
    pub async fn cleanup(&self) -> Result<u64, StoreError> {
        Ok(queries::delete_expired(self.db.write(), self.ambient.now()).await?)
    }
}
