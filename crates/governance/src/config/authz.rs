//! Who is asked beside the access rules: the key `governance.authz` of the profile.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::KnownNames;

use super::flaw::Flaw;

/// What has to be acknowledged by whoever switches authorization off.
pub const ACKNOWLEDGEMENT: &str = "I understand this disables all authorization";

/// Who is asked beside the access rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthzProfile {
    /// Who decides with the access rules, or instead of them. Without it they alone decide, and what none of them allows is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<AuthzHookConfig>,
}

/// Who decides with the access rules, or instead of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthzHookConfig {
    /// Who.
    pub mode: AuthzMode,
    /// The address of the webhook; `https`, or `http` on this machine or a host of SYSTEMPROMPT_TRUSTED_HTTP_HOSTS. A name
    /// that leads to a private address is not connected to unless it is one of those, and redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How long the webhook, or an authorizer of an extension, may take. Without an answer in this time the action is
    /// refused.
    #[serde(default = "patience")]
    #[schemars(range(min = 1, max = 30_000))]
    pub timeout_ms: u64,
    /// The name of the secret that requests to the webhook are signed with, as Standard Webhooks says: any text, or `whsec_`
    /// and Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The name of a secret that is sent to the webhook as `authorization`, as it is: `Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// For `unrestricted`: the sentence "I understand this disables all authorization".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<String>,
}

/// Who decides with the access rules, or instead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthzMode {
    /// A webhook, after the access rules: both must allow.
    Webhook,
    /// The authorizers of extensions, after the access rules: all must allow.
    Extension,
    /// Nobody: everything that access rules are about is refused.
    Disabled,
    /// Nobody: everything that access rules are about is allowed. Needs the acknowledgement.
    Unrestricted,
}

impl AuthzMode {
    /// The name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Extension => "extension",
            Self::Disabled => "disabled",
            Self::Unrestricted => "unrestricted",
        }
    }
}

fn patience() -> u64 {
    500
}

impl AuthzHookConfig {
    /// How long an authorizer may take.
    pub const fn limit(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Everything that is wrong with it although it fits its schema. Pointers are relative to `authz.hook`.
pub(crate) fn flaws(hook: &AuthzHookConfig, has_secret: impl Fn(&str) -> bool) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let is_webhook = hook.mode == AuthzMode::Webhook;
    if is_webhook && hook.url.is_none() {
        flaws.push(Flaw::new("", "mode `webhook` needs `url`, the address that is asked"));
    }
    let only_webhooks = [("url", &hook.url), ("secret", &hook.secret), ("authorization", &hook.authorization)];
    for (key, _) in only_webhooks.into_iter().filter(|(_, value)| value.is_some() && !is_webhook) {
        let message = format!("is for mode `webhook`; with mode `{}` leave it out", hook.mode.as_str());
        flaws.push(Flaw::new(format!("/{key}"), message));
    }
    for (key, name) in [("secret", &hook.secret), ("authorization", &hook.authorization)] {
        if let Some(name) = name.as_deref().filter(|name| is_webhook && !has_secret(name)) {
            let message = format!("there is no secret `{name}`; add it to the profile's secrets");
            flaws.push(Flaw::new(format!("/{key}"), message));
        }
    }
    let acknowledged = hook.acknowledgement.as_deref() == Some(ACKNOWLEDGEMENT);
    match hook.mode {
        AuthzMode::Unrestricted if !acknowledged => {
            let at = if hook.acknowledgement.is_some() { "/acknowledgement" } else { "" };
            let message = format!("mode `unrestricted` needs `acknowledgement: \"{ACKNOWLEDGEMENT}\"`, word for word");
            flaws.push(Flaw::new(at, message));
        }
        AuthzMode::Unrestricted => {}
        mode if hook.acknowledgement.is_some() => {
            let message = format!("is for mode `unrestricted`; with mode `{}` leave it out", mode.as_str());
            flaws.push(Flaw::new("/acknowledgement", message));
        }
        _ => {}
    }
    flaws
}

/// What is allowed and deserves a warning.
pub(crate) fn doubtful(hook: &AuthzHookConfig) -> Option<Flaw> {
    let message = match hook.mode {
        AuthzMode::Webhook if hook.secret.is_none() && hook.authorization.is_none() => {
            "the webhook cannot know who asks; name a secret under `secret`, which requests are then signed with"
        }
        AuthzMode::Disabled => "everything that access rules are about is refused, whatever the rules say",
        AuthzMode::Unrestricted => "everybody with a credential may use everything; access rules do not count",
        AuthzMode::Webhook | AuthzMode::Extension => return None,
    };
    Some(Flaw::new("", message))
}

/// What is wrong with it in an installation with these extensions: an error, and what deserves a warning. Pointers are
/// relative to `authz`.
pub(crate) fn unfit(hook: Option<&AuthzHookConfig>, known: &KnownNames) -> (Option<Flaw>, Option<Flaw>) {
    let names: Vec<String> = known.authorizers.iter().map(|name| format!("`{name}`")).collect();
    let mode = hook.map(|hook| hook.mode);
    let nobody = (mode == Some(AuthzMode::Extension) && names.is_empty()).then(|| {
        Flaw::new(
            "/hook/mode",
            "no extension of this installation brings an authorizer, so everything would be refused",
        )
    });
    let unasked = (mode != Some(AuthzMode::Extension) && !names.is_empty()).then(|| {
        let names = names.join(", ");
        Flaw::new("", format!("{names} is not asked; `governance.authz.hook.mode: extension` has it asked"))
    });
    (nobody, unasked)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_does_not_fit_together_is_told_with_its_place() {
        let with = |value: Value| {
            let hook: AuthzHookConfig = serde_json::from_value(value).expect("fits the schema");
            let flaws = flaws(&hook, |name| name == "there");
            flaws.into_iter().map(|flaw| format!("{}: {}", flaw.pointer, flaw.message)).collect::<Vec<_>>().join("\n")
        };
        let url = "https://authz.example.com/check";
        for (hook, expected) in [
            (json!({"mode": "disabled"}), ""),
            (json!({"mode": "extension", "timeout_ms": 50}), ""),
            (json!({"mode": "webhook", "url": url, "secret": "there"}), ""),
            (json!({"mode": "unrestricted", "acknowledgement": ACKNOWLEDGEMENT}), ""),
            (json!({"mode": "webhook", "secret": "there"}), ": mode `webhook` needs `url`"),
            (json!({"mode": "webhook", "url": url}), ""),
            (json!({"mode": "webhook", "url": url, "secret": "gone"}), "/secret: there is no secret `gone`"),
            (json!({"mode": "webhook", "url": url, "authorization": "gone"}), "/authorization: there is no secret"),
            (json!({"mode": "extension", "url": url}), "/url: is for mode `webhook`"),
            (json!({"mode": "unrestricted"}), ": mode `unrestricted` needs `acknowledgement: \"I understand"),
            (
                json!({"mode": "unrestricted", "acknowledgement": "i understand this disables all authorization"}),
                "/acknowledgement: mode `unrestricted` needs",
            ),
            (json!({"mode": "disabled", "acknowledgement": ACKNOWLEDGEMENT}), "/acknowledgement: is for mode"),
        ] {
            let told = with(hook.clone());
            assert!(if expected.is_empty() { told.is_empty() } else { told.starts_with(expected) }, "{hook}\n{told}");
        }
    }
}
