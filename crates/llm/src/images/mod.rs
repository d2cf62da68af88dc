//! Images that are made.
//!
//! Google's models make images in a conversation, so their requests are like all others (`neutral`,
//! [`ImageOutput`](crate::neutral::ImageOutput)); OpenAI's have an API of their own.

mod order;
pub(crate) mod request;

pub use order::{ImageOrder, MadeImage};
