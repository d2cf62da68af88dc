//! What is counted: the windows of all enabled policies, joined where they count the same. No I/O.
//!
//! Two windows count the same when they have the same length, the same subject and the same match. They share a *meter*, and
//! what binds is the lower limit; those of policies in mode `warn` are kept apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use systemprompt_extension::policy::{Counted, PolicyInput, Usage};
use systemprompt_model::pattern::Pattern;
use systemprompt_model::{Credential, ResourceKind};

use super::window::Windows;
use crate::config::{
    FaultMode, GatewayPolicyConfig, PolicyMode, QuotaMatch, QuotaReservation, QuotaSubject, QuotaWindowConfig,
};

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Meters(Vec<Arc<Meter>>);

/// One thing that is counted.
#[derive(Debug)]
pub(crate) struct Meter {
    /// What it is called in headers and tables, unique among the meters: `user-month`.
    pub(crate) name: String,
    pub(crate) subject: QuotaSubject,
    pub(crate) windows: Windows,
    /// What it is called in the table of what was counted: the windows and the match.
    pub(crate) key: String,
    /// What a request beyond it is refused for.
    pub(crate) enforced: Limits,
    /// What a request beyond it is noted for.
    pub(crate) warned: Limits,
    pub(crate) fault: FaultMode,
    pub(crate) reservation: QuotaReservation,
    only: Only,
}

/// The most of each kind, and which policy says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    requests: Option<Limit>,
    input_tokens: Option<Limit>,
    output_tokens: Option<Limit>,
    cost: Option<Limit>,
}

/// The most of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) most: u64,
    pub(crate) policy: String,
}

/// Whose use a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
}

/// Which requests count.
#[derive(Debug)]
struct Only {
    models: Vec<Pattern>,
    routes: Vec<Pattern>,
    config: QuotaMatch,
}

impl Meters {
    pub(crate) fn new(policies: &[GatewayPolicyConfig]) -> Self {
        let mut meters: Vec<Meter> = Vec::new();
        for policy in policies.iter().filter(|policy| policy.enabled) {
            let spec = &policy.spec;
            for window in &spec.quota_windows {
                let windows = match (window.period, window.window_seconds) {
                    (Some(period), _) => Windows::of(period, spec.time_zone.0),
                    (None, seconds) => Windows::Seconds(seconds.unwrap_or(1)),
                };
                let only = window.only.clone().unwrap_or_default();
                let same = |meter: &Meter| {
                    meter.subject == window.subject && meter.windows == windows && meter.only.config == only
                };
                let at = meters.iter().position(same).unwrap_or(meters.len());
                if at == meters.len() {
                    meters.push(Meter::new(window.subject.clone(), windows, only));
                }
                let meter = &mut meters[at];
                let limits = match spec.quota_mode {
                    PolicyMode::Enforce => &mut meter.enforced,
                    PolicyMode::Warn => &mut meter.warned,
                };
                limits.tighten(window, &policy.name);
                if spec.quota_fault_mode == FaultMode::Closed && spec.quota_mode == PolicyMode::Enforce {
                    meter.fault = FaultMode::Closed;
                }
                if spec.quota_mode == PolicyMode::Enforce {
                    meter.reservation = meter.reservation.max(spec.quota_reservation);
                }
            }
        }
        for at in 1..meters.len() {
            let same = meters[..at].iter().filter(|earlier| earlier.base_name() == meters[at].base_name()).count();
            if same > 0 {
                meters[at].name = format!("{}-{}", meters[at].base_name(), same + 1);
            }
        }
        Self(meters.into_iter().map(Arc::new).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Meter>> {
        self.0.iter()
    }

    /// The meter of this subject that has this key, if it is still configured.
    pub(crate) fn find(&self, subject: &str, key: &str) -> Option<&Meter> {
        self.0.iter().map(AsRef::as_ref).find(|meter| meter.subject.as_str() == subject && meter.key == key)
    }
}

impl Meter {
    fn new(subject: QuotaSubject, windows: Windows, only: QuotaMatch) -> Self {
        let mut key = windows.name();
        for (what, names) in
            [("models", &only.models), ("routes", &only.routes), ("users", &only.users), ("roles", &only.roles)]
        {
            if !names.is_empty() {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                key.push_str(&format!(" {what}={}", names.join(",")));
            }
        }
        let patterns =
            |texts: &BTreeSet<String>| texts.iter().filter_map(|text| Pattern::new(text).ok()).collect::<Vec<_>>();
        let mut meter = Self {
            name: String::new(),
            subject,
            windows,
            key,
            enforced: Limits::default(),
            warned: Limits::default(),
            fault: FaultMode::Open,
            reservation: QuotaReservation::None,
            only: Only { models: patterns(&only.models), routes: patterns(&only.routes), config: only },
        };
        meter.name = meter.base_name();
        meter
    }

    fn base_name(&self) -> String {
        let windows = self.windows.name();
        let windows = windows.split(' ').next().unwrap_or_default();
        format!("{}-{windows}", self.subject.as_str())
    }

    /// What requests must match that count here.
    pub(crate) fn matched(&self) -> &QuotaMatch {
        &self.only.config
    }

    /// Whether a request counts here.
    pub(crate) fn concerns(&self, input: &PolicyInput<'_>) -> bool {
        let Only { models, routes, config } = &self.only;
        let principal = &input.by.principal;
        let route = match input.resource.kind {
            ResourceKind::Entity(_) => input.resource.id.as_str(),
            ResourceKind::Installation => "",
        };
        let fits = |patterns: &[Pattern], name: &str| patterns.is_empty() || patterns.iter().any(|p| p.fits(name));
        fits(models, input.model.map(|model| model.name).unwrap_or_default())
            && fits(routes, route)
            && (config.users.is_empty() || config.users.contains(&principal.user_name))
            && (config.roles.is_empty() || principal.roles.iter().any(|role| config.roles.contains(role)))
    }

    /// Whose use a request is; nobody knows of some.
    pub(crate) fn whose(&self, input: &PolicyInput<'_>) -> Option<Whose> {
        let principal = &input.by.principal;
        let of = |id: String, name: String| Some(Whose { id, name });
        match &self.subject {
            QuotaSubject::User => of(principal.account()?.to_string(), principal.user_name.clone()),
            QuotaSubject::Key => match principal.credential {
                Credential::ApiKey(key) => of(key.to_string(), format!("{key} of {}", principal.user_name)),
                Credential::Token { .. } | Credential::OperatingSystem { .. } | Credential::Installation => None,
            },
            QuotaSubject::Model => input.model.and_then(|model| of(model.name.to_owned(), model.name.to_owned())),
            QuotaSubject::Installation => of("installation".to_owned(), "this installation".to_owned()),
            QuotaSubject::Attribute(name) => {
                let value = principal.attributes.get(name).filter(|value| !value.is_empty())?;
                of(value.clone(), value.clone())
            }
        }
    }
}

impl Limits {
    fn tighten(&mut self, window: &QuotaWindowConfig, policy: &str) {
        for (limit, most) in [
            (&mut self.requests, window.max_requests),
            (&mut self.input_tokens, window.max_input_tokens),
            (&mut self.output_tokens, window.max_output_tokens),
            (&mut self.cost, window.max_cost_microdollars),
        ] {
            if let Some(most) = most
                && limit.as_ref().is_none_or(|limit| most < limit.most)
            {
                *limit = Some(Limit { most, policy: policy.to_owned() });
            }
        }
    }

    /// The limit of one kind.
    pub(crate) fn of(&self, counted: Counted) -> Option<&Limit> {
        match counted {
            Counted::Requests => self.requests.as_ref(),
            Counted::InputTokens => self.input_tokens.as_ref(),
            Counted::OutputTokens => self.output_tokens.as_ref(),
            Counted::Microdollars => self.cost.as_ref(),
        }
    }

    /// All limits there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Counted, &Limit)> {
        KINDS.into_iter().filter_map(|counted| Some((counted, self.of(counted)?)))
    }

    /// The limit that a request finds in its way, which would use so much where so much is used.
    pub(crate) fn violated(&self, used: &Usage, wanted: &Usage, strict: bool) -> Option<(Counted, &Limit)> {
        self.iter().find(|(counted, limit)| {
            let used = amount(used, *counted);
            if strict && *counted != Counted::Requests {
                used.saturating_add(amount(wanted, *counted)) > limit.most
            } else {
                used >= limit.most
            }
        })
    }
}

/// Every kind that can be limited.
const KINDS: [Counted; 4] = [Counted::Requests, Counted::InputTokens, Counted::OutputTokens, Counted::Microdollars];

/// How much of a kind that is.
pub(crate) fn amount(usage: &Usage, counted: Counted) -> u64 {
    match counted {
        Counted::Requests => usage.calls,
        Counted::InputTokens => usage.input_tokens,
        Counted::OutputTokens => usage.output_tokens,
        Counted::Microdollars => u64::try_from(usage.cost.0).unwrap_or(0),
    }
}
