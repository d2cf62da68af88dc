//! Models and their prices.
//!
//! The built-in catalog is data, `data/catalog.json`, with a version of its own. Operators override it model by model in
//! their configuration, so a price change never waits for a release of ours.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::Microdollars;

use crate::Usage;

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

/// Prices in US dollars per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pricing {
    /// Input tokens at the full price.
    pub input_per_million: f64,
    /// Output tokens.
    pub output_per_million: f64,
    /// Input tokens read from the prompt cache.
    pub cache_read_per_million: f64,
    /// Input tokens written to the prompt cache.
    pub cache_write_per_million: f64,
    /// Other prices for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPromptPricing>,
}

/// Prices of a whole request whose prompt, cached tokens included, is longer than a threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPromptPricing {
    /// The longest prompt, in tokens, that is still charged at the usual prices.
    pub above_tokens: u64,
    /// Input tokens at the full price.
    pub input_per_million: f64,
    /// Output tokens.
    pub output_per_million: f64,
    /// Input tokens read from the prompt cache.
    pub cache_read_per_million: f64,
    /// Input tokens written to the prompt cache.
    pub cache_write_per_million: f64,
}

impl Pricing {
    /// What these tokens cost, rounded once, half up. A count the provider did not state costs nothing.
    pub fn cost(&self, usage: &Usage) -> Microdollars {
        let [input, output, cache_read, cache_write] = match self.long_prompt {
            Some(long) if usage.prompt_tokens() > long.above_tokens => [
                long.input_per_million,
                long.output_per_million,
                long.cache_read_per_million,
                long.cache_write_per_million,
            ],
            _ => [
                self.input_per_million,
                self.output_per_million,
                self.cache_read_per_million,
                self.cache_write_per_million,
            ],
        };
        // A price in dollars per million tokens is one in microdollars per token. Taken a million times it is a whole
        // number, so the sum is exact whatever the counts are.
        let millionths: i128 = [
            (usage.input_tokens, input),
            (usage.output_tokens, output),
            (usage.cache_read_tokens, cache_read),
            (usage.cache_creation_tokens, cache_write),
        ]
        .into_iter()
        .map(|(tokens, price)| {
            let price = Microdollars::from_dollars(price).unwrap_or(Microdollars::ZERO);
            i128::from(tokens.unwrap_or(0)).saturating_mul(i128::from(price.0))
        })
        .fold(0, i128::saturating_add);
        let rounded = millionths.saturating_add(500_000) / 1_000_000;
        Microdollars(i64::try_from(rounded).unwrap_or(i64::MAX))
    }

    /// The first price that is not a finite number of dollars, zero or more, by the name of its field.
    pub fn invalid_field(&self) -> Option<&'static str> {
        let invalid = |price: f64| Microdollars::from_dollars(price).is_err();
        let of_long = |price: fn(&LongPromptPricing) -> f64| self.long_prompt.as_ref().map_or(0.0, price);
        [
            ("input_per_million", self.input_per_million),
            ("output_per_million", self.output_per_million),
            ("cache_read_per_million", self.cache_read_per_million),
            ("cache_write_per_million", self.cache_write_per_million),
            ("long_prompt.input_per_million", of_long(|long| long.input_per_million)),
            ("long_prompt.output_per_million", of_long(|long| long.output_per_million)),
            ("long_prompt.cache_read_per_million", of_long(|long| long.cache_read_per_million)),
            ("long_prompt.cache_write_per_million", of_long(|long| long.cache_write_per_million)),
        ]
        .into_iter()
        .find_map(|(field, price)| invalid(price).then_some(field))
    }
}

/// The built-in catalog: models of Anthropic, OpenAI and Google, and the offline `demo` model, whose small price is
/// made up so that costs can be seen without spending anything.
pub fn default_catalog() -> Catalog {
    Catalog::parse(include_str!("../data/catalog.json")).expect("a test reads the built-in catalog")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_built_in_catalog_is_sound() {
        let catalog = default_catalog();
        assert_eq!(catalog.currency, "USD");
        let mut names = HashSet::new();
        for model in &catalog {
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                assert!(names.insert(name.clone()), "`{name}` appears twice");
            }
            let pricing = model.pricing.expect("every model has a price");
            assert_eq!(pricing.invalid_field(), None, "{}", model.id);
            assert!(pricing.input_per_million > 0.0 && pricing.output_per_million > pricing.input_per_million);
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
    fn cost_is_exact_and_rounded_once() {
        let usage = |input, output, read, write| Usage {
            input_tokens: Some(input),
            output_tokens: Some(output),
            cache_read_tokens: Some(read),
            cache_creation_tokens: Some(write),
        };
        let prices = |input, output, read, write| Pricing {
            input_per_million: input,
            output_per_million: output,
            cache_read_per_million: read,
            cache_write_per_million: write,
            long_prompt: None,
        };
        let sonnet = prices(3.0, 15.0, 0.3, 3.75);
        for (pricing, usage, cost) in [
            (sonnet, usage(1000, 500, 0, 0), 10_500),
            (sonnet, usage(1, 0, 1, 1), 7),                     // 3 + 0.3 + 3.75 = 7.05
            (sonnet, usage(0, 0, 5, 0), 2),                     // 1.5 rounds up
            (prices(0.1, 0.0, 0.0, 0.0), usage(4, 0, 0, 0), 0), // 0.4
            (prices(0.1, 0.1, 0.1, 0.1), usage(1, 1, 1, 2), 1), // five times 0.1, not five roundings
            (prices(0.1, 0.0, 0.0, 0.0), usage(3_000_000_000, 0, 0, 0), 300_000_000),
            (sonnet, Usage::default(), 0),
            (prices(f64::NAN, -1.0, f64::INFINITY, 0.0), usage(9, 9, 9, 9), 0),
            (prices(1e6, 0.0, 0.0, 0.0), usage(u64::MAX, 0, 0, 0), i64::MAX),
        ] {
            assert_eq!(pricing.cost(&usage), Microdollars(cost), "{pricing:?} {usage:?}");
        }
    }

    #[test]
    fn a_long_prompt_has_its_own_price_and_cached_tokens_make_it_long() {
        let haiku = default_catalog().find("claude-haiku-5-5").and_then(|model| model.pricing).expect("a price");
        let usage = |cached| Usage {
            input_tokens: Some(1_000),
            output_tokens: Some(1_000),
            cache_read_tokens: Some(cached),
            cache_creation_tokens: None,
        };
        assert_eq!(haiku.cost(&usage(99_000)), Microdollars(100 + 500 + 990));
        assert_eq!(haiku.cost(&usage(99_001)), Microdollars(500 + 2_500 + 4_950));
    }
}
