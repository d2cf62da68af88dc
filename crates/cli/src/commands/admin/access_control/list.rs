//! `admin access-control list`.

use clap::Args;
use systemprompt_model::EntityKind;

use super::rule::ShownRule;
use crate::access::Access;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::Page;

/// Every rule in force, by entity.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only about entities of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<EntityKind>,
    /// Only rules that refuse.
    #[arg(long)]
    denies: bool,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let rules = Access::open(invocation, &database.db)?.rules().await?;
        let entities = rules.entities().into_iter();
        let of_kind = entities.filter(|((kind, _), _)| self.kind.is_none_or(|wanted| wanted == *kind));
        let shown = of_kind
            .flat_map(|((kind, id), entity)| entity.rules.iter().map(move |rule| ShownRule::new(kind, id, rule)))
            .filter(|rule| !self.denies || rule.access == "deny");
        invocation.printer.show(&Page::whole(shown.collect()));
        Ok(())
    }
}
