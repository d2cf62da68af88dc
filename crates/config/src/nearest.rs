//! The word someone probably meant.

/// The candidate closest to `word`, if it is close enough to be a slip of the keyboard.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether `word` is `meant` but for one letter that is missing, wrong, too many, or in the place of its neighbour.
pub fn is_slip(word: &str, meant: &str) -> bool {
    strsim::osa_distance(&word.to_ascii_lowercase(), &meant.to_ascii_lowercase()) <= 1
}

/// The edits between two words, in which letter case does not matter and `-` and `_` are the same.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    strsim::levenshtein(&fold(a), &fold(b))
}

#[cfg(test)]
mod tests {
    use super::{is_slip, nearest};

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["host", "port", "use_https", "api_external_url", "cors_allowed_origins"];
        for (word, expected) in [
            ("prot", Some("port")),
            ("use-https", Some("use_https")),
            ("UseHttps", Some("use_https")),
            ("api_extrenal_url", Some("api_external_url")),
            ("cors_origins", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    #[test]
    fn a_slip_is_one_letter() {
        for (word, meant, expected) in [
            ("usr", "user", true),
            ("users", "user", true),
            ("amdin", "admin", true),
            ("Admin", "admin", true),
            ("tester", "user", false),
            ("intern", "user", false),
        ] {
            assert_eq!(is_slip(word, meant), expected, "{word}");
        }
    }
}
