//! Which fields a format's requests have.

use super::error::RequestError;

/// A top-level field that is read. Made by [`fields!`](crate::request::fields::fields).
pub(crate) trait Field: Copy + Eq + 'static {
    /// The fields we edit or decide by. A provider that ignores case would read `Model` in place of the `model` we wrote.
    const GUARDED: &'static [Self];
    /// All other fields we read.
    const READ: &'static [Self];

    /// The key of the field.
    fn name(self) -> &'static str;

    /// The other spelling of the key, if providers know two.
    fn other_name(self) -> Option<&'static str>;

    /// A small number of its own.
    fn index(self) -> u32;

    /// The field that has this key; an error if the key could be taken for one we guard.
    fn of(key: &str) -> Result<Option<Self>, RequestError> {
        let found =
            Self::GUARDED.iter().chain(Self::READ).find(|field| field.name() == key || field.other_name() == Some(key));
        if found.is_none() {
            for guarded in Self::GUARDED {
                refuse_misspelled(key, guarded.name())?;
                guarded.other_name().map_or(Ok(()), |name| refuse_misspelled(key, name))?;
            }
        }
        Ok(found.copied())
    }
}

/// Declares the enum `Field` of a format: `guarded: Variant "key", …; read: Variant "key" | "other_spelling", …;`.
macro_rules! fields {
    (
        guarded: $($guarded:ident $guarded_name:literal $(| $guarded_other:literal)?),*;
        read: $($read:ident $read_name:literal $(| $read_other:literal)?),*;
    ) => {
        /// A top-level field of a request that we read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Field { $($guarded,)* $($read),* }

        impl crate::request::fields::Field for Field {
            const GUARDED: &'static [Self] = &[$(Self::$guarded),*];
            const READ: &'static [Self] = &[$(Self::$read),*];

            fn name(self) -> &'static str {
                match self { $(Self::$guarded => $guarded_name,)* $(Self::$read => $read_name),* }
            }

            fn other_name(self) -> Option<&'static str> {
                match self {
                    $($(Self::$guarded => Some($guarded_other),)?)*
                    $($(Self::$read => Some($read_other),)?)*
                    #[allow(unreachable_patterns, reason = "every field of a format may have two spellings")]
                    _ => None,
                }
            }

            fn index(self) -> u32 {
                self as u32
            }
        }
    };
}

pub(crate) use fields;

/// Refuses a key that is this field but for upper and lower case.
pub(crate) fn refuse_misspelled(key: &str, field: &'static str) -> Result<(), RequestError> {
    if key != field && key.eq_ignore_ascii_case(field) {
        return Err(RequestError::MisspelledCase { found: key.to_owned(), field });
    }
    Ok(())
}

/// The fields met so far.
#[derive(Default)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) fn once(&mut self, field: impl Field) -> Result<(), RequestError> {
        let bit = 1 << field.index();
        if self.0 & bit != 0 {
            return Err(RequestError::Duplicate { field: field.name() });
        }
        self.0 |= bit;
        Ok(())
    }
}
