//! What the macros leave in a binary, and what discovery makes of it. Everything registered here is in this test binary.

use systemprompt_extension::{ExtensionRegistry, LoaderError, Source};

mod forms {
    use systemprompt_extension::prelude::*;

    macro_rules! extension {
        ($name:ident $(<$generic:ident>)?, $id:literal) => {
            impl $(<$generic: Send + Sync + 'static>)? Extension for $name $(<$generic>)? {
                fn metadata(&self) -> ExtensionMetadata {
                    ExtensionMetadata { id: $id, name: $id, version: "1.2.3" }
                }
            }
        };
    }

    #[derive(Default)]
    pub(super) struct Plain;
    extension!(Plain, "plain");
    register_extension!(Plain);

    pub(super) mod nested {
        #[derive(Default)]
        pub(in super::super) struct ByPath;
    }
    use nested::ByPath;
    extension!(ByPath, "by-path");
    register_extension!(self::nested::ByPath,);

    pub(super) struct FromCrate;
    impl Default for FromCrate {
        fn default() -> Self {
            Self
        }
    }
    extension!(FromCrate, "from-crate");
    register_extension!(crate::forms::FromCrate);

    const LIMIT: u32 = 7;
    pub(super) struct ByCall(u32);
    impl ByCall {
        fn new(limit: u32) -> Self {
            assert_eq!(limit, LIMIT);
            Self(limit)
        }
    }
    impl Extension for ByCall {
        fn metadata(&self) -> ExtensionMetadata {
            ExtensionMetadata { id: "by-call", name: "By call", version: "1.2.3" }
        }

        fn priority(&self) -> u32 {
            self.0
        }
    }
    register_extension!(ByCall::new(LIMIT));

    pub(super) struct Generic<T>(std::marker::PhantomData<fn() -> T>);
    impl<T> Default for Generic<T> {
        fn default() -> Self {
            Self(std::marker::PhantomData)
        }
    }
    extension!(Generic<T>, "generic");
    register_extension!(type Generic<Vec<u8>>);

    pub(super) struct ByClosure(Vec<u8>);
    impl Extension for ByClosure {
        fn metadata(&self) -> ExtensionMetadata {
            assert_eq!(self.0, [7]);
            ExtensionMetadata { id: "by-closure", name: "By closure", version: "1.2.3" }
        }
    }
    register_extension!(|| {
        let mut made = Vec::new();
        made.extend([7]);
        ByClosure(made)
    });

    struct Unused;
    extension!(Unused, "never");
    fn unmakeable() -> Unused {
        panic!("cannot be made")
    }
    register_extension!(unmakeable());

    struct Twin;
    extension!(Twin, "by_call");
    register_extension!(|| Twin);
}

systemprompt_extension::link_extensions!(systemprompt_model);

#[test]
fn every_form_registers_and_every_problem_names_its_place() {
    __force_extension_link();
    let registry = ExtensionRegistry::discover();
    assert_eq!(registry.ids(), ["by-call", "by-closure", "by-path", "from-crate", "generic", "plain"]);

    let problems = registry.validate_all();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{lines:#?}");

    assert!(
        lines[0].starts_with("Crate 'systemprompt_model' is linked at ") && lines[0].contains("tests/registration.rs:"),
        "{lines:#?}"
    );
    assert!(matches!(&problems[1], LoaderError::InitializationFailed { extension, .. } if extension == "registration"));
    assert!(lines[1].contains("tests/registration.rs:") && lines[1].ends_with("cannot be made"), "{lines:#?}");
    assert!(matches!(&problems[2], LoaderError::DuplicateExtension { id, .. } if id == "by_call"), "{lines:#?}");
    assert_eq!(lines[2].matches("tests/registration.rs:").count(), 2, "both places: {}", lines[2]);

    let plain = registry.snapshot().get("plain").expect("it is registered");
    assert!(
        matches!(plain.source, Source::Linked { crate_name: "registration", file, line } if file.ends_with("tests/registration.rs") && line > 0)
    );
}
