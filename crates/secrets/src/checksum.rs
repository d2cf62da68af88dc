//! Checksums that vendors put into what they issue: the last six characters are the CRC-32 of the random ones before them,
//! in digits of base 62.
//!
//! A right one proves that a token was issued. A wrong one proves nothing: tokens are shown with a character changed, and a
//! leak of most of one is a leak.

/// How many characters a checksum has.
const LENGTH: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `token`, which fits the rule `id`, has the checksum that this kind has.
pub(crate) fn is_right(id: &str, token: &[u8]) -> bool {
    let has_one = matches!(
        id,
        "github-token-classic"
            | "github-oauth"
            | "github-app-user-to-server"
            | "github-app-server-to-server"
            | "github-refresh"
            | "npm-token"
    );
    let random = token.iter().position(|&byte| byte == b'_').map(|mark| &token[mark + 1..]);
    has_one
        && random
            .and_then(|random| random.split_at_checked(random.len().checked_sub(LENGTH)?))
            .is_some_and(|(random, checksum)| random.len() == 30 && checksum == checksum_of(random).as_slice())
}

/// The checksum of these characters.
pub(crate) fn checksum_of(random: &[u8]) -> [u8; LENGTH] {
    let mut rest = crc32fast::hash(random);
    let mut checksum = [b'0'; LENGTH];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_vendor() {
        // A token that a vendor printed as an example of the format.
        let random = b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
        assert_eq!(&checksum_of(random), b"0mLq17");
        let token = [b"ghp_".as_slice(), random, b"0mLq17"].concat();
        assert!(is_right("github-token-classic", &token));
        assert!(!is_right("github-token-classic", &[b"ghp_".as_slice(), random, b"0mLq18"].concat()));
        assert!(!is_right("gitlab-token", &token));
    }
}
