//! Policies: what judges an action before it is carried out, and what came of it before anybody gets to see it.
//!
//! The Gate of `systemprompt-governance` asks the policies of the installation one after another, in the order an operator
//! chose. Built-in policies and those of [extensions](crate::Extension::governance_policies) implement the same [`Policy`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use systemprompt_model::{ActionId, Attribution, Microdollars, Resource, Secret};

use crate::{ExtensionContext, LoaderError};

/// Judges actions. One value for each server, asked by many tasks at once.
///
/// ```
/// use systemprompt_extension::policy::{async_trait, DenialKind, Policy, PolicyInput, Verdict, Violation};
///
/// /// Nobody asks about the weather.
/// struct NoWeather;
///
/// #[async_trait]
/// impl Policy for NoWeather {
///     fn id(&self) -> &'static str {
///         "weather.none"
///     }
///
///     async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
///         if input.texts.iter().any(|text| text.contains("weather")) {
///             return Verdict::Fail(Violation::new(DenialKind::Content, "weather", "the weather is no topic"));
///         }
///         Verdict::Pass
///     }
/// }
/// ```
#[async_trait]
pub trait Policy: Send + Sync {
    /// What configuration and records call it. A policy of an extension puts its extension's id and a dot in front:
    /// `notes.forbidden_word`. The same for the life of the process.
    fn id(&self) -> &'static str;

    /// Whether it wants to look at `subject` in `phase`. What no policy wants to see afterwards is given to the caller as
    /// it arrives; what one does is held back until it has been judged. Before the effect, everything unless overridden.
    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        let _ = subject;
        phase == Phase::Before
    }

    /// Whether what it says depends on the bytes. An action may go on to another place with other bytes, under the same
    /// decision; then those policies whose answer depends on them are asked once more, and the others, that look at who
    /// does what how often, are not.
    fn depends_on_content(&self) -> bool {
        true
    }

    /// Says what it thinks. A policy that cannot judge answers [`Violation::unavailable`]; one that panics has objected.
    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict;
}

pub use ::async_trait::async_trait;
pub use systemprompt_model::json::Texts;

/// A policy an extension brings, declared by what it is called; made when there is a server.
///
/// Installations list and order policies without running any, so what a policy needs to be made is not needed to declare it.
#[derive(Clone)]
pub struct PolicyDef {
    /// What [`Policy::id`] says of it.
    pub id: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    make: Arc<MakePolicy>,
}

type MakePolicy = dyn Fn(&dyn ExtensionContext) -> Result<Arc<dyn Policy>, LoaderError> + Send + Sync;

impl PolicyDef {
    /// The policy of this id, made by `make`: once per server, before any service is there. A policy that needs one looks
    /// for it when it is asked.
    pub fn new(
        id: &'static str,
        description: &'static str,
        make: impl Fn(&dyn ExtensionContext) -> Result<Arc<dyn Policy>, LoaderError> + Send + Sync + 'static,
    ) -> Self {
        Self { id, description, make: Arc::new(make) }
    }

    /// Makes the policy.
    pub(crate) fn make(&self, ctx: &dyn ExtensionContext) -> Result<Arc<dyn Policy>, LoaderError> {
        (self.make)(ctx)
    }
}

impl fmt::Debug for PolicyDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyDef").field("id", &self.id).finish_non_exhaustive()
    }
}

/// When a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before the effect: an objection refuses the action.
    Before,
    /// After it: an objection withholds what came back. It has happened and is recorded all the same.
    After,
}

/// What a policy judges.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// When it is asked.
    pub phase: Phase,
    /// The action; judging it twice in one phase counts once.
    pub action: ActionId,
    /// Who is behind it.
    pub by: &'a Attribution,
    /// What it is done to.
    pub resource: &'a Resource,
    /// What of it is judged.
    pub subject: Subject<'a>,
    /// The exact bytes: those that will be sent, or those that came back.
    pub content: &'a Bytes,
    /// Whether that is all of it. Of what is larger than can be kept while it comes back, a part is judged or nothing:
    /// whoever needs the rest objects.
    pub complete: bool,
    /// What is said in them, with JSON's escapes resolved, and the words of a stream put together, thoughts and the inputs
    /// of tool calls included. A policy that looks for words looks here.
    pub texts: &'a Texts<'a>,
    /// The model that is asked, where one is.
    pub model: Option<ModelCall<'a>>,
    /// What it will use up, as far as can be said beforehand.
    pub estimate: Estimate,
    /// Whether parts of the content can be replaced ([`Verdict::Replace`]), or all of it must go as it is or not at all.
    pub replaceable: bool,
    /// The tools that the model may ask for; of a tool that it asks for, those that it was offered with.
    pub offered_tools: &'a OfferedTools<'a>,
    /// Where it may go, first choice first, where that is a matter of providers.
    pub places: &'a [Place<'a>],
    /// What leaves beside the content: the caller's headers that are passed on.
    pub headers: &'a [(String, String)],
}

/// The tools a model is offered. They are read when somebody asks for them first.
#[derive(Default)]
pub struct OfferedTools<'a> {
    names: OnceLock<Vec<String>>,
    destructive: OnceLock<Vec<String>>,
    read: Option<&'a (dyn Fn() -> Vec<String> + Sync)>,
    read_destructive: Option<&'a (dyn Fn() -> Vec<String> + Sync)>,
}

impl<'a> OfferedTools<'a> {
    /// None.
    pub const fn none() -> Self {
        Self { names: OnceLock::new(), destructive: OnceLock::new(), read: None, read_destructive: None }
    }

    /// Those that `read` gives.
    pub fn read_by(read: &'a (dyn Fn() -> Vec<String> + Sync)) -> Self {
        Self { read: Some(read), ..Self::none() }
    }

    /// The same, of which `read` gives those that are offered as destructive.
    #[must_use]
    pub fn with_destructive(self, read: &'a (dyn Fn() -> Vec<String> + Sync)) -> Self {
        Self { read_destructive: Some(read), ..self }
    }

    /// Their names, in the order in which they are offered.
    pub fn names(&self) -> &[String] {
        self.names.get_or_init(|| self.read.map(|read| read()).unwrap_or_default())
    }

    /// The names of those that are offered as destructive. Nobody but whoever offers a tool says so of it.
    pub fn destructive(&self) -> &[String] {
        self.destructive.get_or_init(|| self.read_destructive.map(|read| read()).unwrap_or_default())
    }
}

impl fmt::Debug for OfferedTools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OfferedTools").field(&self.names.get()).finish()
    }
}

/// A place where an action may be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// What the permit and the ledger call it, e.g. `openai/gpt-4.1`.
    pub name: &'a str,
    /// The region in which what it is sent is processed, if it says so.
    pub region: Option<&'a str>,
}

/// A model that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelCall<'a> {
    /// The model, by its configured name.
    pub name: &'a str,
    /// The provider that is asked first.
    pub provider: &'a str,
    /// Whether the answer is wanted as a stream.
    pub streaming: bool,
}

/// What of an action is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// What is asked of a model.
    Prompt,
    /// What the model answered.
    Answer,
    /// What a tool is asked to do: before it is called, and before the caller gets an answer in which a model asks for it
    /// ([`Phase::After`]).
    ToolCall {
        /// The tool's full name.
        name: &'a str,
    },
    /// What a tool answered.
    ToolResult {
        /// The tool's full name.
        name: &'a str,
    },
    /// What somebody tells an agent.
    Message,
    /// What an agent answers to it.
    Reply,
    /// Work that is done on a schedule or in the background, with these parameters.
    Job {
        /// Its name.
        name: &'a str,
    },
    /// Something that happened at a client, and is reported.
    Hook {
        /// What happened, as the client calls it.
        event: &'a str,
    },
    /// A change to the installation itself.
    Change {
        /// What is changed, e.g. `user.create`.
        operation: &'a str,
    },
}

/// What an action uses up: estimated before it, counted after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Money.
    pub cost: Microdollars,
}

impl Usage {
    /// Nothing.
    pub const NOTHING: Self = Self { calls: 0, input_tokens: 0, output_tokens: 0, cost: Microdollars::ZERO };
    /// One call of which nothing else is known.
    pub const ONE_CALL: Self = Self { calls: 1, ..Self::NOTHING };

    /// Tokens of prompt and answer.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// What an action will use up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// What actions like this one usually do.
    pub expected: Usage,
    /// The most it can, where there is a bound; otherwise as expected.
    pub most: Usage,
}

impl Estimate {
    /// One call of which nothing else is known.
    pub const ONE_CALL: Self = Self::exactly(Usage::ONE_CALL);

    /// Of something that is known beforehand.
    pub const fn exactly(usage: Usage) -> Self {
        Self { expected: usage, most: usage }
    }
}

/// How much of a limit is left, as callers are told: with an answer and with a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// What the limit is called, in ASCII: `user-month-cost`.
    pub name: String,
    /// What is counted.
    pub counted: Counted,
    /// The most that may be used within the window.
    pub limit: u64,
    /// What of it is left.
    pub remaining: u64,
    /// The length of the window.
    pub window: Duration,
    /// When all of it is there again.
    pub reset: Duration,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// Calls.
    Requests,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Money, in millionths of a US dollar.
    Microdollars,
}

impl Counted {
    /// The name in headers, tables and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Microdollars => "cost_microdollars",
        }
    }
}

/// What a policy says.
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// Nothing against it, and something to be recorded of it, in a sentence that holds no part of the content.
    Note(Cow<'static, str>),
    /// Nothing against it, and something is set aside for it until it is known what it used.
    Hold(Box<dyn Hold>),
    /// The same, and it objects all the same: that is recorded, and the action goes on.
    HoldAndWarn(Box<dyn Hold>, Violation),
    /// It does not apply, and why.
    Skip(Cow<'static, str>),
    /// It objects, and what it objects to goes on all the same, whatever the mode of the policy: it is recorded.
    Warn(Violation),
    /// It has nothing against it once some parts are replaced: they leave as placeholders, and where the answer speaks of
    /// one, the caller gets the original back. Policies that are asked later see the placeholders.
    Replace(Replacement),
    /// It has nothing against it if it does not go to some of its places. If there are no others, it objects.
    LeaveOut(Exclusion),
    /// It objects.
    Fail(Violation),
}

/// Places an action must not go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// They, by their names.
    pub places: Vec<String>,
    /// What it objects to, where there is no other place or the policy is in mode `warn`.
    pub violation: Violation,
}

/// Parts of a content that must not leave as they are.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// They, ascending, none overlapping another.
    pub parts: Vec<ReplacedPart>,
    /// Parts of the content that go as they are and must not be stored, as bytes of it before anything is replaced.
    pub flagged: Vec<Range<usize>>,
    /// What it objects to, where nothing can be replaced or the policy is in mode `warn`.
    pub violation: Violation,
}

/// A part of a content and what stands for it.
#[derive(Debug, Clone)]
pub struct ReplacedPart {
    /// Where it stands in the content, as bytes of it.
    pub at: Range<usize>,
    /// What leaves instead: ASCII letters, digits and underscores, so that it stands anywhere without escapes. The same
    /// for the same original, or the provider's caches never hit.
    pub placeholder: String,
    /// What it stands for, without the escapes of the place it stood in.
    pub original: Secret,
    /// Why, e.g. the rule that found it. Recorded with the placeholder.
    pub rule: String,
    /// The path to it, e.g. `$.messages[0].content`. Recorded.
    pub path: String,
}

/// Something set aside for an action: a place in a rate window, a part of a budget.
///
/// Settled when the action has ended. Dropped without that, it gives back everything: a later policy refused, the ledger
/// could not record the decision, or nothing was done.
pub trait Hold: Send + Sync {
    /// The action has ended and used this.
    fn settle(self: Box<Self>, used: &Usage);

    /// What is left of the limits it is part of, for the caller.
    fn allowances(&self) -> &[Allowance] {
        &[]
    }
}

/// Why a policy objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What kind of no it is.
    pub kind: DenialKind,
    /// The stable, machine-readable reason.
    pub code: &'static str,
    /// A sentence for the caller and the record. Never holds any part of the content.
    pub reason: String,
    /// What the caller can do about it, in whole sentences: how to go on, and who can allow it with which setting. Told
    /// with the reason and not recorded. Never holds any part of the content either.
    pub advice: Option<String>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What is left of the limits that were asked, the one at fault included.
    pub allowances: Vec<Allowance>,
    /// Parts of the content that must not be stored.
    pub flagged: Vec<Range<usize>>,
}

impl Violation {
    /// An objection with nothing to hide and no time to wait.
    pub fn new(kind: DenialKind, code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            reason: reason.into(),
            advice: None,
            retry_after: None,
            allowances: Vec::new(),
            flagged: Vec::new(),
        }
    }

    /// The same objection with what the caller can do about it.
    #[must_use]
    pub fn with_advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The objection of a policy that cannot judge at present.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(DenialKind::Unavailable, "policy_unavailable", reason)
    }
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// The caller may not use the resource: 403.
    NotEntitled,
    /// The content is not acceptable: 451 unless configured otherwise.
    Content,
    /// Too much in too short a time: 429.
    RateLimited,
    /// There is no such resource: 404.
    NotFound,
    /// The resource is there and not offered: 400.
    NotExposed,
    /// It cannot be decided or served at present: 503.
    Unavailable,
}
