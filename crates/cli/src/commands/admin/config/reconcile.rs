//! `admin config reconcile`.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase, Project};
use crate::view::{Page, Row};

/// Compare what access rules speak about with what the configuration has.
///
/// A server makes every route of its configuration known when it starts and when it reloads. What is not configured any more
/// stays known, so that rules about it are still there if it comes back; --apply drops it, with its rules.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// Drop what is not configured any more.
    #[arg(long)]
    apply: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Reconcile {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let project = invocation.project()?;
        let compared = invocation.with_database(async |database| self.compare(invocation, &project, database).await);
        let found = Box::pin(compared).await?;
        invocation.printer.show(&Page::whole(found));
        Ok(())
    }

    async fn compare(
        &self,
        invocation: &Invocation,
        project: &Project,
        database: &OpenDatabase,
    ) -> CliResult<Vec<Difference>> {
        let known: Vec<(String, String)> = sqlx::query_as(
            "SELECT entity_type, entity_id FROM access_control_entities WHERE source = 'profile' ORDER BY 1, 2",
        )
        .fetch_all(database.db.write())
        .await
        .map_err(CliError::database)?;
        let configured: BTreeSet<(String, String)> = project
            .registry
            .iter()
            .flat_map(|extension| extension.entities(&project.configuration))
            .flat_map(|(kind, ids)| ids.into_iter().map(move |id| (kind.as_str().to_owned(), id)))
            .collect();
        let lost: Vec<_> = known.iter().filter(|entity| !configured.contains(*entity)).cloned().collect();
        let new = configured.iter().filter(|entity| !known.contains(entity)).cloned();
        let mut found: Vec<_> = new.map(|(kind, id)| Difference { kind, id, state: "not known yet" }).collect();
        if !self.apply || lost.is_empty() {
            found.extend(lost.into_iter().map(|(kind, id)| Difference { kind, id, state: "not configured any more" }));
            return Ok(found);
        }
        let names: Vec<_> = lost.iter().map(|(kind, id)| format!("{kind}:{id}")).collect();
        invocation.confirm(self.yes, &format!("Drop {} with the access rules about them?", names.join(", "))).await?;
        let drop = async || {
            let (kinds, ids): (Vec<_>, Vec<_>) = lost.iter().cloned().unzip();
            sqlx::query(
                "DELETE FROM access_control_entities USING UNNEST($1::text[], $2::text[]) AS lost (kind, id)
                 WHERE entity_type = lost.kind AND entity_id = lost.id AND source = 'profile'",
            )
            .bind(kinds)
            .bind(ids)
            .execute(database.db.write())
            .await
            .map_err(CliError::database)?;
            Ok(Changed { before: Some(StateDigest::of(&known)), after: None, value: () })
        };
        let about = About::new("configuration", &project.configuration.profile.name);
        let change = Change::new("access_entities.reconcile", about, &json!({"dropped": names}));
        invocation.change(database, change, drop).await?;
        found.extend(lost.into_iter().map(|(kind, id)| Difference { kind, id, state: "dropped" }));
        Ok(found)
    }
}

/// Something only one side has.
#[derive(Serialize)]
struct Difference {
    #[serde(rename = "entity_type")]
    kind: String,
    #[serde(rename = "entity_id")]
    id: String,
    state: &'static str,
}

impl Row for Difference {
    const COLUMNS: &'static [&'static str] = &["kind", "id", "state"];
    const NONE: &'static str = "Access rules know exactly what is configured.";

    fn cells(&self) -> Vec<String> {
        vec![self.kind.clone(), self.id.clone(), self.state.to_owned()]
    }
}
