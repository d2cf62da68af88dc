//! What an extension reaches through its context by type or by id.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{Extension, ExtensionContext, ExtensionRegistry, LoaderError};

/// What a context offers beyond its trait, which can have no type parameters and knows nothing of the other extensions.
pub trait ExtensionContextExt: ExtensionContext {
    /// The service of this type, or an error that names it.
    fn service<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, LoaderError> {
        self.services().require()
    }

    /// The settings of the extension with this prefix as its own type.
    fn typed_config<C: DeserializeOwned>(&self, prefix: &str) -> Result<C, LoaderError> {
        self.extension_configs().typed(prefix)
    }

    /// The enabled extension with this id. Nothing during [`Extension::provides`]: its services have the
    /// [`ExtensionRegistry`].
    fn get_extension(&self, id: &str) -> Option<Arc<dyn Extension>> {
        self.services().get::<ExtensionRegistry>()?.get(id).cloned()
    }

    /// Whether there is an enabled extension with this id.
    fn has_extension(&self, id: &str) -> bool {
        self.get_extension(id).is_some()
    }
}

impl<C: ExtensionContext + ?Sized> ExtensionContextExt for C {}
