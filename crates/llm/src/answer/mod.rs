//! What the ledger needs to know of an answer, read while the bytes pass by.
//!
//! [`AnswerTap`](tap::AnswerTap) takes the bytes, a format's reader turns events or the body into a
//! [`Reading`](reading::Reading), and what comes out is a [`summary`].

mod collected;
pub(crate) mod excerpt;
pub(crate) mod originals;
pub(crate) mod pieces;
pub(crate) mod reading;
mod replaced;
pub(crate) mod summary;
pub(crate) mod tap;
pub(crate) mod window;
