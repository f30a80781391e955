//! Words to sentences and paragraphs. Pure.
//!
//! What it does: ends sentences at `.`, `?` and `!`, and paragraphs where a sentence is followed by a long pause or is the fifth (contract 2.6).
//! Words without any such mark, as of a model that writes no punctuation, have a sentence for each stretch without a pause. What it does not
//! do: understand; "Mr. Smith" is two sentences. Who calls it: the assembly of files.

use super::run::{ends_sentence, written};
use crate::wire::prerecorded::{Paragraph, Paragraphs, Sentence};
use crate::wire::results::Word;

/// Pause after a sentence that ends a paragraph, in seconds.
const PARAGRAPH_PAUSE_S: f64 = 2.0;
/// Pause that ends a sentence where there is no punctuation, in seconds; as much as divides utterances unless a client says otherwise.
const SENTENCE_PAUSE_S: f64 = 0.8;
/// Sentences that a paragraph has at most.
const MOST_SENTENCES: usize = 5;

/// The words of a channel in paragraphs.
pub fn paragraphs(words: &[Word]) -> Paragraphs {
    let punctuated = words.iter().any(ends_sentence);
    let goes_on = |a: &Word, b: &Word| {
        if punctuated {
            !ends_sentence(a)
        } else {
            pause(a, b) < SENTENCE_PAUSE_S
        }
    };
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let mut before: Option<&Word> = None;
    for words in words.chunk_by(goes_on) {
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            continue;
        };
        let sentence = Sentence {
            text: written(words),
            start: first.start,
            end: last.end,
        };
        let after_pause = before.is_some_and(|before| pause(before, first) > PARAGRAPH_PAUSE_S);
        before = Some(last);
        match paragraphs.last_mut() {
            Some(open) if !after_pause && open.sentences.len() < MOST_SENTENCES => {
                open.num_words += words.len();
                open.end = sentence.end;
                open.sentences.push(sentence);
            }
            _ => paragraphs.push(Paragraph {
                num_words: words.len(),
                start: sentence.start,
                end: sentence.end,
                sentences: vec![sentence],
            }),
        }
    }
    let texts: Vec<String> = paragraphs.iter().map(text).collect();
    Paragraphs {
        transcript: format!("\n{}", texts.join("\n\n")),
        paragraphs,
    }
}

/// Seconds between two words.
fn pause(a: &Word, b: &Word) -> f64 {
    b.start.0 - a.end.0
}

fn text(paragraph: &Paragraph) -> String {
    let sentences: Vec<&str> = paragraph.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    sentences.join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use super::*;
    use crate::wire::Seconds;

    /// Words of half a second without pauses, but that a number is as many seconds of pause.
    fn words(text: &str) -> Vec<Word> {
        let mut at = 0.0;
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            if let Ok(pause) = word.parse::<f64>() {
                at += pause;
                continue;
            }
            words.push(Word {
                word: word.trim_matches(['.', ',', '?', '!', '"']).to_lowercase(),
                start: Seconds(at),
                end: Seconds(at + 0.5),
                confidence: 0.9,
                punctuated_word: Some(word.to_owned()),
            });
            at += 0.5;
        }
        words
    }

    /// Sentences in bars, paragraphs in a row.
    fn shown(text: &str) -> Vec<String> {
        let one = |paragraph: &Paragraph| {
            let sentences: Vec<&str> = paragraph.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
            sentences.join(" | ")
        };
        paragraphs(&words(text)).paragraphs.iter().map(one).collect()
    }

    #[test]
    fn sentences_end_at_marks_and_paragraphs_at_pauses_or_after_five() {
        for (text, wanted) in [
            ("Hello.", &["Hello."][..]),
            ("", &[]),
            ("Hello there. How are you? Fine!", &["Hello there. | How are you? | Fine!"]),
            ("He said \"no.\" Then he left", &["He said \"no.\" | Then he left"]),
            ("Hello there. 2 How are you?", &["Hello there. | How are you?"]),
            ("Hello there. 2.1 How are you?", &["Hello there.", "How are you?"]),
            ("Hello, 3 there. How", &["Hello, there. | How"]),
            ("a. b. c. d. e. f. g.", &["a. | b. | c. | d. | e.", "f. | g."]),
            (
                "a. b. c. d. 3 e. f. g. h. i. j.",
                &["a. | b. | c. | d.", "e. | f. | g. | h. | i.", "j."],
            ),
            ("at 8:37 p.m. they came. Late.", &["at 8:37 p.m. they came. | Late."]),
            // Without punctuation.
            ("hello there 0.7 how are 0.9 you", &["hello there how are | you"]),
            ("hello there 2.1 how are you", &["hello there", "how are you"]),
            ("a 1 b 1 c 1 d 1 e 1 f", &["a | b | c | d | e", "f"]),
        ] {
            assert_eq!(shown(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_paragraph_has_the_times_and_number_of_its_words() {
        let found = paragraphs(&words("1 Hello there. How are you? 3 Fine."));
        assert_eq!(found.transcript, "\nHello there. How are you?\n\nFine.");
        let times = |n: usize| {
            (
                found.paragraphs[n].start.0,
                found.paragraphs[n].end.0,
                found.paragraphs[n].num_words,
            )
        };
        assert_eq!((times(0), times(1)), ((1.0, 3.5, 5), (6.5, 7.0, 1)));
        let sentence = &found.paragraphs[0].sentences[1];
        assert_eq!((sentence.start.0, sentence.end.0), (2.0, 3.5));
    }

    #[test]
    fn without_words_there_is_a_line_break_alone() {
        let found = paragraphs(&[]);
        assert_eq!((found.transcript.as_str(), found.paragraphs.len()), ("\n", 0));
    }
}
