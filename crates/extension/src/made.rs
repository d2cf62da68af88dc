//! What extensions declare by its name, and what needs a running server to be made.

use std::fmt;
use std::sync::Arc;

use crate::{ExtensionContext, LoaderError};

/// Something of a kind of which there may be several implementations, declared by what it is called; made when there is a
/// server.
///
/// Installations list and check what extensions bring without running any, so what a thing needs to be made is not needed to
/// declare it.
pub struct Made<T: ?Sized> {
    /// What records, logs and commands call it: the extension's id, a dot, and a name. The same for the life of the process.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    make: Arc<Make<T>>,
}

type Make<T> = dyn Fn(&dyn ExtensionContext) -> Result<Arc<T>, LoaderError> + Send + Sync;

impl<T: ?Sized> Made<T> {
    /// The thing of this name, made by `make`: once per server, before any service is there. One that needs a service looks
    /// for it when it is asked.
    pub fn new(
        name: &'static str,
        description: &'static str,
        make: impl Fn(&dyn ExtensionContext) -> Result<Arc<T>, LoaderError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, description, make: Arc::new(make) }
    }

    /// Makes it.
    pub(crate) fn make(&self, ctx: &dyn ExtensionContext) -> Result<Arc<T>, LoaderError> {
        (self.make)(ctx)
    }
}

impl<T: ?Sized> Clone for Made<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, description: self.description, make: self.make.clone() }
    }
}

impl<T: ?Sized> fmt::Debug for Made<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("name", &self.name).finish_non_exhaustive()
    }
}
