//! What is not the same in two sets of limits.

use serde::Serialize;
use serde_json::Value;
use systemprompt_config::profile::RateLimits;

use crate::view::Row;

/// A value that is not the same.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    field: String,
    /// As it is written in the profile.
    old_value: String,
    new_value: String,
}

/// What is not the same in two sets of limits.
pub(super) fn differences(old: &RateLimits, new: &RateLimits) -> Vec<Difference> {
    let mut found = Vec::new();
    let (old, new) = (serde_json::to_value(old).unwrap_or_default(), serde_json::to_value(new).unwrap_or_default());
    walk("rate_limits", &old, &new, &mut found);
    found
}

fn walk(field: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                walk(&format!("{field}.{key}"), old.get(key).unwrap_or(&Value::Null), value, found);
            }
        }
        (old, new) if old != new => {
            found.push(Difference { field: field.to_owned(), old_value: old.to_string(), new_value: new.to_string() });
        }
        _ => {}
    }
}

impl Row for Difference {
    const COLUMNS: &'static [&'static str] = &["field", "#is", "#would be"];
    const NONE: &'static str = "Nothing differs.";

    fn cells(&self) -> Vec<String> {
        vec![self.field.clone(), self.old_value.clone(), self.new_value.clone()]
    }
}

#[cfg(test)]
mod tests {
    use systemprompt_config::profile::TierMultipliers;

    use super::*;

    #[test]
    fn every_value_that_differs_is_named() {
        let new = RateLimits {
            gateway_per_second: 7,
            tier_multipliers: TierMultipliers { anon: 0.0, ..TierMultipliers::default() },
            ..RateLimits::default()
        };
        let found = differences(&RateLimits::default(), &new);
        let fields: Vec<_> = found.iter().map(|each| (each.field.as_str(), each.new_value.as_str())).collect();
        assert_eq!(fields, [("rate_limits.gateway_per_second", "7"), ("rate_limits.tier_multipliers.anon", "0.0")]);
        assert!(differences(&new, &new).is_empty());
    }
}
