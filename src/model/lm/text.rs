//! Text as the language models take it: lines one by one, and a line's words as the lexicon compares them.
//!
//! What it does: bounded lines with their numbers; words in lower case without marks. What it does not do: spell numerals or
//! abbreviations out. Who calls it: the readers of ARPA text and of sentences, and whoever scores transcripts.

use std::io::{BufRead, Read};

use super::LmError;

/// Lines that are not empty, with their numbers.
pub(super) struct Lines<R> {
    reader: R,
    longest: u64,
    number: u64,
    /// The line that was read last, without white space at its end.
    pub(super) text: String,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `longest` bytes; a longer one is an error.
    pub(super) fn new(reader: R, longest: u64) -> Self {
        Lines {
            reader,
            longest,
            number: 0,
            text: String::new(),
        }
    }

    /// Moves to the next line that is not empty; false at the end of the text.
    pub(super) fn next(&mut self) -> Result<bool, LmError> {
        loop {
            self.text.clear();
            self.number += 1;
            let mut limited = Read::take(&mut self.reader, self.longest);
            let read = limited.read_line(&mut self.text).map_err(LmError::Read)?;
            if read == 0 {
                return Ok(false);
            }
            if limited.limit() == 0 && !self.text.ends_with('\n') {
                return Err(self.wrong(format!("longer than {} bytes", self.longest)));
            }
            self.text.truncate(self.text.trim_end().len());
            if !self.text.is_empty() {
                return Ok(true);
            }
        }
    }

    /// An error at the line that was read last.
    pub(super) fn wrong(&self, reason: String) -> LmError {
        LmError::Line { line: self.number, reason }
    }
}

/// The words of a line, as the search compares them with what a model writes: letters and digits in lower case, apostrophes only
/// within a word. White space, ASCII punctuation, dashes and ellipses part words; other marks are passed over.
pub fn words(line: &str) -> impl Iterator<Item = String> {
    let parts = |letter: char| {
        letter.is_whitespace() || letter.is_ascii_punctuation() && letter != '\'' || matches!(letter, '\u{2010}'..='\u{2015}' | '\u{2026}')
    };
    line.split(parts).filter_map(|part| {
        let letters: String = part
            .chars()
            .map(|letter| if letter == '\u{2019}' { '\'' } else { letter })
            .filter(|letter| letter.is_alphanumeric() || *letter == '\'')
            .flat_map(char::to_lowercase)
            .collect();
        let word = letters.trim_matches('\'');
        (!word.is_empty()).then(|| word.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_in_lower_case() {
        for (line, wanted) in [
            ("Good morning!", "good morning"),
            (
                "  I'd like a table -- for 2, at half-past seven\u{2026}please.",
                "i'd like a table for 2 at half past seven please",
            ),
            (
                "\u{2018}Don\u{2019}t\u{2019} 'quote' me; rock 'n' roll",
                "don't quote me rock n roll",
            ),
            ("<s> e.g. A&B\tand/or", "s e g a b and or"),
            (
                "\u{201c}Stra\u{df}e\u{201d} \u{c4}RGER\u{2014}na\u{ef}ve",
                "stra\u{df}e \u{e4}rger na\u{ef}ve",
            ),
            ("'' - \u{2026} \u{20ac}", ""),
        ] {
            assert_eq!(words(line).collect::<Vec<_>>().join(" "), wanted, "{line}");
        }
    }
}
