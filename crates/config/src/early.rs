//! What must be known of a profile before it is loaded: how everything that happens while loading is said.

use crate::environment::Environment;
use crate::home::Home;
use crate::interpolation::{self, Variables};
use crate::profile::Runtime;
use crate::{legacy, profile_choice, schema, yaml};

/// What holds for a command with this `--profile`. What cannot be read counts as not written; loading will say what is wrong
/// with it.
pub fn runtime_in_force(home: Option<&Home>, profile: Option<&str>, environment: &Environment) -> Runtime {
    let written = home.and_then(|home| written(home, profile, environment));
    written.unwrap_or_default().overridden(environment, &mut Vec::new())
}

fn written(home: &Home, profile: Option<&str>, environment: &Environment) -> Option<Runtime> {
    let path = profile_choice::choose(home, profile, environment).ok()?;
    let mut document = yaml::read(&path, "profile").ok()?;
    let lookup = |name: &str| environment.lookup(name).map(str::to_owned);
    let variables = Variables { lookup: &lookup, nested: false, source: "the environment" };
    interpolation::resolve(&mut document, &variables, "profile");
    legacy::modernize(&mut document, &mut Vec::new());
    let mut part = document.part("/runtime")?;
    // Texts that came from variables become switches here.
    schema::validate(&schemars::schema_for!(Runtime).to_value(), &mut part, "profile");
    serde_json::from_value(part.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{LogLevel, OutputFormat};

    #[test]
    fn it_is_read_before_everything_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home::at(directory.path().join(".systemprompt"));
        let file = home.profile_file("local");
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("writable");
        // Much is wrong with this profile, but not what is asked for here.
        let text =
            "name: other\nserver: 7\nruntime: {output_format: pretty, log_level: verbose, no_color: '${PLAIN}'}\n";
        std::fs::write(&file, text).expect("writable");
        let environment = Environment::from([("PLAIN", "true"), ("SYSTEMPROMPT_LOG_LEVEL", "quiet")]);
        let runtime = runtime_in_force(Some(&home), None, &environment);
        assert_eq!((runtime.output_format, runtime.log_level), (OutputFormat::Text, LogLevel::Quiet));
        assert!(runtime.no_color);
        assert_eq!(runtime_in_force(Some(&home), Some("none"), &Environment::default()), Runtime::default());
        assert_eq!(runtime_in_force(None, None, &Environment::default()), Runtime::default());
    }
}
