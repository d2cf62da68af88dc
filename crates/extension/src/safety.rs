//! Safety scanners: what looks for things in prompts and answers that an operator wants to know of, or to stop.
//!
//! `spec.safety` of `services/gateway/policies.yaml` says which scanners run, and which of the categories they find refuse a
//! request or withhold an answer. A scanner only says what it found; what comes of that is not its business, nor is what is
//! recorded of it: findings are told to the operator in an excerpt in which everything sensitive is masked.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use systemprompt_model::{ActionId, Attribution};

pub use ::async_trait::async_trait;

use crate::{ExtensionContext, LoaderError};

/// Looks for things in texts. One value for each server, asked by many tasks at once.
///
/// A scanner that fails, panics or takes too long has not looked: where the operator enforces, what it was to look at is
/// refused.
///
/// ```
/// use systemprompt_extension::safety::{async_trait, SafetyFinding, SafetyScanner, ScanFailed, ScanInput, Severity};
///
/// /// The name of a project that is not announced.
/// struct Codename;
///
/// #[async_trait]
/// impl SafetyScanner for Codename {
///     fn name(&self) -> &'static str {
///         "acme.codename"
///     }
///
///     async fn scan_request(&self, input: &ScanInput<'_>) -> Result<Vec<SafetyFinding>, ScanFailed> {
///         let places = input.texts.iter().enumerate().filter_map(|(text, said)| Some((text, said.find("Bluebird")?)));
///         let finding = |(text, at)| SafetyFinding::new("codename", Severity::High).at(text, at..at + 8).sensitive();
///         Ok(places.map(finding).collect())
///     }
/// }
/// ```
#[async_trait]
pub trait SafetyScanner: Send + Sync {
    /// What configuration and records call it. That of an extension puts its extension's id and a dot in front.
    fn name(&self) -> &'static str;

    /// Looks at what is new in a request: the instructions, the newest turn of the user and the results of tools in it.
    async fn scan_request(&self, input: &ScanInput<'_>) -> Result<Vec<SafetyFinding>, ScanFailed>;

    /// Looks at the turns before, where the operator wants that. As at what is new, unless overridden.
    async fn scan_request_history(&self, input: &ScanInput<'_>) -> Result<Vec<SafetyFinding>, ScanFailed> {
        self.scan_request(input).await
    }

    /// Looks at an answer that is there in whole; of a stream that is guarded, also at each window of it. Text, refusals,
    /// thoughts and the inputs of tool calls are among the texts. As at a request, unless overridden.
    async fn scan_response_final(&self, input: &ScanInput<'_>) -> Result<Vec<SafetyFinding>, ScanFailed> {
        self.scan_request(input).await
    }
}

/// What a scanner looks at.
#[derive(Debug, Clone, Copy)]
pub struct ScanInput<'a> {
    /// The request it belongs to.
    pub action: ActionId,
    /// Who asks.
    pub by: &'a Attribution,
    /// The model that is asked, by its configured name.
    pub model: Option<&'a str>,
    /// What is said, with JSON's escapes resolved. A text with escapes of its own, such as the input of a tool call, is
    /// followed by what it stands for.
    pub texts: &'a [&'a str],
}

/// Something a scanner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyFinding {
    /// What it is, as the configuration names it; one of the categories the scanner declares.
    pub category: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Which of the texts, and where in it; absent if that cannot be said.
    pub place: Option<(usize, Range<usize>)>,
    /// Whether what was found must not be shown to those who read the record.
    pub sensitive: bool,
}

impl SafetyFinding {
    /// A finding that is at no place, and can be shown.
    pub fn new(category: &'static str, severity: Severity) -> Self {
        Self { category, severity, place: None, sensitive: false }
    }

    /// The same, in this part of this text.
    #[must_use]
    pub fn at(self, text: usize, span: Range<usize>) -> Self {
        Self { place: Some((text, span)), ..self }
    }

    /// The same, and nobody who reads the record may see it.
    #[must_use]
    pub fn sensitive(self) -> Self {
        Self { sensitive: true, ..self }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Probably not wanted.
    Medium,
    /// Not wanted.
    High,
}

impl Severity {
    /// The name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A scanner could not look. The message goes to the log of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanFailed(pub String);

impl fmt::Display for ScanFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScanFailed {}

impl From<&str> for ScanFailed {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

/// A scanner an extension brings, declared by what it is called and what it finds; made when there is a server.
#[derive(Clone)]
pub struct SafetyScannerDef {
    /// What [`SafetyScanner::name`] says of it.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    /// What it can find: lower-case letters, digits and underscores. Findings of another category are recorded, and can
    /// refuse nothing.
    pub categories: Cow<'static, [&'static str]>,
    make: Arc<MakeScanner>,
}

type MakeScanner = dyn Fn(&dyn ExtensionContext) -> Result<Arc<dyn SafetyScanner>, LoaderError> + Send + Sync;

impl SafetyScannerDef {
    /// The scanner of this name, which finds these categories, made by `make`: once per server, before any service is
    /// there. A scanner that needs one looks for it when it is asked.
    pub fn new(
        name: &'static str,
        description: &'static str,
        categories: impl Into<Cow<'static, [&'static str]>>,
        make: impl Fn(&dyn ExtensionContext) -> Result<Arc<dyn SafetyScanner>, LoaderError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, description, categories: categories.into(), make: Arc::new(make) }
    }

    /// Makes the scanner.
    pub(crate) fn make(&self, ctx: &dyn ExtensionContext) -> Result<Arc<dyn SafetyScanner>, LoaderError> {
        (self.make)(ctx)
    }
}

impl fmt::Debug for SafetyScannerDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetyScannerDef").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A scanner that was made, and what it was declared to find.
#[derive(Clone)]
pub struct RegisteredScanner {
    /// The scanner.
    pub scanner: Arc<dyn SafetyScanner>,
    /// What it finds.
    pub categories: Cow<'static, [&'static str]>,
}

impl fmt::Debug for RegisteredScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredScanner").field("name", &self.scanner.name()).finish_non_exhaustive()
    }
}
