//! The words of Cedar for what the product has: its schema, and the names of people and entities in it.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};
use systemprompt_model::EntityKind;

use super::decision::{DEPARTMENT, GROUP, ROLE, USER};

/// The schema as its author wrote it.
pub const SCHEMA: &str = include_str!("access.cedarschema");

/// Everything that is made from constants, once.
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    /// The one action there is.
    pub(super) using: EntityUid,
    user: EntityTypeName,
    role: EntityTypeName,
    department: EntityTypeName,
    group: EntityTypeName,
    attribute: EntityTypeName,
    kinds: HashMap<EntityKind, EntityTypeName>,
}

pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let name = |text: &str| EntityTypeName::from_str(text).expect("a constant that is a type name");
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("a constant that is a schema");
    Vocabulary {
        schema,
        using: EntityUid::from_str("Action::\"use\"").expect("a constant that is an entity"),
        user: name("User"),
        role: name("Role"),
        department: name("Department"),
        group: name("Group"),
        attribute: name("Attribute"),
        kinds: EntityKind::ALL.map(|kind| (kind, name(type_of(kind)))).into(),
    }
});

/// The type of entities of this kind.
pub(super) const fn type_of(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::GatewayRoute => "GatewayRoute",
        EntityKind::McpServer => "McpServer",
        EntityKind::Agent => "Agent",
        EntityKind::Skill => "Skill",
        EntityKind::Hook => "Hook",
        EntityKind::Plugin => "Plugin",
        EntityKind::Marketplace => "Marketplace",
        EntityKind::SlackWorkspace => "SlackWorkspace",
        EntityKind::TeamsTenant => "TeamsTenant",
    }
}

impl Vocabulary {
    /// Somebody, or everybody with something in common, as rules name them.
    pub(super) fn people(&self, rule_type: &str, value: &str) -> EntityUid {
        let (of, id) = match rule_type {
            USER => (&self.user, value.to_owned()),
            ROLE => (&self.role, value.to_owned()),
            DEPARTMENT => (&self.department, value.to_owned()),
            GROUP => (&self.group, value.to_owned()),
            dimension => (&self.attribute, format!("{dimension}:{value}")),
        };
        EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
    }

    /// What rules are about.
    pub(super) fn entity(&self, kind: EntityKind, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.kinds[&kind].clone(), EntityId::new(id))
    }
}
