//! Numbers of the command line. Each has bounds that its refusal names, so that nothing that computes with one overflows.

use std::ops::RangeInclusive;

/// Most rows of a list.
pub(crate) const ROWS: RangeInclusive<u64> = 1..=1000;
/// Rows that may be left out.
pub(crate) const OFFSET: RangeInclusive<u64> = 0..=1_000_000_000;
/// A port that clients can be pointed at.
pub(crate) const PORT: RangeInclusive<u64> = 1..=65_535;
/// A wait in seconds: at most a day.
pub(crate) const WAIT: RangeInclusive<u64> = 0..=86_400;
/// A lifetime in days: at most a hundred years.
pub(crate) const DAYS: RangeInclusive<u64> = 1..=36_500;

/// Reads a whole number that lies within the bounds. `T` holds all of them.
pub(crate) fn within<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("it must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, CommandFactory as _, error::ErrorKind};

    use crate::commands::Cli;
    use crate::moment::Moment;

    /// Numbers that no argument may take without a word about its bounds, or that some may.
    const EXTREMES: [&str; 12] = [
        "-1",
        "-9223372036854775808",
        "0",
        "1",
        "65536",
        "100000000",
        "2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999999999",
    ];

    fn kind(argument: &Arg) -> Option<&'static str> {
        let id = argument.get_value_parser().type_id();
        let is_number = [
            std::any::TypeId::of::<u16>(),
            std::any::TypeId::of::<u32>(),
            std::any::TypeId::of::<u64>(),
            std::any::TypeId::of::<usize>(),
            std::any::TypeId::of::<i64>(),
        ];
        if is_number.iter().any(|number| id == *number) {
            Some("number")
        } else if id == std::any::TypeId::of::<Moment>() {
            Some("moment")
        } else {
            None
        }
    }

    /// What the real parser says to a value, with nothing else given.
    fn refusal(path: &[String], argument: &Arg, value: &str) -> Option<String> {
        let mut line = path.to_vec();
        if let Some(long) = argument.get_long() {
            line.push(format!("--{long}={value}"));
        } else {
            // The positional ones before it are texts.
            let before = argument.get_index().expect("a positional argument has a place") - 1;
            line.extend(std::iter::repeat_n("text".to_owned(), before));
            line.extend(["--".to_owned(), value.to_owned()]);
        }
        let refused = Cli::command().try_get_matches_from(line).err()?;
        // Something else that is missing is said after the values were read.
        (refused.kind() != ErrorKind::MissingRequiredArgument).then(|| refused.to_string())
    }

    fn walk(command: &Command, path: &[String], check: &mut impl FnMut(&[String], &Arg)) {
        let path = [path, &[command.get_name().to_owned()]].concat();
        for argument in command.get_arguments() {
            check(&path, argument);
        }
        for below in command.get_subcommands() {
            walk(below, &path, check);
        }
    }

    #[test]
    fn every_number_and_every_time_of_the_command_line_has_bounds_that_its_refusal_names() {
        let mut root = Cli::command();
        root.build();
        let mut seen = Vec::new();
        walk(&root, &[], &mut |path, argument| {
            let Some(kind) = kind(argument) else { return };
            let name = format!("{} {}", path.join(" "), argument.get_id());
            if kind == "number" {
                for value in EXTREMES {
                    let Some(refusal) = refusal(path, argument, value) else { continue };
                    assert!(refusal.contains("it must be a whole number from "), "{name} {value}: {refusal}");
                }
                for value in ["-1", "18446744073709551615", "99999999999999999999999999"] {
                    assert!(refusal(path, argument, value).is_some(), "{name} takes {value}");
                }
            } else {
                let extremes =
                    EXTREMES.iter().flat_map(|number| ["s", "m", "h", "d"].map(|unit| format!("{number}{unit}")));
                let years = ["-262143-01-01", "+262142-12-31", "0000-01-01T00:00:00Z", "9999-12-31"].map(str::to_owned);
                for value in extremes.chain(years) {
                    let Some(refusal) = refusal(path, argument, &value) else { continue };
                    assert!(
                        refusal.contains("from 1970 to 9999") || refusal.contains("is not a time"),
                        "{name} {value}: {refusal}"
                    );
                }
                for value in ["9223372036854775807d", "100000000d", "0000-01-01T00:00:00Z"] {
                    assert!(
                        refusal(path, argument, value).is_some_and(|text| text.contains("from 1970 to 9999")),
                        "{name} takes {value}"
                    );
                }
            }
            seen.push(name);
        });
        for known in [
            "systemprompt up port",
            "systemprompt infra services stop timeout",
            "systemprompt admin users api-key issue expires_in_days",
            "systemprompt infra db migrate-down count",
            "systemprompt infra logs view since",
        ] {
            assert!(seen.iter().any(|name| name == known), "{known} is not among {seen:?}");
        }
    }
}
