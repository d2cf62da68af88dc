//! What is found of texts in which credentials leak, and what is not in texts in which there is none.

mod files;
mod hidden;
mod many;
mod more_files;
mod places;
mod quiet;
mod recall;
mod vendors;
