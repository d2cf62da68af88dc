//! Keys that are known to be none: those everybody may see, and those vendors print in their documentation.

use crate::words::random_part;

/// Keys that are meant to be seen by everybody: they stand in web pages and apps.
const PUBLISHABLE: [&[u8]; 10] = [
    b"pk_test_",
    b"pk_live_",
    b"pk.eyJ",
    b"sb_publishable_",
    b"phc_",
    b"pub_",
    b"pub-",
    b"publishable_",
    b"pub_test_",
    // What Django gives a new project, to be replaced before anybody sees it.
    b"django-insecure-",
];

/// Credentials, or long beginnings of credentials, that vendors print in their documentation and sample code. In two
/// parts, so that nobody's scan takes this list for a leak.
const DOCUMENTED: [[&str; 2]; 34] = [
    ["h480djs", "93hd8"],
    // Stripe's test keys
    ["sk_test_", "4eC39HqLyjWDarjtT1zdp7dc"],
    ["sk_test_", "BQokikJOvBiI2HlWgH4olfQ2"],
    ["sk_test_", "tR3PYbcVNZZ796tH88S4VQ2u"],
    ["sk_test_", "26PHem9AhJZvU623DfE1x4sd"],
    // GitHub's
    ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"],
    ["gho_", "16C7e42F292c6912E7710c838347Ae178B4a"],
    ["ghu_", "16C7e42F292c6912E7710c838347Ae178B4a"],
    // Slack's
    ["xoxb-", "17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"],
    ["xoxb-", "1234-56789abcdefghijklmnop"],
    ["xoxp-", "23984754863-2348975623103"],
    // Mailgun's
    ["key-", "3ax6xnjp29jd6fds4gc373sgvjxteol0"],
    // SendGrid's
    ["SG.", "ngeVfQFYQlKU0ufo8x5d1A"],
    // The RFCs of OAuth, of JSON Web Keys and of Basic authentication
    ["2YotnFZFEjr1z", "CsicMWpAA"],
    ["tGzv3JOkF0XG5", "Qx2TlKWIA"],
    ["mF_9.B5f-4.", "1JqM"],
    ["SlAV32hkKG", ""],
    ["ad180jjd", "733klru7"],
    ["0685bd91", "84jfhq22"],
    ["gX1fBa", "t3bV"],
    ["7Fjfp0ZBr1Kt", "DRbnfVdmIw"],
    ["vF9dft4qmTc2Nvb3R", "lckBhdHRhdmlzdGEuY29tCg"],
    ["AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ", "-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"],
    ["870MB6gfuTJ4HtUnUvYMyJ", "pr5eUZNP4Bk43bVdj3eAE"],
    ["GawgguFyGr", "WKav7AX4VKUg"],
    ["open ", "sesame"],
    ["dpf43f3p", "2l4k3l03"],
    ["kd94hf93", "k423kf44"],
    ["nnch734d", "00sl2jdk"],
    ["pfkkdhi9", "sl3r4s00"],
    // Those of the emulators of Azure Storage and Cosmos DB
    ["Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6I", "FsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw"],
    ["C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2n", "Q9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw"],
    // Those of AWS, which people use without the word in them
    ["wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY"],
    ["je7MtGbClwBF/2Zp9Utk/", "h3yCo8nvbEXAMPLEKEY"],
];

/// Whether `value` is meant to be public.
pub(crate) fn is_publishable(value: &[u8]) -> bool {
    PUBLISHABLE.iter().any(|beginning| value.starts_with(beginning))
}

/// Whether a token of unknown form was written by somebody, or is printed in documentation.
pub(crate) fn is_made_up(token: &[u8]) -> bool {
    is_documented(token) || random_part(token).len() * 2 < token.len()
}

/// Whether `key` is printed in documentation.
pub(crate) fn is_documented(key: &[u8]) -> bool {
    DOCUMENTED.iter().any(|[prefix, rest]| {
        let after = key.strip_prefix(prefix.as_bytes()).and_then(|key| key.strip_prefix(rest.as_bytes()));
        after.is_some_and(|after| after.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
    })
}
