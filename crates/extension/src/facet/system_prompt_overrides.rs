//! The facet of overrides of system prompts.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use super::own_names;
use crate::gateway::SystemPromptOverrideDef;
use crate::{Extension, LoaderError};

/// Overrides of what callers have models told as their operator.
#[derive(Debug)]
pub enum SystemPromptOverrides {}

impl Facet for SystemPromptOverrides {
    type Contribution = SystemPromptOverrideDef;

    const ABOUT: &'static str = "Overrides of what callers have models told as their operator.";
    const METHOD: &'static str = "system_prompt_overrides";

    fn of(extension: &dyn Extension) -> Vec<SystemPromptOverrideDef> {
        extension.system_prompt_overrides()
    }

    fn describe(def: &SystemPromptOverrideDef) -> Described {
        Described::new(def.name, def.description, json!({ "description": def.description }))
    }

    fn check(declared: &[Declared<'_, SystemPromptOverrideDef>]) -> Vec<LoaderError> {
        own_names::broken("system prompt override", declared, |def| def.name)
    }
}
