//! `GET /v1/models`: what a caller may ask for.
//!
//! Anthropic and OpenAI clients read different fields of the same object, so one answer carries both sets.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::Surface;
use crate::routing::Listed;

/// Query of the model list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListQuery {
    /// At most this many entries, 1…1000; default 1000, so that clients that do not page see all.
    pub(crate) limit: Option<usize>,
    /// Only entries after this id.
    pub(crate) after_id: Option<String>,
    /// Only entries before this id, the last ones of them.
    pub(crate) before_id: Option<String>,
}

/// A page of models.
#[derive(Debug, Serialize)]
pub(crate) struct ModelList<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Model<'a> {
    r#type: &'static str,
    object: &'static str,
    id: &'a str,
    display_name: &'a str,
    lifecycle: &'static str,
    created_at: DateTime<Utc>,
    created: i64,
    owned_by: &'a str,
}

/// The surface a client asked for by name.
pub(crate) fn surface_named(name: &str) -> Option<Surface> {
    match name {
        "anthropic" => Some(Surface::Anthropic),
        "openai" => Some(Surface::OpenAi),
        "gemini" => Some(Surface::Gemini),
        _ => None,
    }
}

/// The page of `models` that `query` asks for.
pub(crate) fn list<'a>(models: &[&'a Listed], query: &ListQuery) -> ModelList<'a> {
    let position = |id: &String| models.iter().position(|listed| listed.model.id == *id);
    let start = query.after_id.as_ref().and_then(position).map_or(0, |found| found + 1);
    let end = query.before_id.as_ref().and_then(position).unwrap_or(models.len());
    let window = models.get(start..end.max(start)).unwrap_or_default();
    let limit = query.limit.unwrap_or(1000).clamp(1, 1000);
    // A page before a cursor ends at the cursor, so that clients can page backwards.
    let skipped = if query.before_id.is_some() { window.len().saturating_sub(limit) } else { 0 };
    let data: Vec<_> = window
        .iter()
        .skip(skipped)
        .take(limit)
        .map(|listed| {
            // Clients sort by the date and show it; a model nobody knows the date of is as old as time.
            let created_at = listed
                .model
                .released
                .and_then(|day| day.and_hms_opt(0, 0, 0))
                .map_or(DateTime::UNIX_EPOCH, |at| at.and_utc());
            Model {
                r#type: "model",
                object: "model",
                id: &listed.model.id,
                display_name: &listed.model.display_name,
                lifecycle: "active",
                created_at,
                created: created_at.timestamp(),
                owned_by: &listed.route.provider.name,
            }
        })
        .collect();
    ModelList {
        object: "list",
        has_more: window.len() > limit,
        first_id: data.first().map(|model| model.id),
        last_id: data.last().map(|model| model.id),
        data,
    }
}
