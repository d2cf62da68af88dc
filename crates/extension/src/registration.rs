//! How extensions are found: registered where they are written, linked where a product is put together.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::Extension;

/// What [`register_extension!`](crate::register_extension) leaves in the binary: how to make the extension, and where
/// that was written.
#[derive(Debug, Clone, Copy)]
pub struct ExtensionRegistration {
    /// Makes the extension. Runs at discovery, never at load time.
    pub factory: fn() -> Arc<dyn Extension>,
    /// The crate, as written in code (`notes_extension`).
    pub crate_name: &'static str,
    /// The module.
    pub module_path: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
    /// Whether it is one of the product's own features.
    pub built_in: bool,
}

inventory::collect!(ExtensionRegistration);

/// What [`link_extensions!`](crate::link_extensions) leaves in the binary: a crate that is meant to register something.
#[derive(Debug, Clone, Copy)]
pub struct LinkExpectation {
    /// The crate, as written in code.
    pub crate_name: &'static str,
    /// The source file of the product crate.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

inventory::collect!(LinkExpectation);

/// A path that [`reserve_paths!`](crate::reserve_paths) keeps for a feature that does not mount it, or does not exist, yet.
#[derive(Debug, Clone, Copy)]
pub struct ReservedPath(pub &'static str);

inventory::collect!(ReservedPath);

/// Where an extension of a registry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// Registered at link time.
    Linked {
        /// The crate, as written in code.
        #[serde(rename = "crate")]
        crate_name: &'static str,
        /// The source file.
        file: &'static str,
        /// The line in it.
        line: u32,
    },
    /// Handed to the registry by the program.
    Given,
}

impl From<&ExtensionRegistration> for Source {
    fn from(registration: &ExtensionRegistration) -> Self {
        Self::Linked { crate_name: registration.crate_name, file: registration.file, line: registration.line }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked { crate_name, file, line } => write!(f, "{crate_name} ({file}:{line})"),
            Self::Given => f.write_str("handed over by the program"),
        }
    }
}

/// The crate part of a module path.
#[doc(hidden)]
pub const fn crate_of(module_path: &'static str) -> &'static str {
    let bytes = module_path.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b':' {
        end += 1;
    }
    module_path.split_at(end).0
}

/// Registers an extension with every binary this crate is linked into. May be used in any module, any number of times.
///
/// ```
/// # use systemprompt_extension::prelude::*;
/// # macro_rules! extension { ($name:ident $(<$g:ident>)?, $id:literal) => {
/// #     impl $(<$g: Default + Send + Sync + 'static>)? Extension for $name $(<$g>)? {
/// #         fn metadata(&self) -> ExtensionMetadata { ExtensionMetadata { id: $id, name: $id, version: "1.0.0" } }
/// #     }
/// # } }
/// # #[derive(Default)] struct Notes; extension!(Notes, "notes");
/// # struct Search(u32); impl Search { fn new(n: u32) -> Self { Self(n) } } extension!(Search, "search");
/// # #[derive(Default)] struct Mirror<T>(T); extension!(Mirror<T>, "mirror");
/// # struct Audit(Vec<u8>); extension!(Audit, "audit");
/// const LIMIT: u32 = 50;
/// register_extension!(Notes); // a path to a type with `Default`
/// register_extension!(Search::new(LIMIT)); // an expression of constants, statics and functions
/// register_extension!(type Mirror<u8>); // a type with `Default` that is more than a path
/// register_extension!(|| { // longer code, run at discovery
///     let mut rules = Vec::new();
///     rules.push(1);
///     Audit(rules)
/// });
/// ```
///
/// The code runs without arguments, so it can capture nothing. A panic in it is reported with crate, file and line.
#[macro_export]
macro_rules! register_extension {
    (type $extension:ty) => {
        $crate::__submit_extension!(false, <$extension as ::core::default::Default>::default());
    };
    (|| $make:expr) => {
        $crate::__submit_extension!(false, $make);
    };
    ($($segment:ident)::+ $(,)?) => {
        $crate::__submit_extension!(false, <$($segment)::+ as ::core::default::Default>::default());
    };
    ($make:expr $(,)?) => {
        $crate::__submit_extension!(false, $make);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __submit_extension {
    ($built_in:literal, $make:expr) => {
        $crate::__private::inventory::submit! {
            $crate::ExtensionRegistration {
                factory: || $crate::__private::Arc::new($make) as $crate::__private::Arc<dyn $crate::Extension>,
                crate_name: $crate::__private::crate_of(::core::module_path!()),
                module_path: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
                built_in: $built_in,
            }
        }
    };
}

/// Registers one of the product's own features, which may do what [`BUILT_IN`](crate::BUILT_IN) says. Takes an expression, as
/// [`register_extension!`](crate::register_extension) does.
#[macro_export]
macro_rules! register_built_in {
    ($make:expr) => {
        $crate::__submit_extension!(true, $make);
    };
}

/// Keeps paths for the product's own features that do not mount them yet.
#[macro_export]
macro_rules! reserve_paths {
    ($($path:literal),+ $(,)?) => {
        $($crate::__private::inventory::submit! { $crate::ReservedPath($path) })+
    };
}

/// Links extension crates into the product, and makes their absence an error at start-up.
///
/// The linker leaves out a crate that nothing refers to, registrations included. `link_extensions!(a, b);` in the product
/// crate refers to each and records that it is expected; a listed crate that registers nothing is reported as
/// [`LoaderError::ExtensionNotLinked`](crate::LoaderError::ExtensionNotLinked). It also defines
/// `__force_extension_link()`, which a binary calls when the product crate is a library of its own.
#[macro_export]
macro_rules! link_extensions {
    ($($name:ident),+ $(,)?) => {
        $(
            #[allow(unused_imports, reason = "the import itself is what links the crate")]
            use $name as _;
            $crate::__private::inventory::submit! {
                $crate::LinkExpectation {
                    crate_name: ::core::stringify!($name),
                    file: ::core::file!(),
                    line: ::core::line!(),
                }
            }
        )+

        /// Refers to every linked extension crate, so that the linker keeps them.
        pub fn __force_extension_link() {
            $(::core::hint::black_box(::core::stringify!($name));)+
        }
    };
}
