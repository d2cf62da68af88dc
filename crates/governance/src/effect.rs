//! What can be done: kinds of effect, and what the ledger is told about each.
//!
//! A feature that has an effect on the world implements [`Effect`] and takes a [`Permit`](crate::Permit) of it. Governance
//! knows no kind's content: it asks for the [facts](FactsWriter) to record, the subject policies judge, and an estimate of
//! what will be used up.

use std::ops::Range;

use chrono::{DateTime, Utc};
use systemprompt_extension::policy::{Estimate, ModelCall, Subject};
use systemprompt_model::UserId;

use crate::action::Target;
use crate::ledger::canonical::CanonicalObject;
use crate::ledger::text::cleaned;
use crate::redaction::Redaction;

/// A kind of effect. A value says what is to be done, apart from the bytes.
pub trait Effect: Send + Sync + 'static {
    /// What the ledger calls it. The same for ever.
    const KIND: &'static str;

    /// What is known once it has happened.
    type Result: Facts;

    /// What policies judge.
    fn subject(&self) -> Subject<'_>;

    /// What decides whether somebody may do it at all, before policies are asked.
    fn authority(&self) -> Authority {
        Authority::AccessRules
    }

    /// The places in the bytes that repeat what was said earlier in the same conversation, ascending. The rest is new. All
    /// of it, unless overridden.
    fn earlier(&self, content: &[u8]) -> Vec<Range<usize>> {
        let _ = content;
        Vec::new()
    }

    /// The tools that a model is offered in them.
    fn offered_tools(&self) -> Vec<String> {
        Vec::new()
    }

    /// Those of them that are offered as destructive.
    fn destructive_tools(&self) -> Vec<String> {
        Vec::new()
    }

    /// The region in which one of its targets processes what it is sent, if that is known.
    fn region(&self, target: &Target) -> Option<&str> {
        let _ = target;
        None
    }

    /// What leaves beside the bytes and was said by the caller: headers that are passed on. Judged and recorded as they are.
    fn headers(&self) -> &[(String, String)] {
        &[]
    }

    /// Whether parts of the bytes can be replaced before they leave, and put back into what comes of them. Otherwise what a
    /// policy would have replaced is refused.
    fn is_replaceable(&self) -> bool {
        false
    }

    /// What is recorded of it with the decision.
    fn facts(&self, facts: &mut FactsWriter<'_, '_>);

    /// What it will use up, as far as can be said beforehand: what budgets set aside.
    fn estimate(&self) -> Estimate {
        Estimate::ONE_CALL
    }

    /// The model that is asked, where one is.
    fn model(&self) -> Option<ModelCall<'_>> {
        None
    }
}

/// What is recorded of a result with the end of an action.
pub trait Facts: Send + 'static {
    /// Writes them.
    fn facts(&self, facts: &mut FactsWriter<'_, '_>);
}

/// What decides whether somebody may do something at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// The access rules of the resource.
    AccessRules,
    /// Being an administrator, the operator at the command line, or the installation itself.
    Administration,
    /// As [`Administration`](Self::Administration), or being this account: a change to one's own things.
    OwnAccount(UserId),
    /// Having one of these roles: administrators as little as others without.
    Roles(Vec<String>),
}

/// Writes the facts of an effect or its result into an entry of the ledger.
///
/// Entries are canonical JSON, so keys are given in ascending order. Entries are for ever, so no text that somebody else
/// chose goes in unseen: [`stranger`](Self::stranger) and [`stranger_id`](Self::stranger_id) replace what holds a
/// credential, and cut to 1024 bytes.
///
/// What is empty is left out, so whoever reads facts takes an absent field for the empty value: `#[serde(default)]` on the
/// whole of what is read. One entry that a reader refuses would stop its projection for good.
pub struct FactsWriter<'r, 's> {
    object: CanonicalObject,
    redaction: &'r mut Redaction<'s>,
    content_flagged: bool,
}

impl<'r, 's> FactsWriter<'r, 's> {
    /// The facts as canonical JSON.
    pub(crate) fn write(
        redaction: &'r mut Redaction<'s>,
        content_flagged: bool,
        facts: impl FnOnce(&mut FactsWriter<'_, '_>),
    ) -> String {
        let mut writer = Self { object: CanonicalObject::with_capacity(512), redaction, content_flagged };
        facts(&mut writer);
        writer.object.finish()
    }

    /// A text of our own, such as the name of a provider from the configuration.
    pub fn text(&mut self, key: &'static str, value: &str) {
        self.object.text(key, Some(&cleaned(value)));
    }

    /// The same, if there is one.
    pub fn optional_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.text(key, value);
        }
    }

    /// A text that a client or a provider chose.
    pub fn stranger(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let shown = self.redaction.text(value);
            self.object.text(key, Some(&shown));
        }
    }

    /// An id that a client or a provider chose: random by nature, so only credentials of a known form count.
    pub fn stranger_id(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let shown = self.redaction.id(value);
            self.object.text(key, Some(&shown));
        }
    }

    /// Texts that are part of the content too. Left out when a policy objected to the content: they may hold a piece of
    /// what it found.
    pub fn part_of_content(&mut self, key: &'static str, values: &[String]) {
        if !values.is_empty() && !self.content_flagged {
            let shown: Vec<_> = values.iter().map(|value| self.redaction.text(value)).collect();
            self.object.texts(key, shown.iter().map(AsRef::as_ref));
        }
    }

    /// A list of objects.
    pub fn list<T>(&mut self, key: &'static str, items: &[T], write: impl Fn(&T, &mut FactsWriter<'_, '_>)) {
        if items.is_empty() {
            return;
        }
        let mut text = String::from("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&FactsWriter::write(self.redaction, self.content_flagged, |facts| write(item, facts)));
        }
        text.push(']');
        self.object.json(key, Some(&text));
    }

    /// A count. It ends at 2^53, as JSON's numbers do.
    pub fn count(&mut self, key: &'static str, value: Option<u64>) {
        self.object.integer(key, value.map(|value| value.min(1 << 53) as i64));
    }

    /// An amount that may be negative.
    pub fn integer(&mut self, key: &'static str, value: Option<i64>) {
        self.object.integer(key, value);
    }

    /// A number.
    pub fn number(&mut self, key: &'static str, value: Option<f64>) {
        self.object.number(key, value);
    }

    /// Whether something is so.
    pub fn boolean(&mut self, key: &'static str, value: bool) {
        self.object.boolean(key, Some(value));
    }

    /// A time.
    pub fn time(&mut self, key: &'static str, value: Option<DateTime<Utc>>) {
        self.object.time(key, value);
    }

    /// A digest.
    pub fn digest(&mut self, key: &'static str, value: Option<&[u8; 32]>) {
        self.object.bytes(key, value.map(<[u8; 32]>::as_slice));
    }
}
