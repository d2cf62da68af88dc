//! Words told from letters that a generator chose, by which letters follow which.

/// How often a letter (the place in a row) follows another (the row), as the logarithm to the base of two of how many times
/// more often than by chance, and six. Counted in the words and names of a thousand files of prose and source code.
const FOLLOWS: [&[u8; 26]; 26] = [
    b"36762463615867162878544452",
    b"85657433853854752675731163",
    b"83548427617653842658632140",
    b"75469443832644743665643341",
    b"64785552413668454887354631",
    b"74557742922744843766733252",
    b"74449457712657642774743133",
    b"83459323824554832656623152",
    b"65766560213669752677161406",
    b"86548445746445845575845453",
    b"74569554833646544585636343",
    b"73469422803734841366542172",
    b"86459322813563781365622132",
    b"73777583725435641378552142",
    b"45663552525679660866756322",
    b"83448435704733762867623150",
    b"54566545655745346664945453",
    b"83669452805465740676643150",
    b"63638446814554663478733251",
    b"73549427801543751776633262",
    b"66656552611778461777322323",
    b"84439343812344644444343333",
    b"85458547833537733775434433",
    b"65767634733553572458443953",
    b"65567554733677683587455355",
    b"75559444833454744454544556",
];
/// As many letters at least tell whether they are a word.
const SHORTEST: usize = 4;

/// How many of the bytes of `text` are words, or parts of words.
pub(crate) fn of_words(text: &[u8]) -> usize {
    text.chunk_by(|left, right| goes_on(*left, *right)).filter(|run| is_word(run)).map(<[u8]>::len).sum()
}

/// Whether the letters follow each other as in words.
pub(crate) fn is_word(letters: &[u8]) -> bool {
    if letters.len() < SHORTEST || !letters[0].is_ascii_alphabetic() {
        return false;
    }
    let follows = |pair: &[u8]| {
        let [left, right] = [pair[0], pair[1]].map(|letter| usize::from(letter.to_ascii_lowercase() - b'a'));
        i32::from(FOLLOWS[left][right] - b'0') - 6
    };
    letters.windows(2).map(follows).sum::<i32>() > 0
}

/// Whether both are letters of one word: `HTTPServer` is two.
fn goes_on(left: u8, right: u8) -> bool {
    left.is_ascii_alphabetic()
        && right.is_ascii_alphabetic()
        && !(left.is_ascii_lowercase() && right.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::made_of;

    #[test]
    fn words_are_told_from_random_letters() {
        for word in ["password", "configuration", "Passphrase", "staple", "HELLO", "user", "administrator"] {
            assert!(is_word(word.as_bytes()), "{word}");
        }
        let alphabet = "abcdefghijklmnopqrstuvwxyz";
        let taken = (1..=1000).filter(|&salt| is_word(made_of(alphabet, 10, salt).as_bytes())).count();
        assert!(taken < 60, "{taken} of 1000 random texts");
        assert_eq!(of_words(b"correct-horse-9x7q"), 12);
    }
}
