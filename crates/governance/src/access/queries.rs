//! The SQL of access rules.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use systemprompt_model::{AccessGroupId, AccessRuleId, EntityKind, UserId};
use uuid::Uuid;

use super::entity::{EntityRule, EntityRules};
use super::group::{Group, GroupKind};
use super::groups::Groups;
use super::rule::Rule;
use crate::config::{Access, GroupConfig};

/// One entity with its rules.
pub(super) async fn find_entity(
    executor: impl PgExecutor<'_>,
    kind: EntityKind,
    id: &str,
) -> sqlx::Result<Option<EntityRules>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            entity.default_included AS "default_included!",
            rule.rule_type AS "rule_type?",
            rule.rule_value AS "rule_value?",
            rule.access AS "access?",
            rule.justification AS "justification?",
            rule.source AS "source?"
        FROM access_control_entities AS entity
        LEFT JOIN access_control_rules AS rule USING (entity_type, entity_id)
        WHERE entity.entity_type = $1
            AND entity.entity_id = $2
        "#,
        kind.as_str(),
        id,
    )
    .fetch_all(executor)
    .await?;
    let mut entity: Option<EntityRules> = None;
    for row in rows {
        let entity = entity.get_or_insert_with(|| EntityRules::new(row.default_included));
        if let (Some(rule_type), Some(rule_value), Some(access), Some(source)) =
            (row.rule_type, row.rule_value, row.access, row.source)
        {
            let access = access_of(&access);
            entity.insert(EntityRule { rule_type, rule_value, access, justification: row.justification, source });
        }
    }
    Ok(entity)
}

/// Every entity with its rules.
pub(super) async fn load_entities(
    executor: impl PgExecutor<'_>,
) -> sqlx::Result<BTreeMap<(EntityKind, String), EntityRules>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            entity.entity_type AS "entity_type!",
            entity.entity_id AS "entity_id!",
            entity.default_included AS "default_included!",
            rule.rule_type AS "rule_type?",
            rule.rule_value AS "rule_value?",
            rule.access AS "access?",
            rule.justification AS "justification?",
            rule.source AS "source?"
        FROM access_control_entities AS entity
        LEFT JOIN access_control_rules AS rule USING (entity_type, entity_id)
        "#,
    )
    .fetch_all(executor)
    .await?;
    let mut entities: BTreeMap<(EntityKind, String), EntityRules> = BTreeMap::new();
    for row in rows {
        // A kind of a newer version, or of an extension that is gone: nobody can ask for it here.
        let Ok(kind) = EntityKind::from_str(&row.entity_type) else { continue };
        let entity = entities.entry((kind, row.entity_id)).or_insert_with(|| EntityRules::new(row.default_included));
        if let (Some(rule_type), Some(rule_value), Some(access), Some(source)) =
            (row.rule_type, row.rule_value, row.access, row.source)
        {
            let access = access_of(&access);
            entity.insert(EntityRule { rule_type, rule_value, access, justification: row.justification, source });
        }
    }
    Ok(entities)
}

/// Who is in which group.
pub(super) async fn load_groups(connection: &mut PgConnection) -> sqlx::Result<Groups> {
    let groups = sqlx::query!(
        r#"
        SELECT known.name, parent.name AS "parent?"
        FROM access_groups AS known
        LEFT JOIN access_groups AS parent ON parent.id = known.parent_id
        "#,
    )
    .fetch_all(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        r#"
        SELECT member.user_id, known.name
        FROM access_group_members AS member
        JOIN access_groups AS known ON known.id = member.group_id
        WHERE known.kind = 'group'
        ORDER BY member.user_id, known.name
        "#,
    )
    .fetch_all(connection)
    .await?;
    let mut members: HashMap<UserId, Vec<String>> = HashMap::new();
    for row in rows {
        members.entry(UserId::from_uuid(row.user_id)).or_default().push(row.name);
    }
    Ok(Groups { parents: groups.into_iter().map(|row| (row.name, row.parent)).collect(), members })
}

/// Every group, by kind and name.
pub(super) async fn list_groups(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<Group>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            known.id,
            known.kind,
            known.name,
            known.description,
            known.source,
            parent.name AS "parent?",
            ARRAY(
                SELECT member.user_id
                FROM access_group_members AS member
                WHERE member.group_id = known.id
                ORDER BY member.user_id
            ) AS "members!"
        FROM access_groups AS known
        LEFT JOIN access_groups AS parent ON parent.id = known.parent_id
        ORDER BY known.kind, known.name
        "#,
    )
    .fetch_all(executor)
    .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        let is_department = row.kind == GroupKind::Department.as_str();
        groups.push(Group {
            id: AccessGroupId::from_uuid(row.id),
            kind: if is_department { GroupKind::Department } else { GroupKind::Group },
            name: row.name,
            description: row.description,
            parent: row.parent,
            source: row.source,
            members: row.members.into_iter().map(UserId::from_uuid).collect(),
        });
    }
    Ok(groups)
}

/// Adds entities that are not there yet.
pub(super) async fn insert_entities(
    connection: &mut PgConnection,
    kinds: &[&str],
    ids: &[&str],
    source: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO access_control_entities (entity_type, entity_id, source, created_at, updated_at)
        SELECT DISTINCT entity_type, entity_id, $3, $4::timestamptz, $4::timestamptz
        FROM unnest($1::text[], $2::text[]) AS new (entity_type, entity_id)
        ORDER BY entity_type, entity_id
        ON CONFLICT (entity_type, entity_id) DO NOTHING
        "#,
        kinds as &[&str],
        ids as &[&str],
        source,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The ids of all entities, by kind.
pub(super) async fn entity_ids(connection: &mut PgConnection) -> sqlx::Result<Vec<(EntityKind, String)>> {
    let rows = sqlx::query!("SELECT entity_type, entity_id FROM access_control_entities").fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(|row| Some((EntityKind::from_str(&row.entity_type).ok()?, row.entity_id))).collect())
}

/// Opens the given entities to everybody, and, of those nobody edited by hand, closes the others.
pub(super) async fn set_default_included(
    connection: &mut PgConnection,
    kinds: &[&str],
    ids: &[&str],
    override_edits: bool,
    close_others: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        WITH wanted AS (
            SELECT
                entity.entity_type,
                entity.entity_id,
                EXISTS (
                    SELECT
                    FROM unnest($1::text[], $2::text[]) AS open (entity_type, entity_id)
                    WHERE open.entity_type = entity.entity_type
                        AND open.entity_id = entity.entity_id
                ) AS default_included
            FROM access_control_entities AS entity
            WHERE entity.source <> 'api' OR $3::boolean
        )
        UPDATE access_control_entities AS entity
        SET default_included = wanted.default_included,
            updated_at = $5::timestamptz
        FROM wanted
        WHERE wanted.entity_type = entity.entity_type
            AND wanted.entity_id = entity.entity_id
            AND wanted.default_included <> entity.default_included
            AND (wanted.default_included OR $4::boolean)
        "#,
        kinds as &[&str],
        ids as &[&str],
        override_edits,
        close_others,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Rules as columns, for `unnest`.
#[derive(Default)]
pub(super) struct RuleColumns<'a> {
    ids: Vec<Uuid>,
    kinds: Vec<&'a str>,
    entities: Vec<&'a str>,
    types: Vec<&'a str>,
    values: Vec<&'a str>,
    accesses: Vec<&'a str>,
    justifications: Vec<Option<&'a str>>,
}

impl<'a> RuleColumns<'a> {
    pub(super) fn push(&mut self, id: AccessRuleId, rule: &'a Rule) {
        self.ids.push(id.as_uuid());
        self.kinds.push(rule.kind.as_str());
        self.entities.push(&rule.entity_id);
        self.types.push(&rule.rule_type);
        self.values.push(&rule.rule_value);
        self.accesses.push(rule.access.as_str());
        self.justifications.push(rule.justification.as_deref());
    }
}

/// Adds or changes rules. Rules of another source are left alone unless `override_existing`.
pub(super) async fn upsert_rules(
    connection: &mut PgConnection,
    rules: &RuleColumns<'_>,
    source: &str,
    override_existing: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO access_control_rules AS rule
            (id, entity_type, entity_id, rule_type, rule_value, access, justification, source, created_at, updated_at)
        SELECT id, entity_type, entity_id, rule_type, rule_value, access, justification, $8, $10::timestamptz, $10::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
            AS new (id, entity_type, entity_id, rule_type, rule_value, access, justification)
        ORDER BY entity_type, entity_id, rule_type, rule_value
        ON CONFLICT (entity_type, entity_id, rule_type, rule_value) DO UPDATE
        SET access = excluded.access,
            justification = excluded.justification,
            source = excluded.source,
            updated_at = excluded.updated_at
        WHERE (rule.source = excluded.source OR $9::boolean)
            AND (rule.access, rule.justification, rule.source)
                IS DISTINCT FROM (excluded.access, excluded.justification, excluded.source)
        "#,
        &rules.ids,
        rules.kinds.as_slice() as &[&str],
        rules.entities.as_slice() as &[&str],
        rules.types.as_slice() as &[&str],
        rules.values.as_slice() as &[&str],
        rules.accesses.as_slice() as &[&str],
        rules.justifications.as_slice() as &[Option<&str>],
        source,
        override_existing,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the rules of `source`, or of all, that are not among `kept`.
pub(super) async fn delete_other_rules(
    connection: &mut PgConnection,
    kept: &RuleColumns<'_>,
    source: Option<&str>,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM access_control_rules AS rule
        WHERE ($5::text IS NULL OR rule.source = $5)
            AND NOT EXISTS (
                SELECT
                FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
                    AS kept (entity_type, entity_id, rule_type, rule_value)
                WHERE kept.entity_type = rule.entity_type
                    AND kept.entity_id = rule.entity_id
                    AND kept.rule_type = rule.rule_type
                    AND kept.rule_value = rule.rule_value
            )
        "#,
        kept.kinds.as_slice() as &[&str],
        kept.entities.as_slice() as &[&str],
        kept.types.as_slice() as &[&str],
        kept.values.as_slice() as &[&str],
        source,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes one rule; whether there was one.
pub(super) async fn delete_rule(
    executor: impl PgExecutor<'_>,
    kind: EntityKind,
    entity_id: &str,
    rule_type: &str,
    rule_value: &str,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM access_control_rules
        WHERE entity_type = $1
            AND entity_id = $2
            AND rule_type = $3
            AND rule_value = $4
        "#,
        kind.as_str(),
        entity_id,
        rule_type,
        rule_value,
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Deletes the rule of this type and value of every entity of a kind.
pub(super) async fn delete_rule_of_all(
    executor: impl PgExecutor<'_>,
    kind: EntityKind,
    rule_type: &str,
    rule_value: &str,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM access_control_rules
        WHERE entity_type = $1
            AND rule_type = $2
            AND rule_value = $3
        "#,
        kind.as_str(),
        rule_type,
        rule_value,
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected())
}

/// Opens an entity to everybody, or closes it; whether there is such an entity.
pub(super) async fn set_open(
    executor: impl PgExecutor<'_>,
    kind: EntityKind,
    id: &str,
    open: bool,
    source: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let set = sqlx::query!(
        r#"
        UPDATE access_control_entities
        SET default_included = $3,
            source = $4,
            updated_at = $5
        WHERE entity_type = $1
            AND entity_id = $2
        "#,
        kind.as_str(),
        id,
        open,
        source,
        now,
    )
    .execute(executor)
    .await?;
    Ok(set.rows_affected() > 0)
}

/// Deletes what rules these entities have besides those of these types and values.
pub(super) async fn delete_rules_but(
    connection: &mut PgConnection,
    (kinds, ids): (&[&str], &[&str]),
    (types, values): (&[&str], &[&str]),
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM access_control_rules AS rule
        USING unnest($1::text[], $2::text[]) AS about (entity_type, entity_id)
        WHERE rule.entity_type = about.entity_type
            AND rule.entity_id = about.entity_id
            AND NOT EXISTS (
                SELECT
                FROM unnest($3::text[], $4::text[]) AS kept (rule_type, rule_value)
                WHERE kept.rule_type = rule.rule_type
                    AND kept.rule_value = rule.rule_value
            )
        "#,
        kinds as &[&str],
        ids as &[&str],
        types as &[&str],
        values as &[&str],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds groups, or changes what is said about them and what they are a part of.
pub(super) async fn upsert_groups(
    connection: &mut PgConnection,
    kind: GroupKind,
    ids: &[AccessGroupId],
    groups: &[GroupConfig],
    source: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = ids.iter().map(AccessGroupId::as_uuid).collect();
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let descriptions: Vec<&str> = groups.iter().map(|group| group.description.as_str()).collect();
    let parents: Vec<Option<&str>> = groups.iter().map(|group| group.parent.as_deref()).collect();
    sqlx::query!(
        r#"
        INSERT INTO access_groups AS known (id, kind, name, description, source, created_at, updated_at)
        SELECT id, $4, name, description, $5, $6::timestamptz, $6::timestamptz
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, name, description)
        ORDER BY name
        ON CONFLICT (name) DO UPDATE
        SET description = excluded.description,
            updated_at = excluded.updated_at
        WHERE known.description <> excluded.description
        "#,
        &ids,
        names.as_slice() as &[&str],
        descriptions.as_slice() as &[&str],
        kind.as_str(),
        source,
        now,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        UPDATE access_groups AS known
        SET parent_id = parent.id,
            updated_at = $3::timestamptz
        FROM unnest($1::text[], $2::text[]) AS written (name, parent)
        LEFT JOIN access_groups AS parent ON parent.name = written.parent
        WHERE known.name = written.name
            AND known.parent_id IS DISTINCT FROM parent.id
        "#,
        names.as_slice() as &[&str],
        parents.as_slice() as &[Option<&str>],
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a group; whether there was one. What was a part of it is a part of nothing.
pub(super) async fn delete_group(executor: impl PgExecutor<'_>, name: &str) -> sqlx::Result<bool> {
    let deleted = sqlx::query!("DELETE FROM access_groups WHERE name = $1", name).execute(executor).await?;
    Ok(deleted.rows_affected() > 0)
}

/// Puts an account into a group; whether it was not in it.
pub(super) async fn add_member(
    executor: impl PgExecutor<'_>,
    group: AccessGroupId,
    user: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let added = sqlx::query!(
        r#"
        INSERT INTO access_group_members (group_id, user_id, created_at)
        VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING
        "#,
        group.as_uuid(),
        user.as_uuid(),
        now,
    )
    .execute(executor)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Takes an account out of a group; whether it was in it.
pub(super) async fn remove_member(
    executor: impl PgExecutor<'_>,
    group: AccessGroupId,
    user: UserId,
) -> sqlx::Result<bool> {
    let removed = sqlx::query!(
        "DELETE FROM access_group_members WHERE group_id = $1 AND user_id = $2",
        group.as_uuid(),
        user.as_uuid(),
    )
    .execute(executor)
    .await?;
    Ok(removed.rows_affected() > 0)
}

/// Makes replicas that start together take turns, until the transaction ends.
pub(super) async fn lock_bootstrap(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('access_control.bootstrap', 0))")
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// The table allows no third value; if there is one all the same, it refuses.
fn access_of(text: &str) -> Access {
    if text == Access::Allow.as_str() { Access::Allow } else { Access::Deny }
}
