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
    /// Input tokens written to the prompt cache for an hour; 1.6 times the usual price of writing unless given, as at
    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<f64>,
    /// A thousand searches of the web that the provider makes by itself, in US dollars.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub web_search_per_thousand: f64,
    /// Other prices for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPromptPricing>,
    /// What other classes of service cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tiers: Option<ServiceTiers>,
}

/// What the tokens of a request cost that the provider gave another class of service than the usual one, as a factor of
/// the usual price: 0.5 is half of it. The provider's answer says which class it was; one that is not listed costs as
/// usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTiers {
    /// `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<f64>,
    /// `flex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flex: Option<f64>,
    /// `priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
}

impl ServiceTiers {
    fn factor(&self, tier: &str) -> f64 {
        match tier {
            "batch" => self.batch,
            "flex" => self.flex,
            "priority" => self.priority,
            _ => None,
        }
        .unwrap_or(1.0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(price: &f64) -> bool {
    *price == 0.0
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
    /// Input tokens written to the prompt cache for an hour; 1.6 times the price of writing unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<f64>,
}

/// What writing to the cache for an hour costs where no price is given, as a factor of writing.
const ONE_HOUR: f64 = 1.6;

impl Pricing {
    /// What a request in this class of service costs, rounded once, half up. A count the provider did not state costs
    /// nothing.
    pub fn cost(&self, usage: &Usage, service_tier: Option<&str>) -> Microdollars {
        let [input, output, cache_read, cache_write, cache_write_1h] = match self.long_prompt {
            Some(long) if usage.prompt_tokens() > long.above_tokens => [
                long.input_per_million,
                long.output_per_million,
                long.cache_read_per_million,
                long.cache_write_per_million,
                long.cache_write_1h_per_million.unwrap_or(long.cache_write_per_million * ONE_HOUR),
            ],
            _ => [
                self.input_per_million,
                self.output_per_million,
                self.cache_read_per_million,
                self.cache_write_per_million,
                self.cache_write_1h_per_million.unwrap_or(self.cache_write_per_million * ONE_HOUR),
            ],
        };
        let factor = match (service_tier, &self.service_tiers) {
            (Some(tier), Some(tiers)) => tiers.factor(tier),
            _ => 1.0,
        };
        let written = usage.cache_creation_tokens.unwrap_or(0);
        let written_1h = usage.cache_creation_1h_tokens.unwrap_or(0).min(written);
        // A price in dollars per million tokens is one in microdollars per token. Taken a million times it is a whole
        // number, so the sum is exact whatever the counts are.
        let millionths: i128 = [
            (usage.input_tokens.unwrap_or(0), input * factor),
            (usage.output_tokens.unwrap_or(0), output * factor),
            (usage.cache_read_tokens.unwrap_or(0), cache_read * factor),
            (written - written_1h, cache_write * factor),
            (written_1h, cache_write_1h * factor),
            // Dollars for a thousand are thousandfold for a million.
            (usage.web_searches.unwrap_or(0), self.web_search_per_thousand * 1000.0),
        ]
        .into_iter()
        .map(|(count, price)| {
            let price = Microdollars::from_dollars(price).unwrap_or(Microdollars::ZERO);
            i128::from(count).saturating_mul(i128::from(price.0))
        })
        .fold(0, i128::saturating_add);
        let rounded = millionths.saturating_add(500_000) / 1_000_000;
        Microdollars(i64::try_from(rounded).unwrap_or(i64::MAX))
    }

    /// The first price that is not a finite number of dollars, zero or more, by the name of its field.
    pub fn invalid_field(&self) -> Option<&'static str> {
        let invalid = |price: f64| Microdollars::from_dollars(price).is_err();
        let of_long = |price: fn(&LongPromptPricing) -> f64| self.long_prompt.as_ref().map_or(0.0, price);
        let of_tier = |factor: fn(&ServiceTiers) -> Option<f64>| self.service_tiers.as_ref().and_then(factor);
        [
            ("input_per_million", self.input_per_million),
            ("output_per_million", self.output_per_million),
            ("cache_read_per_million", self.cache_read_per_million),
            ("cache_write_per_million", self.cache_write_per_million),
            ("cache_write_1h_per_million", self.cache_write_1h_per_million.unwrap_or(0.0)),
            ("web_search_per_thousand", self.web_search_per_thousand),
            ("service_tiers.batch", of_tier(|tiers| tiers.batch).unwrap_or(0.0)),
            ("service_tiers.flex", of_tier(|tiers| tiers.flex).unwrap_or(0.0)),
            ("service_tiers.priority", of_tier(|tiers| tiers.priority).unwrap_or(0.0)),
            ("long_prompt.input_per_million", of_long(|long| long.input_per_million)),
            ("long_prompt.output_per_million", of_long(|long| long.output_per_million)),
            ("long_prompt.cache_read_per_million", of_long(|long| long.cache_read_per_million)),
            ("long_prompt.cache_write_per_million", of_long(|long| long.cache_write_per_million)),
            ("long_prompt.cache_write_1h_per_million", of_long(|long| long.cache_write_1h_per_million.unwrap_or(0.0))),
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
            ..Usage::default()
        };
        let prices = |input, output, read, write| Pricing {
            input_per_million: input,
            output_per_million: output,
            cache_read_per_million: read,
            cache_write_per_million: write,
            ..Pricing::default()
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
            assert_eq!(pricing.cost(&usage, None), Microdollars(cost), "{pricing:?} {usage:?}");
        }
    }

    #[test]
    fn a_long_prompt_has_its_own_price_and_cached_tokens_make_it_long() {
        let haiku = default_catalog().find("claude-haiku-5-5").and_then(|model| model.pricing).expect("a price");
        let usage = |cached| Usage {
            input_tokens: Some(1_000),
            output_tokens: Some(1_000),
            cache_read_tokens: Some(cached),
            ..Usage::default()
        };
        assert_eq!(haiku.cost(&usage(99_000), None), Microdollars(100 + 500 + 990));
        assert_eq!(haiku.cost(&usage(99_001), None), Microdollars(500 + 2_500 + 4_950));
    }

    #[test]
    fn cache_lifetimes_classes_of_service_and_searches_have_prices() {
        let sonnet = Pricing {
            input_per_million: 3.0,
            output_per_million: 15.0,
            cache_read_per_million: 0.3,
            cache_write_per_million: 3.75,
            web_search_per_thousand: 10.0,
            service_tiers: Some(ServiceTiers { batch: Some(0.5), flex: None, priority: Some(2.0) }),
            ..Pricing::default()
        };
        let written = Usage {
            cache_creation_tokens: Some(1_000_000),
            cache_creation_1h_tokens: Some(600_000),
            ..Usage::default()
        };
        assert_eq!(sonnet.cost(&written, None), Microdollars(400_000 * 15 / 4 + 600_000 * 6));
        let dearer = Pricing { cache_write_1h_per_million: Some(7.0), ..sonnet };
        assert_eq!(dearer.cost(&written, Some("standard")), Microdollars(1_500_000 + 600_000 * 7));
        let searched = Usage { input_tokens: Some(100), web_searches: Some(3), ..Usage::default() };
        for (tier, cost) in [
            (None, 300 + 30_000),
            (Some("batch"), 150 + 30_000),
            (Some("flex"), 300 + 30_000),
            (Some("priority"), 600 + 30_000),
        ] {
            assert_eq!(sonnet.cost(&searched, tier), Microdollars(cost), "{tier:?}");
        }
        let wrong = Usage { cache_creation_tokens: Some(1), cache_creation_1h_tokens: Some(5), ..Usage::default() };
        assert_eq!(sonnet.cost(&wrong, None), Microdollars(6), "no more than was written");
    }
}
