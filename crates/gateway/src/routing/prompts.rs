//! What models are told in the place of their callers' system prompts.

use std::sync::Arc;

use systemprompt_model::pattern::Pattern;

use crate::config::{GatewayConfig, SystemPromptAction};

/// What a model is told in the place of a caller's system prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptOverride {
    /// What records call it.
    pub name: String,
    /// The text; without one the model is told nothing.
    pub text: Option<Arc<str>>,
}

/// The overrides of a configuration, in their order: of those that fit a place the first counts.
#[derive(Debug, Default)]
pub(crate) struct PromptOverrides(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    provider: Option<String>,
    model: Option<Pattern>,
    then: Arc<PromptOverride>,
}

impl PromptOverrides {
    /// Those of a checked configuration; `texts` are their prompts as they were read.
    pub(crate) fn new(gateway: &GatewayConfig, texts: &[Option<Result<String, String>>]) -> Self {
        let configured = gateway.system_prompt_overrides.iter().zip(texts).enumerate();
        let rules = configured.map(|(index, (config, text))| {
            let text = text.as_ref().and_then(|text| text.as_deref().ok());
            Rule {
                provider: config.provider.clone(),
                // What is no pattern was reported when the configuration was checked.
                model: config.model_pattern.as_deref().and_then(|pattern| Pattern::new(pattern).ok()),
                then: Arc::new(PromptOverride {
                    name: config.shown(index),
                    text: text.filter(|_| config.action == SystemPromptAction::Replace).map(Arc::from),
                }),
            }
        });
        Self(rules.collect())
    }

    /// The one for a model of a provider, by its names.
    pub(super) fn of(&self, provider: &str, models: [&str; 2]) -> Option<Arc<PromptOverride>> {
        let fits = |rule: &&Rule| {
            rule.provider.as_deref().is_none_or(|name| name == provider)
                && rule.model.as_ref().is_none_or(|pattern| models.iter().any(|model| pattern.fits(model)))
        };
        self.0.iter().find(fits).map(|rule| rule.then.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_fits_provider_and_model_counts() {
        let gateway: GatewayConfig = serde_json::from_value(serde_json::json!({"system_prompt_overrides": [
            {"provider": "ant", "model_pattern": "claude-opus-*", "action": "strip"},
            {"name": "house", "provider": "ant", "action": "replace", "prompt": "Be brief."},
            {"model_pattern": "gpt-*", "action": "replace", "prompt": {"path": "prompts/gpt.md"}},
        ]}))
        .expect("a gateway block");
        let texts = [None, Some(Ok("Be brief.".to_owned())), Some(Ok("Be exact.".to_owned()))];
        let overrides = PromptOverrides::new(&gateway, &texts);
        for (provider, models, expected) in [
            ("ant", ["claude-opus-5", "claude-opus-5"], Some(("strip-1", None))),
            ("ant", ["best", "claude-opus-5"], Some(("strip-1", None))),
            ("ant", ["claude-haiku-5", "claude-haiku-5"], Some(("house", Some("Be brief.")))),
            ("oai", ["gpt-5", "gpt-5"], Some(("replace-3", Some("Be exact.")))),
            ("oai", ["claude-opus-5", "claude-opus-5"], None),
        ] {
            let found = overrides.of(provider, models);
            let found = found.as_ref().map(|found| (found.name.as_str(), found.text.as_deref()));
            assert_eq!(found, expected, "{provider} {models:?}");
        }
    }
}
