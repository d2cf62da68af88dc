//! One file per command group; each command is a function of its arguments and the invocation.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod logs;
pub(crate) mod plugins;
pub(crate) mod reference;
pub(crate) mod services;
pub(crate) mod setup;
pub(crate) mod up;
pub(crate) mod users;
