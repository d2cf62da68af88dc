//! `services/gateway/policies.yaml`: how much of the models' work somebody may use in which time, who is told when it comes
//! to an end, and what is looked for in prompts and answers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use systemprompt_config::Place;
use systemprompt_mail::Address;
use systemprompt_model::pattern::Pattern;

use super::flaw::Flaw;
use super::mode::{FaultMode, PolicyMode};
use super::safety::SafetyConfig;

/// The longest window in seconds: ten years.
const LONGEST_WINDOW: u64 = 10 * 366 * 86_400;

/// A policy of the gateway: how much may be used, and what is looked for. Several that are enabled hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayPolicyConfig {
    /// Its unique name, which refusals tell.
    pub name: String,
    /// Whether it is in force.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it says.
    #[serde(default)]
    pub spec: GatewayPolicySpec,
}

impl GatewayPolicyConfig {
    /// Where they are written: documents below `gateway/`, together.
    pub const PLACE: Place = Place::Service { path: "gateway/*.yaml", key: "policies" };
}

/// What a policy of the gateway says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayPolicySpec {
    /// `enforce`: a request beyond a limit is refused. `warn`: it is recorded with the decision and goes on.
    pub quota_mode: PolicyMode,
    /// What happens to a request of which nobody can say whose it is, for a window that must know: `closed` refuses it,
    /// `open` leaves that window out.
    pub quota_fault_mode: FaultMode,
    /// What is set aside of a request before it is made, and given back or added to at its end.
    pub quota_reservation: QuotaReservation,
    /// The time zone of days, weeks and months, by its name in the IANA data, e.g. `Europe/Berlin`. Default `UTC`.
    pub time_zone: TimeZone,
    /// The windows. A request counts in all that concern it, or is refused and counts in none.
    pub quota_windows: Vec<QuotaWindowConfig>,
    /// What is looked for in prompts and answers; nothing without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety: Option<SafetyConfig>,
}

/// What is set aside of a request before it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaReservation {
    /// The request alone; tokens and cost count when they are known. Many requests at once can go beyond a limit together.
    None,
    /// Its prompt, and an answer of the usual length (1,000 tokens, or fewer if it asks for fewer). Requests are admitted as
    /// long as less than the limit is used or set aside, so what one request uses beyond its estimate is all that can go
    /// beyond.
    #[default]
    Expected,
    /// Its prompt, and an answer as long as it may become. Nothing goes beyond the limit, and a request for a long answer
    /// needs room for all of it.
    Maximum,
}

/// How much may be used in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaWindowConfig {
    /// Windows of so many seconds, one after the other since 1970. Either this or `period`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// Windows of the calendar. Weeks begin on Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<CalendarPeriod>,
    /// Whose use is counted together.
    pub subject: QuotaSubject,
    /// Only requests that fit this; all if absent.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub only: Option<QuotaMatch>,
    /// The most requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u64>,
    /// The most tokens of prompts, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    /// The most tokens of answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// The most money, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_microdollars: Option<u64>,
}

/// A window of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalendarPeriod {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
}

impl CalendarPeriod {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Which requests count in a window. What is given must all fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaMatch {
    /// Models by their configured names; `*` stands for anything.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<String>,
    /// Ids of routes; `*` stands for anything.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub routes: BTreeSet<String>,
    /// Names of users.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// Roles, of which the user has one.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
}

/// Whose use is counted together: `user`, `key` (an API key), `model`, `installation` (all requests together), or an
/// attribute of users, such as `group`, `project`, `organization` or `department`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaSubject {
    /// One user, over all keys.
    User,
    /// One API key.
    Key,
    /// One model, over all users.
    Model,
    /// Everybody.
    Installation,
    /// All users with the same value of an attribute.
    Attribute(String),
}

impl QuotaSubject {
    /// The name in the configuration.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Model => "model",
            Self::Installation => "installation",
            Self::Attribute(name) => name,
        }
    }
}

impl From<String> for QuotaSubject {
    fn from(name: String) -> Self {
        match name.as_str() {
            "user" => Self::User,
            "key" => Self::Key,
            "model" => Self::Model,
            "installation" => Self::Installation,
            _ => Self::Attribute(name),
        }
    }
}

impl<'de> Deserialize<'de> for QuotaSubject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for QuotaSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for QuotaSubject {
    fn schema_name() -> Cow<'static, str> {
        "QuotaSubject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$",
            "description": "`user`, `key` (an API key), `model`, `installation` (all requests together), or an attribute of \
                            users, such as `group`, `project`, `organization` or `department`.",
        })
    }
}

/// A time zone by its name in the IANA data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(pub Tz);

impl Default for TimeZone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let zone = name.parse().map_err(|_| {
            serde::de::Error::custom(format!("`{name}` is not a time zone; write it as in `Europe/Berlin` or `UTC`"))
        })?;
        Ok(Self(zone))
    }
}

impl Serialize for TimeZone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl JsonSchema for TimeZone {
    fn schema_name() -> Cow<'static, str> {
        "TimeZone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "default": "UTC", "description": "A time zone, e.g. `Europe/Berlin`."})
    }
}

/// Who is told when limits come to their ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaAlertConfig {
    /// Its unique name, which the message carries.
    pub name: String,
    /// At which parts of a limit, in percent: each once in a window. Default 50, 80 and 100.
    #[serde(default = "usual_thresholds")]
    pub thresholds: BTreeSet<u32>,
    /// Of which policies; all unless given.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// Where the message is posted. Without it and without `mail` there is a line in the log and a metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<QuotaWebhookConfig>,
    /// Whom the message is mailed to; with a webhook or without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<QuotaMailConfig>,
}

impl QuotaAlertConfig {
    /// Where they are written: in the documents of the policies.
    pub const PLACE: Place = Place::Service { path: "gateway/*.yaml", key: "alerts" };
}

/// A place that messages are sent to, signed as Standard Webhooks are (`webhook-id`, `webhook-timestamp`,
/// `webhook-signature`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaWebhookConfig {
    /// Its address; `https`, or `http` on this machine or a host of SYSTEMPROMPT_TRUSTED_HTTP_HOSTS. A name that leads to a
    /// private address is not connected to unless it is one of those.
    pub url: String,
    /// The name of the secret that messages are signed with: any text, or `whsec_` and Base64.
    pub secret: String,
}

/// Whom messages are mailed to, by the server that the profile names under `mail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaMailConfig {
    /// Their addresses. Each gets a message of their own, so nobody sees the others.
    pub to: Vec<String>,
}

fn usual_thresholds() -> BTreeSet<u32> {
    BTreeSet::from([50, 80, 100])
}

/// Everything that is wrong with the alerts although they fit their schema. `has_secret` says which secrets there are,
/// `has_mail` whether the profile names a server for mail.
pub(crate) fn alert_flaws(
    alerts: &[QuotaAlertConfig],
    policies: &[GatewayPolicyConfig],
    has_secret: impl Fn(&str) -> bool,
    has_mail: bool,
) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, alert) in alerts.iter().enumerate() {
        let at = format!("/{index}");
        if alert.name.trim().is_empty() || alerts[..index].iter().any(|earlier| earlier.name == alert.name) {
            flaws.push(Flaw::new(format!("{at}/name"), "is empty or used twice; give each alert a name of its own"));
        }
        if alert.thresholds.is_empty() || alert.thresholds.iter().any(|percent| !(1..=1000).contains(percent)) {
            flaws.push(Flaw::new(format!("{at}/thresholds"), "must be one or more numbers between 1 and 1000 percent"));
        }
        for name in alert.policies.iter().filter(|name| policies.iter().all(|policy| policy.name != **name)) {
            flaws
                .push(Flaw::new(format!("{at}/policies"), format!("no policy of services/gateway is called `{name}`")));
        }
        if let Some(mail) = &alert.mail {
            mail.flaws(&format!("{at}/mail"), has_mail, &mut flaws);
        }
        let Some(webhook) = &alert.webhook else { continue };
        if !has_secret(&webhook.secret) {
            let message = format!("there is no secret `{}`; add it to the profile's secrets", webhook.secret);
            flaws.push(Flaw::new(format!("{at}/webhook/secret"), message));
        }
    }
    flaws
}

impl QuotaMailConfig {
    fn flaws(&self, at: &str, has_mail: bool, flaws: &mut Vec<Flaw>) {
        if !has_mail {
            let message = "the profile names no server for mail; add its section `mail`, or remove this `mail`";
            flaws.push(Flaw::new(at, message));
        }
        if self.to.is_empty() {
            flaws.push(Flaw::new(format!("{at}/to"), "is empty; add an address, or remove `mail`"));
        }
        for (index, address) in self.to.iter().enumerate() {
            let at = format!("{at}/to/{index}");
            if let Err(error) = address.parse::<Address>() {
                flaws.push(Flaw::new(at, format!("`{}`: {error}", address.escape_debug())));
            } else if self.to[..index].iter().any(|earlier| earlier.eq_ignore_ascii_case(address)) {
                flaws.push(Flaw::new(at, format!("`{address}` is there twice; remove one")));
            }
        }
    }
}

fn yes() -> bool {
    true
}

/// Everything that is wrong with the policies although they fit their schema.
pub(crate) fn flaws(policies: &[GatewayPolicyConfig]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        let at = format!("/{index}");
        if policy.name.trim().is_empty() {
            flaws.push(Flaw::new(format!("{at}/name"), "is empty; refusals tell it, so give it a name"));
        } else if policies[..index].iter().any(|earlier| earlier.name == policy.name) {
            flaws.push(Flaw::new(format!("{at}/name"), format!("`{}` is used twice; rename one", policy.name)));
        }
        for (index, window) in policy.spec.quota_windows.iter().enumerate() {
            window.flaws(&format!("{at}/spec/quota_windows/{index}"), &mut flaws);
        }
        if let Some(safety) = &policy.spec.safety {
            safety.flaws(&format!("{at}/spec/safety"), &mut flaws);
        }
    }
    flaws
}

/// Every safety scanner and category in the policies that nobody has. `brought` are the scanners of extensions, with what
/// they find.
pub(crate) fn unknown_scanners(
    policies: &[GatewayPolicyConfig],
    brought: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        if let Some(safety) = &policy.spec.safety {
            safety.unknown_names(&format!("/{index}/spec/safety"), brought, &mut flaws);
        }
    }
    flaws
}

impl QuotaWindowConfig {
    fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        match (self.window_seconds, self.period) {
            (Some(_), Some(_)) => {
                flaws.push(Flaw::new(format!("{at}/period"), "there is `window_seconds` too; remove one of them"));
            }
            (None, None) => flaws.push(Flaw::new(at, "has no length; add `window_seconds` or `period`")),
            (Some(seconds), None) if !(1..=LONGEST_WINDOW).contains(&seconds) => {
                let message = format!("must be between 1 and {LONGEST_WINDOW} seconds");
                flaws.push(Flaw::new(format!("{at}/window_seconds"), message));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        let limits = [self.max_requests, self.max_input_tokens, self.max_output_tokens, self.max_cost_microdollars];
        if limits.iter().all(Option::is_none) {
            flaws.push(Flaw::new(
                at,
                "limits nothing; add `max_requests`, `max_input_tokens`, `max_output_tokens` or `max_cost_microdollars`",
            ));
        }
        let largest = u64::try_from(i64::MAX).unwrap_or(u64::MAX) / 2;
        if limits.into_iter().flatten().any(|limit| limit > largest) {
            flaws.push(Flaw::new(at, format!("has a limit above {largest}; leave it out if there is none")));
        }
        let Some(only) = &self.only else { return };
        if *only == QuotaMatch::default() {
            flaws.push(Flaw::new(format!("{at}/match"), "is empty and fits every request; remove it"));
        }
        for (key, patterns) in [("models", &only.models), ("routes", &only.routes)] {
            for pattern in patterns {
                if let Err(error) = Pattern::new(pattern) {
                    flaws.push(Flaw::new(format!("{at}/match/{key}"), format!("`{pattern}`: {error}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value) -> Result<Vec<GatewayPolicyConfig>, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_file_is_read() {
        let policies = read(json!([{
            "name": "default-quotas",
            "enabled": true,
            "spec": {
                "quota_mode": "enforce",
                "quota_fault_mode": "closed",
                "quota_windows": [{
                    "window_seconds": 3600,
                    "subject": "user",
                    "max_requests": 100,
                    "max_input_tokens": 500_000,
                    "max_output_tokens": 200_000,
                    "max_cost_microdollars": 5_000_000,
                }, {
                    "period": "month",
                    "subject": "cost_center",
                    "match": {"models": ["claude-*"]},
                    "max_cost_microdollars": 1,
                }],
            },
        }]))
        .unwrap();
        assert_eq!(flaws(&policies), []);
        assert_eq!(policies[0].spec.quota_windows[1].subject, QuotaSubject::Attribute("cost_center".to_owned()));
        assert_eq!(policies[0].spec.quota_reservation, QuotaReservation::Expected);
        assert_eq!(read(serde_json::to_value(&policies).unwrap()).unwrap(), policies);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let window = |extra: serde_json::Value| {
            let mut window = json!({"subject": "user"});
            window.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            read(json!([{"name": "a", "spec": {"quota_windows": [window]}}])).unwrap()
        };
        for (extra, pointer, word) in [
            (json!({"max_requests": 1}), "/0/spec/quota_windows/0", "no length"),
            (json!({"period": "day"}), "/0/spec/quota_windows/0", "limits nothing"),
            (json!({"period": "day", "window_seconds": 1, "max_requests": 1}), "/0/spec/quota_windows/0/period", "too"),
            (json!({"window_seconds": 0, "max_requests": 1}), "/0/spec/quota_windows/0/window_seconds", "between"),
            (json!({"period": "day", "max_requests": u64::MAX}), "/0/spec/quota_windows/0", "above"),
            (json!({"period": "day", "max_requests": 1, "match": {}}), "/0/spec/quota_windows/0/match", "empty"),
        ] {
            let found = flaws(&window(extra.clone()));
            assert_eq!(found.len(), 1, "{extra}: {found:?}");
            assert!(found[0].pointer == pointer && found[0].message.contains(word), "{extra}: {found:?}");
        }
        let twice = read(json!([{"name": "a"}, {"name": "a"}, {"name": " "}])).unwrap();
        assert_eq!(flaws(&twice).len(), 2);
        assert!(
            read(json!([{"name": "a", "spec": {"time_zone": "Mars/Base"}}])).unwrap_err().contains("Europe/Berlin")
        );
    }

    #[test]
    fn whom_mail_cannot_go_to_is_named() {
        let found = |mail: serde_json::Value, has_mail: bool| {
            let alerts = json!([{"name": "finance", "mail": mail}]);
            let alerts: Vec<QuotaAlertConfig> = serde_json::from_value(alerts).unwrap();
            alert_flaws(&alerts, &[], |_| false, has_mail)
        };
        assert_eq!(found(json!({"to": ["ops@example.com", "cfo@example.com"]}), true), []);
        for (mail, has_mail, pointer, word) in [
            (json!({"to": []}), true, "/0/mail/to", "empty"),
            (json!({"to": ["ops"]}), true, "/0/mail/to/0", "name@host"),
            (json!({"to": ["a@example.com", "Ops <b@example.com>"]}), true, "/0/mail/to/1", "name@host"),
            (json!({"to": ["a@example.com", "A@Example.com"]}), true, "/0/mail/to/1", "twice"),
            (json!({"to": ["a@example.com"]}), false, "/0/mail", "section `mail`"),
        ] {
            let flaws = found(mail.clone(), has_mail);
            assert_eq!(flaws.len(), 1, "{mail}: {flaws:?}");
            assert!(flaws[0].pointer == pointer && flaws[0].message.contains(word), "{mail}: {flaws:?}");
        }
    }
}
