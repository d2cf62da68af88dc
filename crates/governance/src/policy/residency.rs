//! `residency`: requests for models go to providers of some regions only.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Exclusion, Place, Policy, PolicyInput, Verdict, Violation};
use systemprompt_model::pattern::Pattern;

use crate::config::ResidencyConfig;

/// Most places that a sentence names.
const NAMED: usize = 4;

/// The policy.
pub(crate) struct Residency {
    regions: Vec<Pattern>,
    routes: Vec<Pattern>,
}

impl Residency {
    /// What records call it.
    pub(crate) const ID: &'static str = "residency";

    pub(crate) fn new(config: &ResidencyConfig) -> Self {
        // What is no pattern was told as a flaw: it lets nothing through.
        let patterns = |names: &[String]| names.iter().filter_map(|name| Pattern::ignoring_case(name).ok()).collect();
        Self { regions: patterns(&config.regions), routes: patterns(&config.routes) }
    }

    /// Whether a place in this region may not get what comes along this route. One that does not say where it is may not.
    pub(crate) fn leaves_out(&self, route: &str, region: Option<&str>) -> bool {
        self.is_about(route) && !region.is_some_and(|region| self.regions.iter().any(|allowed| allowed.fits(region)))
    }

    fn is_about(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|pattern| pattern.fits(route))
    }
}

#[async_trait]
impl Policy for Residency {
    fn id(&self) -> &'static str {
        Self::ID
    }

    /// It says so of all the places a request may go to.
    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.model.is_none() {
            return Verdict::Skip("no model is asked".into());
        }
        let route = &input.resource.id;
        if !self.is_about(route) {
            return Verdict::Skip("it is not about this route".into());
        }
        let outside: Vec<&Place<'_>> =
            input.places.iter().filter(|place| self.leaves_out(route, place.region)).collect();
        if outside.is_empty() {
            return Verdict::Pass;
        }
        let regions: Vec<String> = self.regions.iter().map(|region| format!("`{}`", region.as_str())).collect();
        let reason = format!("requests may go to {} only: {}", regions.join(", "), named(&outside));
        let violation = Violation::new(DenialKind::NotExposed, "residency_not_met", reason).with_advice(
            "Use a model of a provider in one of these regions; an administrator sets them in the policy `residency` of \
             services/governance/config.yaml, and where a provider is in `providers[].data_region` of the profile",
        );
        Verdict::LeaveOut(Exclusion {
            places: outside.into_iter().map(|place| place.name.to_owned()).collect(),
            violation,
        })
    }
}

fn named(places: &[&Place<'_>]) -> String {
    let said = |place: &&Place<'_>| match place.region {
        Some(region) => format!("`{}` is in `{region}`", place.name),
        None => format!("`{}` does not say where it is", place.name),
    };
    let more = places.len().saturating_sub(NAMED);
    let first: Vec<String> = places.iter().take(NAMED).map(said).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more are") };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(regions: &[&str], routes: &[&str]) -> Residency {
        let patterns = |names: &[&str]| names.iter().map(|name| Pattern::ignoring_case(name).expect("one")).collect();
        Residency { regions: patterns(regions), routes: patterns(routes) }
    }

    #[test]
    fn a_place_is_left_out_unless_it_says_that_it_is_where_it_may_be() {
        let europe = policy(&["eu", "eu-*", "europe-west?"], &[]);
        for (region, is_out) in [
            (Some("eu"), false),
            (Some("EU-central-1"), false),
            (Some("europe-west4"), false),
            (Some("europe-west12"), true),
            (Some("us-east-1"), true),
            (Some("neu"), true),
            (None, true),
        ] {
            assert_eq!(europe.leaves_out("any", region), is_out, "{region:?}");
        }
        let of_one = policy(&["eu"], &["patients-*"]);
        assert!(of_one.leaves_out("patients-1", Some("us")) && !of_one.leaves_out("other", Some("us")));
    }

    #[test]
    fn a_sentence_names_a_few_places() {
        let place = |name, region| Place { name, region };
        let places = [place("a/m", Some("us")), place("b/m", None)];
        let all: Vec<_> = places.iter().collect();
        assert_eq!(named(&all), "`a/m` is in `us`, `b/m` does not say where it is");
        let many = [place("a/m", Some("us")); 6];
        assert!(named(&many.iter().collect::<Vec<_>>()).ends_with(" and 2 more are"));
    }
}
