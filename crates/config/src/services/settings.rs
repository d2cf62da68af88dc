//! The `settings` of the root document: their variables, defaults and bounds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{Document, child, dotted};
use crate::environment::{self, Environment};
use crate::report::Problem;
use crate::schema;

/// The `settings` of the root document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The ports of agents, first and last; shifted by `services.port_offset` of the profile.
    pub agent_port_range: PortRange,
    /// The ports of internal MCP servers, first and last; shifted likewise.
    pub mcp_port_range: PortRange,
    /// Whether enabled agents and MCP servers start with the server.
    pub auto_start_enabled: bool,
    /// Whether errors of optional parts stop the start; otherwise the invalid entry is disabled.
    pub validation_strict: bool,
    /// What unknown keys and wrong shapes in included documents count as.
    pub schema_validation_mode: SchemaMode,
    /// The services directory, where it is not the profile's.
    pub services_path: Option<PathBuf>,
    /// The skills directory; `skills` below the services directory by default.
    pub skills_path: Option<PathBuf>,
    /// The directory of the root document.
    pub config_path: Option<PathBuf>,
    /// Whether the marketplace may be read without a login.
    pub marketplace_public: bool,
    /// The marketplace that is meant when none is named; required when there are several.
    pub default_marketplace_id: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            agent_port_range: PortRange { first: 9000, last: 9999 },
            mcp_port_range: PortRange { first: 5000, last: 5999 },
            auto_start_enabled: true,
            validation_strict: true,
            schema_validation_mode: SchemaMode::default(),
            services_path: None,
            skills_path: None,
            config_path: None,
            marketplace_public: true,
            default_marketplace_id: None,
        }
    }
}

/// A range of ports, written `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "(u16, u16)", into = "(u16, u16)")]
#[schemars(with = "(u16, u16)")]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, which belongs to the range.
    pub last: u16,
}

impl PortRange {
    /// Whether the port lies in the range.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl From<(u16, u16)> for PortRange {
    fn from((first, last): (u16, u16)) -> Self {
        Self { first, last }
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

/// What unknown keys and wrong shapes count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaMode {
    /// Errors.
    #[default]
    Strict,
    /// Warnings.
    Warn,
    /// Nothing. Syntax, references, ports and secrets are checked nevertheless.
    Skip,
}

/// Older spellings.
const ALIASES: [(&str, &str); 5] = [
    ("agentPortRange", "agent_port_range"),
    ("mcpPortRange", "mcp_port_range"),
    ("autoStartEnabled", "auto_start_enabled"),
    ("validationStrict", "validation_strict"),
    ("schemaValidationMode", "schema_validation_mode"),
];

/// Takes the settings out of the root document. Wrong ones are told and replaced by the defaults, so that reading goes on.
pub(super) fn read(
    root: &mut Document,
    port_offset: u16,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Settings {
    let mut document = Document::empty();
    if let Some(mut settings) = root.remove("/settings").filter(|settings| !settings.value.is_null()) {
        modernize(&mut settings, problems);
        document.insert("/settings", settings);
    }
    let schema = schema::wrap("settings", "settings", &schemars::schema_for!(Settings).to_value());
    let found = schema::validate(&schema, &mut document, "services");
    let sound = found.is_empty();
    problems.extend(found);
    let mut settings = match document.value.get("settings").filter(|_| sound).map(Settings::deserialize) {
        Some(Ok(settings)) => settings,
        Some(Err(error)) => {
            problems.push(
                Problem::error("services", "settings", error.to_string()).at_option(document.locate("/settings")),
            );
            Settings::default()
        }
        None => Settings::default(),
    };
    check_ranges(&settings, &document, problems);
    for (key, range) in
        [("agent_port_range", &mut settings.agent_port_range), ("mcp_port_range", &mut settings.mcp_port_range)]
    {
        if let (Some(first), Some(last)) = (range.first.checked_add(port_offset), range.last.checked_add(port_offset)) {
            *range = PortRange { first, last };
        } else {
            let message = format!("goes beyond 65535 with the profile's services.port_offset of {port_offset}");
            let pointer = format!("/settings/{key}");
            problems.push(Problem::error("services", dotted(&pointer), message).at_option(document.locate(&pointer)));
        }
    }
    if let Some(path) = environment.get(environment::SYSTEMPROMPT_SKILLS_PATH) {
        settings.skills_path = Some(PathBuf::from(path));
    }
    settings
}

fn modernize(settings: &mut Document, problems: &mut Vec<Problem>) {
    for (old, new) in ALIASES {
        let pointer = child("", new);
        let Some(part) = settings.remove(&child("", old)) else { continue };
        let at = part.locate("").cloned();
        if settings.get(&pointer).is_some() {
            let message = format!("is the older spelling of `{new}`, which is given too");
            let problem = Problem::error("services", format!("settings.{old}"), message).at_option(at.as_ref());
            problems.push(problem.suggest("remove the older one").code("duplicate_key"));
            continue;
        }
        let problem =
            Problem::warning("services", format!("settings.{old}"), format!("is an older spelling of `{new}`"));
        problems.push(problem.at_option(at.as_ref()).suggest(format!("write `{new}`")).code("deprecated"));
        settings.insert(&pointer, part);
    }
    let mode = "/schema_validation_mode";
    if settings.get(mode).and_then(serde_json::Value::as_str) == Some("auto_migrate") {
        let problem =
            Problem::warning("services", "settings.schema_validation_mode", "`auto_migrate` is an older spelling");
        problems.push(problem.at_option(settings.locate(mode)).suggest("write `strict`").code("deprecated"));
        if let Some(node) = settings.value.pointer_mut(mode) {
            *node = "strict".into();
        }
    }
}

fn check_ranges(settings: &Settings, document: &Document, problems: &mut Vec<Problem>) {
    let mut error = |key: &str, message: String| {
        let pointer = format!("/settings/{key}");
        problems.push(Problem::error("services", dotted(&pointer), message).at_option(document.locate(&pointer)));
    };
    let (agents, mcp) = (settings.agent_port_range, settings.mcp_port_range);
    for (key, range) in [("agent_port_range", agents), ("mcp_port_range", mcp)] {
        if range.first > range.last {
            error(key, format!("starts at {} and ends before it, at {}", range.first, range.last));
        } else if range.first < 1024 {
            error(key, format!("must not go below port 1024, got {}", range.first));
        }
    }
    if agents.first <= mcp.last && mcp.first <= agents.last {
        let (a, b, c, d) = (agents.first, agents.last, mcp.first, mcp.last);
        error("mcp_port_range", format!("{c}-{d} overlaps agent_port_range {a}-{b}"));
    }
}

pub(super) fn check_marketplaces(settings: &Settings, tree: &Document, problems: &mut Vec<Problem>) {
    let Some(marketplaces) = tree.value.get("marketplaces").and_then(serde_json::Value::as_object) else { return };
    let names = marketplaces.keys().cloned().collect::<Vec<_>>().join(", ");
    let message = match &settings.default_marketplace_id {
        Some(id) if !marketplaces.contains_key(id) => format!("names `{id}`, but the marketplaces are {names}"),
        None if marketplaces.len() > 1 => format!("is required when there are several marketplaces: {names}"),
        _ => return,
    };
    problems.push(Problem::error("services", "settings.default_marketplace_id", message));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::yaml;

    fn check(text: &str, port_offset: u16) -> (Settings, Vec<String>) {
        let mut document = yaml::parse(text, Path::new("config.yaml"), "services").unwrap();
        let mut problems = Vec::new();
        let settings = read(&mut document, port_offset, &Environment::default(), &mut problems);
        let line = |p: &Problem| format!("{}{p}", if p.is_error() { "" } else { "warning: " });
        (settings, problems.iter().map(line).collect())
    }

    #[test]
    fn what_is_accepted_and_what_is_not() {
        for (text, expected) in [
            ("", &[][..]),
            ("settings: {agent_port_range: [3100, 3199], mcp_port_range: [3200, 3299]}", &[]),
            (
                "settings: {agentPortRange: [3100, 3199]}",
                &["warning: settings.agentPortRange: is an older spelling of `agent_port_range`"],
            ),
            (
                "settings: {schema_validation_mode: auto_migrate}",
                &["warning: settings.schema_validation_mode: `auto_migrate` is an older spelling"],
            ),
            (
                "settings: {agent_port_range: [9, 8]}",
                &["settings.agent_port_range: starts at 9 and ends before it, at 8"],
            ),
            (
                "settings: {agent_port_range: [80, 90]}",
                &["settings.agent_port_range: must not go below port 1024, got 80"],
            ),
            (
                "settings: {agent_port_range: [5500, 6000]}",
                &["settings.mcp_port_range: 5000-5999 overlaps agent_port_range 5500-6000"],
            ),
            ("settings: {agent_port_range: [1]}", &["settings.agent_port_range: must have at least 2 elements"]),
            ("settings: {port_range: [1, 2]}", &["settings.port_range: is not a known key"]),
        ] {
            assert_eq!(check(text, 0).1, expected, "{text}");
        }
    }

    #[test]
    fn the_offset_shifts_both_ranges() {
        let (settings, problems) =
            check("settings: {agent_port_range: [3100, 3199], mcp_port_range: [3200, 3299]}", 1000);
        assert_eq!(problems, [""; 0]);
        assert_eq!(settings.agent_port_range, PortRange { first: 4100, last: 4199 });
        assert!(settings.mcp_port_range.contains(4299) && !settings.mcp_port_range.contains(4300));
        assert_eq!(check("", 60000).1.len(), 2);
    }
}
