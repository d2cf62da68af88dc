//! Where an extension finds the service.

use std::sync::Arc;

use systemprompt_extension::{ExtensionContext, ExtensionContextExt, LoaderError};

use super::ai::AiService;

/// Asking models, from an extension's context.
pub trait AiContext {
    /// The service that asks models. Not there during [`Extension::provides`](systemprompt_extension::Extension::provides) of
    /// an extension that does not depend on `gateway`.
    fn ai(&self) -> Result<Arc<AiService>, LoaderError>;
}

impl<C: ExtensionContext + ?Sized> AiContext for C {
    fn ai(&self) -> Result<Arc<AiService>, LoaderError> {
        self.service::<AiService>()
    }
}
