//! What a request costs.
//!
//! Prices are whole millionths of a dollar, for a million or a thousand of something or for one. A count times a price times
//! a factor is a whole number of 10⁻¹⁸ dollars, and so is their sum: nothing is rounded until the end, where it is rounded
//! once to the millionth of a dollar, half up. No floating point is involved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::Microdollars;

use super::decimal::Decimal;
use crate::Usage;

/// Prices in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pricing {
    /// A million input tokens at the full price.
    pub input_per_million: Decimal,
    /// A million output tokens.
    pub output_per_million: Decimal,
    /// A million input tokens read from the prompt cache.
    pub cache_read_per_million: Decimal,
    /// A million input tokens written to the prompt cache.
    pub cache_write_per_million: Decimal,
    /// A million input tokens written to the prompt cache for an hour; 1.6 times the usual price of writing unless given, as
    /// at Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<Decimal>,
    /// A million output tokens of reasoning; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_million: Option<Decimal>,
    /// A million input tokens of sound; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input_per_million: Option<Decimal>,
    /// A million output tokens of sound; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output_per_million: Option<Decimal>,
    /// A million input tokens of images; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_input_per_million: Option<Decimal>,
    /// A million output tokens of images; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_output_per_million: Option<Decimal>,
    /// One image that was made, besides its tokens.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub per_image: Decimal,
    /// One request, besides everything else.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub per_request: Decimal,
    /// A thousand searches of the web that the provider makes by itself.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub web_search_per_thousand: Decimal,
    /// Whether a request that searched the web pays for one search, however many it made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web_search_once: bool,
    /// A thousand searches in files that the provider keeps.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub file_search_per_thousand: Decimal,
    /// A thousand runs of code at the provider.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub code_execution_per_thousand: Decimal,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTiers {
    /// `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Decimal>,
    /// `flex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flex: Option<Decimal>,
    /// `priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Decimal>,
}

impl ServiceTiers {
    fn factor(&self, tier: &str) -> Decimal {
        match tier {
            "batch" => self.batch,
            "flex" => self.flex,
            "priority" => self.priority,
            _ => None,
        }
        .unwrap_or(Decimal::ONE)
    }
}

/// Prices of a whole request whose prompt, cached tokens included, is longer than a threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPromptPricing {
    /// The longest prompt, in tokens, that is still charged at the usual prices.
    pub above_tokens: u64,
    /// A million input tokens at the full price.
    pub input_per_million: Decimal,
    /// A million output tokens.
    pub output_per_million: Decimal,
    /// A million input tokens read from the prompt cache.
    pub cache_read_per_million: Decimal,
    /// A million input tokens written to the prompt cache.
    pub cache_write_per_million: Decimal,
    /// A million input tokens written to the prompt cache for an hour; 1.6 times the price of writing unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<Decimal>,
}

impl Decimal {
    /// For serde.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// What a price is for.
#[derive(Clone, Copy)]
enum Per {
    Million,
    Thousand,
    One,
}

impl Pricing {
    /// What a request in this class of service costs, rounded once, half up. A count the provider did not state costs
    /// nothing, and a request that used nothing is free.
    pub fn cost(&self, usage: &Usage, service_tier: Option<&str>) -> Microdollars {
        if *usage == Usage::default() {
            return Microdollars::ZERO;
        }
        let factor = match (service_tier, &self.service_tiers) {
            (Some(tier), Some(tiers)) => tiers.factor(tier),
            _ => Decimal::ONE,
        };
        let long = self.long_prompt.filter(|long| usage.prompt_tokens() > long.above_tokens);
        let [input, output, cache_read, cache_write, cache_write_1h] = match long {
            Some(long) => [
                long.input_per_million,
                long.output_per_million,
                long.cache_read_per_million,
                long.cache_write_per_million,
                long.cache_write_1h_per_million.unwrap_or_else(|| long.cache_write_per_million.times_1_6()),
            ],
            None => [
                self.input_per_million,
                self.output_per_million,
                self.cache_read_per_million,
                self.cache_write_per_million,
                self.cache_write_1h_per_million.unwrap_or_else(|| self.cache_write_per_million.times_1_6()),
            ],
        };
        let count = |count: Option<u64>| count.unwrap_or(0);
        // What is a part of a kind is taken out of it, and no more than there is of it.
        let (mut text_in, mut text_out) = (count(usage.input_tokens), count(usage.output_tokens));
        let part = |whole: &mut u64, part: Option<u64>| {
            let part = count(part).min(*whole);
            *whole -= part;
            part
        };
        let (audio_in, image_in) =
            (part(&mut text_in, usage.audio_input_tokens), part(&mut text_in, usage.image_input_tokens));
        let (audio_out, image_out) =
            (part(&mut text_out, usage.audio_output_tokens), part(&mut text_out, usage.image_output_tokens));
        let reasoning = part(&mut text_out, usage.reasoning_tokens);
        let mut written = count(usage.cache_creation_tokens);
        let written_1h = part(&mut written, usage.cache_creation_1h_tokens);
        let searches = match count(usage.web_searches) {
            searches if self.web_search_once => searches.min(1),
            searches => searches,
        };
        let sum = [
            (text_in, input, Per::Million, factor),
            (audio_in, self.audio_input_per_million.unwrap_or(input), Per::Million, factor),
            (image_in, self.image_input_per_million.unwrap_or(input), Per::Million, factor),
            (text_out, output, Per::Million, factor),
            (reasoning, self.reasoning_per_million.unwrap_or(output), Per::Million, factor),
            (audio_out, self.audio_output_per_million.unwrap_or(output), Per::Million, factor),
            (image_out, self.image_output_per_million.unwrap_or(output), Per::Million, factor),
            (count(usage.cache_read_tokens), cache_read, Per::Million, factor),
            (written, cache_write, Per::Million, factor),
            (written_1h, cache_write_1h, Per::Million, factor),
            // Tools and requests cost the same in every class.
            (searches, self.web_search_per_thousand, Per::Thousand, Decimal::ONE),
            (count(usage.file_searches), self.file_search_per_thousand, Per::Thousand, Decimal::ONE),
            (count(usage.code_executions), self.code_execution_per_thousand, Per::Thousand, Decimal::ONE),
            (count(usage.images), self.per_image, Per::One, Decimal::ONE),
            (1, self.per_request, Per::One, Decimal::ONE),
        ]
        .into_iter()
        // Most of it is nothing, and multiplying that takes as long as anything.
        .filter(|(count, ..)| *count > 0)
        .map(|(count, price, per, factor)| exactly(count, price, per, factor))
        .fold(0_u128, u128::saturating_add);
        let rounded = sum.saturating_add(ATTODOLLARS / 2) / ATTODOLLARS;
        Microdollars(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

/// Units of the sum in a millionth of a dollar.
const ATTODOLLARS: u128 = 1_000_000_000_000;

/// In 10⁻¹⁸ dollars.
fn exactly(count: u64, price: Decimal, per: Per, factor: Decimal) -> u128 {
    let scale = match per {
        Per::Million => 1,
        Per::Thousand => 1_000,
        Per::One => 1_000_000,
    };
    u128::from(count)
        .saturating_mul(u128::from(price.in_millionths()))
        .saturating_mul(scale)
        .saturating_mul(u128::from(factor.in_millionths()))
}

#[cfg(test)]
mod tests {
    use super::super::default_catalog;
    use super::*;

    fn dollars(number: f64) -> Decimal {
        serde_json::from_value(serde_json::json!(number)).expect("a price")
    }

    fn prices(input: f64, output: f64, read: f64, write: f64) -> Pricing {
        Pricing {
            input_per_million: dollars(input),
            output_per_million: dollars(output),
            cache_read_per_million: dollars(read),
            cache_write_per_million: dollars(write),
            ..Pricing::default()
        }
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
        let sonnet = prices(3.0, 15.0, 0.3, 3.75);
        for (pricing, usage, cost) in [
            (sonnet, usage(1000, 500, 0, 0), 10_500),
            (sonnet, usage(1, 0, 1, 1), 7),                     // 3 + 0.3 + 3.75 = 7.05
            (sonnet, usage(0, 0, 5, 0), 2),                     // 1.5 rounds up
            (prices(0.1, 0.0, 0.0, 0.0), usage(4, 0, 0, 0), 0), // 0.4
            (prices(0.1, 0.1, 0.1, 0.1), usage(1, 1, 1, 2), 1), // five times 0.1, not five roundings
            (prices(0.1, 0.0, 0.0, 0.0), usage(3_000_000_000, 0, 0, 0), 300_000_000),
            (sonnet, Usage::default(), 0),
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
            web_search_per_thousand: dollars(10.0),
            service_tiers: Some(ServiceTiers { batch: Some(dollars(0.5)), flex: None, priority: Some(dollars(2.0)) }),
            ..prices(3.0, 15.0, 0.3, 3.75)
        };
        let written = Usage {
            cache_creation_tokens: Some(1_000_000),
            cache_creation_1h_tokens: Some(600_000),
            ..Usage::default()
        };
        assert_eq!(sonnet.cost(&written, None), Microdollars(400_000 * 15 / 4 + 600_000 * 6));
        let dearer = Pricing { cache_write_1h_per_million: Some(dollars(7.0)), ..sonnet };
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
        let once = Pricing { web_search_once: true, ..sonnet };
        assert_eq!(once.cost(&searched, None), Microdollars(300 + 10_000));
        let wrong = Usage { cache_creation_tokens: Some(1), cache_creation_1h_tokens: Some(5), ..Usage::default() };
        assert_eq!(sonnet.cost(&wrong, None), Microdollars(6), "no more than was written");
    }

    #[test]
    fn sound_images_reasoning_tools_and_requests_have_prices_of_their_own() {
        let base = prices(1.0, 10.0, 0.1, 1.0);
        let usage = Usage {
            input_tokens: Some(1000),
            output_tokens: Some(1000),
            audio_input_tokens: Some(100),
            image_input_tokens: Some(200),
            audio_output_tokens: Some(300),
            image_output_tokens: Some(50),
            reasoning_tokens: Some(400),
            web_searches: Some(1),
            file_searches: Some(2),
            code_executions: Some(3),
            images: Some(2),
            ..Usage::default()
        };
        assert_eq!(base.cost(&usage, None), Microdollars(1000 + 10_000), "as text, unless they have prices");
        let own = Pricing {
            audio_input_per_million: Some(dollars(40.0)),
            image_input_per_million: Some(dollars(5.0)),
            audio_output_per_million: Some(dollars(80.0)),
            image_output_per_million: Some(dollars(30.0)),
            reasoning_per_million: Some(dollars(3.0)),
            web_search_per_thousand: dollars(10.0),
            file_search_per_thousand: dollars(2.5),
            code_execution_per_thousand: dollars(30.0),
            per_image: dollars(0.039),
            per_request: dollars(0.000_005),
            ..base
        };
        let tokens = 700 + 100 * 40 + 200 * 5 + 250 * 10 + 300 * 80 + 50 * 30 + 400 * 3;
        assert_eq!(own.cost(&usage, None), Microdollars(tokens + 10_000 + 5_000 + 90_000 + 78_000 + 5));
        let more_than_there_is = Usage { audio_input_tokens: Some(9000), ..usage };
        let tokens = 1000 * 40 + 250 * 10 + 300 * 80 + 50 * 30 + 400 * 3;
        assert_eq!(own.cost(&more_than_there_is, None), Microdollars(tokens + 10_000 + 5_000 + 90_000 + 78_000 + 5));
        assert_eq!(own.cost(&Usage::default(), None), Microdollars::ZERO, "what never reached the provider is free");
    }
}
