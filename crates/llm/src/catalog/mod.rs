//! Models and their prices.
//!
//! The built-in catalog is data, `data/catalog.json`, with a version of its own. Operators replace it with a file of theirs
//! (`gateway.catalog`), or override it model by model, so a price change never waits for a release of ours.
//!
//! To add a price: a field of [`Pricing`], a line in [`Pricing::cost`] and in the table of `tests/prices.rs`.

mod decimal;
mod pricing;

use std::collections::HashSet;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::decimal::Decimal;
pub use self::pricing::{LongPromptPricing, Pricing, ServiceTiers};

/// A table of models and prices.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The date of the data. Where the price of that day is in doubt it has the higher one.
    pub version: NaiveDate,
    /// The currency of all prices; always `USD`.
    pub currency: String,
    /// The models, the most capable and newest of each provider first.
    pub models: Vec<CatalogModel>,
}

impl Catalog {
    /// Reads a catalog in the format of the built-in one.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Everything that is wrong with it although it could be read, each with the model it is about.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        if self.currency != "USD" {
            flaws.push(format!("`currency` is `{}`; prices are in `USD`", self.currency));
        }
        let mut names = HashSet::new();
        for model in &self.models {
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                if name.trim().is_empty() {
                    flaws.push(format!("a model of `{}` has an empty name", model.provider));
                } else if !names.insert(name) {
                    flaws.push(format!("`{name}` appears twice; remove or rename one"));
                }
            }
            match &model.pricing {
                None => flaws.push(format!("`{}` has no pricing, so it could not be offered", model.id)),
                Some(pricing) if pricing.long_prompt.is_some_and(|long| long.above_tokens == 0) => {
                    flaws.push(format!(
                        "`{}` has long prompts above 0 tokens; give those prices as the usual ones",
                        model.id
                    ));
                }
                Some(_) => {}
            }
        }
        flaws
    }

    /// The models in order.
    pub fn iter(&self) -> std::slice::Iter<'_, CatalogModel> {
        self.models.iter()
    }

    /// The model with this id or alias.
    pub fn find(&self, id: &str) -> Option<&CatalogModel> {
        self.iter().find(|model| model.id == id || model.aliases.iter().any(|alias| alias == id))
    }
}

impl<'a> IntoIterator for &'a Catalog {
    type Item = &'a CatalogModel;
    type IntoIter = std::slice::Iter<'a, CatalogModel>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A model a provider offers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogModel {
    /// The name callers use.
    pub id: String,
    /// The provider that offers it.
    pub provider: String,
    /// The name for people.
    pub display_name: String,
    /// Other names callers may use.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The name sent to the provider, if it differs from `id`.
    #[serde(default)]
    pub upstream_model: Option<String>,
    /// The day it became available, where known.
    #[serde(default)]
    pub released: Option<NaiveDate>,
    /// Its price; without one it cannot be offered.
    #[serde(default)]
    pub pricing: Option<Pricing>,
    /// The most tokens of input and output together.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// The most tokens of output; a larger `max_tokens` is lowered to it.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// The most tokens of thinking, for models that take a budget.
    #[serde(default)]
    pub max_thinking_budget: Option<u64>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Reads images.
    pub vision: bool,
    /// Reads sound.
    pub audio_input: bool,
    /// Reads video.
    pub video_input: bool,
    /// Makes images.
    pub image_generation: bool,
    /// Makes sound.
    pub audio_generation: bool,
    /// Answers as a stream of events.
    pub streaming: bool,
    /// Calls tools.
    pub tools: bool,
    /// Answers in a given JSON schema.
    pub structured_output: bool,
    /// Takes a system prompt.
    pub system_prompts: bool,
    /// Lets the caller choose the resolution of images.
    pub image_resolution_config: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            vision: false,
            audio_input: false,
            video_input: false,
            image_generation: false,
            audio_generation: false,
            streaming: true,
            tools: true,
            structured_output: false,
            system_prompts: true,
            image_resolution_config: false,
        }
    }
}

/// The built-in catalog: models of Anthropic, OpenAI and Google, and the offline `demo` model, whose small price is
/// made up so that costs can be seen without spending anything.
pub fn default_catalog() -> Catalog {
    Catalog::parse(include_str!("../../data/catalog.json")).expect("a test reads the built-in catalog")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_is_sound() {
        let catalog = default_catalog();
        assert_eq!(catalog.flaws(), [] as [&str; 0]);
        for model in &catalog {
            let pricing = model.pricing.expect("every model has a price");
            assert!(
                pricing.input_per_million > Decimal::ZERO && pricing.output_per_million > pricing.input_per_million
            );
            assert!(pricing.cache_read_per_million <= pricing.input_per_million, "{}", model.id);
            if let Some(long) = pricing.long_prompt {
                assert!(long.input_per_million > pricing.input_per_million, "{}", model.id);
                assert!(long.above_tokens < model.context_window.expect("a context window"), "{}", model.id);
            }
            assert!(model.max_output_tokens <= model.context_window, "{}", model.id);
        }
        let count = |provider: &str| catalog.iter().filter(|model| model.provider == provider).count();
        assert!(count("anthropic") >= 13 && count("openai") >= 18 && count("gemini") >= 11);
        assert_eq!(catalog.find("demo").map(|model| model.id.as_str()), Some("demo-1"));
    }

    #[test]
    fn a_catalog_of_ones_own_is_checked() {
        let read = |models: serde_json::Value| {
            let catalog = serde_json::json!({"version": "2026-11-26", "currency": "USD", "models": models});
            Catalog::parse(&catalog.to_string()).map(|catalog| catalog.flaws())
        };
        let priced = |id: &str| {
            serde_json::json!({"id": id, "provider": "p", "display_name": id,
                "pricing": {"input_per_million": 1, "output_per_million": 2,
                    "cache_read_per_million": 0.1, "cache_write_per_million": 1}})
        };
        assert_eq!(read(serde_json::json!([priced("a"), priced("b")])).expect("it fits"), [] as [&str; 0]);
        let twice = read(serde_json::json!([priced("a"), priced("a")])).expect("it fits");
        assert!(twice.len() == 1 && twice[0].contains("`a` appears twice"), "{twice:?}");
        let free = read(serde_json::json!([{"id": "a", "provider": "p", "display_name": "A"}])).expect("it fits");
        assert!(free.len() == 1 && free[0].contains("no pricing"), "{free:?}");
        let mut negative = priced("a");
        negative["pricing"]["input_per_million"] = serde_json::json!(-1);
        assert!(read(serde_json::json!([negative])).expect_err("it does not fit").to_string().contains("zero or more"));
    }
}
