//! The `systemprompt` binary: every built-in feature, and the command line.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    systemprompt::__force_extension_link();
    systemprompt::cli::run().await
}
