//! The services of one server, by type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::LoaderError;

/// The services of one server, by type. Filled in load order by [`Extension::provides`](crate::Extension::provides).
///
/// Cloning copies the handles, not the services.
#[derive(Clone, Default)]
pub struct ServiceMap(HashMap<TypeId, Entry>);

#[derive(Clone)]
struct Entry {
    name: &'static str,
    service: Arc<dyn Any + Send + Sync>,
}

impl ServiceMap {
    /// A map without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes a service. A service of the same type that was there before is replaced and given back.
    pub fn insert<T: Send + Sync + 'static>(&mut self, service: Arc<T>) -> Option<Arc<T>> {
        let entry = Entry { name: type_name::<T>(), service };
        let previous = self.0.insert(TypeId::of::<T>(), entry)?;
        previous.service.downcast().ok()
    }

    /// The service of this type, if an extension published one.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>())?.service.clone().downcast().ok()
    }

    /// The service of this type, or an error that names it and what to do.
    pub fn require<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, LoaderError> {
        self.get().ok_or(LoaderError::MissingService { service: type_name::<T>() })
    }

    /// The type names of all services, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.values().map(|entry| entry.name).collect();
        names.sort_unstable();
        names
    }
}

impl fmt::Debug for ServiceMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceMap").field(&self.names()).finish()
    }
}

/// For how many days the server keeps stored log lines: a service of the feature that owns the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRetention {
    /// After how many days a line is deleted.
    pub days: u32,
}

/// Whether requests are served while the database cannot be reached: a service of the feature that makes it so.
pub struct CarriesOn(Box<dyn Fn() -> bool + Send + Sync>);

impl CarriesOn {
    /// What `now` says.
    pub fn new(now: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(now))
    }

    /// Whether it is so at present.
    pub fn now(&self) -> bool {
        (self.0)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Clock(u8);

    #[test]
    fn services_are_found_by_type() {
        let mut services = ServiceMap::new();
        let missing = services.require::<Clock>().expect_err("nothing published yet");
        assert!(missing.to_string().contains("Clock"), "{missing}");
        assert!(services.insert(Arc::new(Clock(1))).is_none());
        let replaced = services.insert(Arc::new(Clock(2))).expect("the first one");
        assert_eq!(replaced.0, 1);
        assert_eq!(services.require::<Clock>().expect("published").0, 2);
        assert!(services.get::<String>().is_none());
    }
}
