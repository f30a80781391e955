//! Words as a client wants to see them: redacted, without fillers, formatted, with replacements of its own, with profanity masked. Pure.
//!
//! What it does: changes words after they were recognised, the same in interim and final results and in files, and finds what is looked for in
//! them. What it does not do: join words across results. Who calls it: live results, the assembly of files.

use super::redact::{Memory, Redaction, Span, Stage};
use super::run::{bare, drop_word, ending, opening, overlap};
use super::search::{Query, search};
use super::words::Word;
use crate::wire::Seconds;
use crate::wire::changes::{Format, WordChanges};
use crate::wire::results as wire;

/// Fillers that are left out unless they are asked for (contract 7.4).
const FILLERS: [&str; 2] = ["uh", "um"];

/// English words that are masked, in order.
const PROFANITY: [&str; 42] = [
    "arse",
    "arsehole",
    "ass",
    "asses",
    "asshole",
    "assholes",
    "bastard",
    "bastards",
    "bitch",
    "bitches",
    "bollocks",
    "bullshit",
    "cock",
    "cocks",
    "crap",
    "cunt",
    "cunts",
    "damn",
    "dick",
    "dickhead",
    "dicks",
    "fuck",
    "fucked",
    "fucker",
    "fuckers",
    "fucking",
    "fucks",
    "goddamn",
    "motherfucker",
    "motherfuckers",
    "motherfucking",
    "piss",
    "pissed",
    "prick",
    "pricks",
    "pussy",
    "shit",
    "shits",
    "shitty",
    "slut",
    "twat",
    "wanker",
];

/// What is to be done to the words of a request.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    punctuate: bool,
    redaction: Redaction,
    fillers: bool,
    format: Format,
    mask: bool,
    replacements: Vec<Replacement>,
    queries: Vec<Query>,
    entities: bool,
}

/// Words as a client sees them, and what was found in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// The words.
    pub words: Vec<wire::Word>,
    /// What was looked for; `None`: nothing was.
    pub search: Option<Vec<wire::Search>>,
    /// What the words are about; `None`: that was not asked for.
    pub entities: Option<Vec<wire::Entity>>,
}

/// Words in a row, and what stands in their place.
#[derive(Clone, Debug)]
struct Replacement {
    find: Vec<String>,
    /// The capitals count.
    exact: bool,
    with: Vec<String>,
}

impl Rewrite {
    /// As the request asks; `punctuate`: also as the model wrote them.
    pub fn new(changes: &WordChanges, punctuate: bool) -> Self {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut replacements: Vec<Replacement> = changes
            .replace
            .iter()
            .map(|(find, with)| Replacement {
                find: split(find),
                exact: find.chars().any(char::is_uppercase),
                with: split(with),
            })
            .filter(|replacement| !replacement.find.is_empty())
            .collect();
        // Capitals win over lower case, longer phrases over shorter ones.
        replacements.sort_by_key(|replacement| std::cmp::Reverse((replacement.exact, replacement.find.len())));
        Self {
            punctuate,
            redaction: Redaction::new(&changes.redact, changes.entities).in_asterisks(changes.asterisks),
            fillers: changes.filler_words,
            format: changes.format,
            mask: changes.profanity_filter,
            replacements,
            queries: changes.search.iter().map(|query| Query::new(query)).collect(),
            entities: changes.entities,
        }
    }

    /// The same, with or without numbers in digits.
    pub fn with_numerals(&self, numerals: bool) -> Self {
        let format = Format { numerals, ..self.format };
        Self { format, ..self.clone() }
    }

    /// The words as messages and responses show them. `memory`: what was redacted before in the stream; of interims a copy.
    pub fn shown(&self, words: &[Word], memory: &mut Memory, stage: Stage) -> Shown {
        let said = words.iter().map(|word| word.to_wire(self.punctuate)).collect();
        let redacted = self.redaction.words(said, memory, stage);
        let spoken = self.without_fillers(redacted.words);
        let words = self.replaced(self.format.words(spoken.clone()));
        let search = (!self.queries.is_empty()).then(|| search(&self.queries, &spoken, &words));
        let entities = self.entities.then(|| {
            let unformatted = self.replaced(spoken);
            let entity = |span: &Span| entity(span, &words, &unformatted);
            redacted.entities.iter().filter_map(entity).collect()
        });
        Shown { words, search, entities }
    }

    fn without_fillers(&self, words: Vec<wire::Word>) -> Vec<wire::Word> {
        let mut shown: Vec<wire::Word> = Vec::with_capacity(words.len());
        for word in words {
            if !self.fillers && FILLERS.contains(&word.word.as_str()) {
                drop_word(&word, &mut shown);
            } else {
                shown.push(word);
            }
        }
        shown
    }

    /// With the client's replacements, and profanity masked where nothing was replaced.
    fn replaced(&self, mut rest: Vec<wire::Word>) -> Vec<wire::Word> {
        let mut shown: Vec<wire::Word> = Vec::with_capacity(rest.len());
        rest.reverse();
        while let Some(mut word) = rest.pop() {
            if let Some((count, replacement)) = self.replacement(&word, &rest) {
                let others = rest.split_off(rest.len() - (count - 1));
                let last = others.first().unwrap_or(&word).clone();
                replace(&word, &last, &others, &replacement.with, &mut shown);
                continue;
            }
            if self.mask && PROFANITY.binary_search(&word.word.as_str()).is_ok() {
                mask(&mut word);
            }
            shown.push(word);
        }
        shown
    }

    /// The replacement that begins with `word`, and how many words it takes; `rest`: those that follow, the next one last.
    fn replacement(&self, word: &wire::Word, rest: &[wire::Word]) -> Option<(usize, &Replacement)> {
        let fits = |replacement: &&Replacement| {
            let words = std::iter::once(word).chain(rest.iter().rev());
            replacement.find.len() <= rest.len() + 1
                && replacement
                    .find
                    .iter()
                    .zip(words)
                    .all(|(find, word)| matches(find, word, replacement.exact))
        };
        self.replacements
            .iter()
            .find(fits)
            .map(|replacement| (replacement.find.len(), replacement))
    }
}

/// What `words` show of a span, and what they would have shown without formatting. `None`: nothing is left of it.
fn entity(span: &Span, words: &[wire::Word], unformatted: &[wire::Word]) -> Option<wire::Entity> {
    let range = overlap(words, span.start, span.end);
    let run = words.get(range.clone())?;
    let spoken = unformatted.get(overlap(unformatted, span.start, span.end))?;
    let (first, last) = (run.first()?, run.last()?);
    let parts: Vec<&str> = run.iter().map(|word| within(word, word == first, word == last)).collect();
    let as_formatted = run.iter().map(|word| word.word.as_str());
    let as_spoken: Vec<&str> = spoken.iter().map(|word| word.word.as_str()).collect();
    Some(wire::Entity {
        label: span.label,
        value: parts.join(" "),
        raw_value: (!as_formatted.eq(as_spoken.iter().copied())).then(|| as_spoken.join(" ")),
        confidence: run.iter().map(|word| word.confidence).fold(first.confidence, f32::min),
        start_word: range.start,
        end_word: range.end,
    })
}

/// A word as it is written, without the punctuation before what it is the first of, and behind what it is the last of.
fn within(word: &wire::Word, is_first: bool, is_last: bool) -> &str {
    // The brackets of a token are its own.
    let Some(written) = word.punctuated_word.as_deref().filter(|_| !word.word.starts_with('[')) else {
        return &word.word;
    };
    let begin = if is_first { opening(word).len() } else { 0 };
    let end = written.len() - if is_last { ending(word).len() } else { 0 };
    written.get(begin..end).unwrap_or(&word.word)
}

fn matches(find: &str, word: &wire::Word, exact: bool) -> bool {
    match (&word.punctuated_word, exact) {
        (Some(punctuated), true) => bare(punctuated) == bare(find),
        (None, true) => word.word == find,
        // What was formatted may have signs at its ends: "50%".
        (_, false) => [bare(find), find].iter().any(|find| word.word == find.to_lowercase()),
    }
}

/// Puts `with` in the place of the words from `first` to `last`: their time is divided evenly, the lowest confidence holds for all.
fn replace(first: &wire::Word, last: &wire::Word, others: &[wire::Word], with: &[String], shown: &mut Vec<wire::Word>) {
    if with.is_empty() {
        drop_word(last, shown);
        return;
    }
    let (start, end) = (first.start.0, last.end.0);
    let confidence = others.iter().map(|word| word.confidence).fold(first.confidence, f32::min);
    let parts = f64::from(u32::try_from(with.len()).unwrap_or(u32::MAX));
    let mut from = start;
    for (n, text) in (1_u32..).zip(with) {
        let to = start + (end - start) * f64::from(n) / parts;
        let is_last = f64::from(n) >= parts;
        shown.push(wire::Word {
            word: text.clone(),
            start: Seconds(from),
            end: Seconds(if is_last { end } else { to }),
            confidence,
            punctuated_word: first
                .punctuated_word
                .as_ref()
                .map(|_| format!("{text}{}", if is_last { ending(last) } else { "" })),
        });
        from = to;
    }
}

/// Asterisks, as many as the word has letters. Punctuation stays.
fn mask(word: &mut wire::Word) {
    let stars = "*".repeat(word.word.chars().count());
    if let Some(written) = &mut word.punctuated_word {
        *written = written.replacen(bare(written).to_owned().as_str(), &stars, 1);
    }
    word.word = stars;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use super::*;
    use crate::units::Samples;

    fn changes(replace: &[(&str, &str)]) -> WordChanges {
        WordChanges {
            filler_words: false,
            profanity_filter: true,
            redact: Vec::new(),
            replace: replace
                .iter()
                .map(|(find, with)| ((*find).to_owned(), (*with).to_owned()))
                .collect(),
            ..WordChanges::default()
        }
    }

    /// Words of a second each, without pauses.
    fn spoken(text: &str) -> Vec<Word> {
        let word = |(n, text): (usize, &str)| Word {
            text: text.to_owned(),
            start: Samples(n as u64 * 16_000),
            end: Samples((n as u64 + 1) * 16_000),
            confidence: 0.9 - n as f32 * 0.01,
            first: n,
        };
        text.split_whitespace().enumerate().map(word).collect()
    }

    fn whole(rewrite: &Rewrite, text: &str) -> Vec<wire::Word> {
        rewrite.shown(&spoken(text), &mut Memory::default(), Stage::Whole).words
    }

    fn shown(changes: &WordChanges, text: &str, punctuate: bool) -> String {
        let words = whole(&Rewrite::new(changes, punctuate), text);
        let one = |word: &wire::Word| word.punctuated_word.clone().unwrap_or_else(|| word.word.clone());
        words.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fillers_are_left_out_unless_asked_for() {
        let keep = WordChanges {
            filler_words: true,
            ..WordChanges::default()
        };
        for (text, without) in [
            ("um i uh think so", "i think so"),
            ("Um, I think, uh, so.", "I think, so."),
            ("I think so, um.", "I think so,"),
            ("I think so um.", "I think so."),
            ("uh-huh mhmm umbrella hum", "uh-huh mhmm umbrella hum"),
            ("um", ""),
        ] {
            assert_eq!(shown(&WordChanges::default(), text, true), without);
            assert_eq!(shown(&keep, text, true), text);
        }
    }

    #[test]
    fn profanity_becomes_as_many_asterisks_as_it_has_letters() {
        assert_eq!(
            shown(&changes(&[]), "oh shit, this is Fucking great", true),
            "oh ****, this is ******* great"
        );
        assert_eq!(shown(&changes(&[]), "Damn! what the crap", false), "**** what the ****");
        assert_eq!(
            shown(&changes(&[]), "scunthorpe cocktail classic assess shitake", false),
            "scunthorpe cocktail classic assess shitake"
        );
        assert_eq!(shown(&WordChanges::default(), "oh shit", false), "oh shit");
        assert!(PROFANITY.is_sorted());
        assert_eq!(whole(&Rewrite::new(&changes(&[]), true), "\u{201c}Shit!\u{201d}")[0].word, "****");
    }

    #[test]
    fn what_is_redacted_is_gone_before_anything_else_is_done_to_it() {
        let redact = WordChanges {
            redact: vec!["numbers".to_owned()],
            ..changes(&[("five five five", "shown")])
        };
        assert_eq!(shown(&redact, "call Five, um, five five.", true), "call [NUMERICAL_PII_1].");
        assert_eq!(shown(&redact, "um call five", true), "call five");
    }

    #[test]
    fn asterisks_stand_for_the_words_that_are_redacted_where_the_server_wants_them() {
        let stars = WordChanges {
            redact: vec!["numbers".to_owned()],
            asterisks: true,
            ..changes(&[])
        };
        assert_eq!(shown(&stars, "call Five, five five five. Now", true), "call ****. Now");
        assert_eq!(shown(&stars, "call five five five", false), "call ***");
    }

    #[test]
    fn words_and_phrases_are_replaced() {
        for (rules, text, wanted) in [
            (
                &[("monica", "Veronica")][..],
                "hello Monica, how are you",
                "hello Veronica, how are you",
            ),
            (&[("credit card", "card")], "my Credit card, it is lost", "my card, it is lost"),
            (
                &[("dept", "department of health")],
                "the dept. called",
                "the department of health. called",
            ),
            (&[("please", "")], "wait please. and go", "wait. and go"),
            (
                &[("hark", "Hark"), ("HARK", "the engine")],
                "hark and HARK and Hark",
                "Hark and the engine and Hark",
            ),
            (&[("new", "old"), ("new york", "NYC")], "new york is new", "NYC is old"),
            (&[("a b c", "x")], "a b a b c", "a b x"),
            (&[("call", "ring")], "recall the call", "recall the ring"),
            (&[("shit", "fuck")], "shit", "fuck"),
        ] {
            assert_eq!(shown(&changes(rules), text, true), wanted, "{rules:?}");
        }
    }

    #[test]
    fn times_of_a_phrase_are_divided_evenly_among_what_takes_its_place() {
        let words = whole(&Rewrite::new(&changes(&[("new york", "the big apple city")]), true), "in new york.");
        let times: Vec<(f64, f64)> = words.iter().map(|word| (word.start.0, word.end.0)).collect();
        assert_eq!(times, [(0.0, 1.0), (1.0, 1.5), (1.5, 2.0), (2.0, 2.5), (2.5, 3.0)]);
        assert_eq!(words[4].punctuated_word.as_deref(), Some("city."));
        assert!(words[1..].iter().all(|word| (word.confidence - 0.88).abs() < 1e-6));
    }

    #[test]
    fn formatting_comes_after_fillers_and_before_replacements() {
        let format = Format {
            smart: true,
            ..Format::default()
        };
        let changes = WordChanges {
            format,
            ..changes(&[("25%", "a quarter"), ("$5", "a fiver"), ("twenty", "score")])
        };
        assert_eq!(
            shown(&changes, "twenty, uh, five dollars or Twenty um five percent, shit.", true),
            "20, a fiver or a quarter, ****."
        );
    }

    /// Label, value, how it was spoken, first word and the one behind the last.
    fn told(changes: &WordChanges, text: &str) -> Vec<(String, String, Option<String>, usize, usize)> {
        let changes = WordChanges {
            entities: true,
            ..changes.clone()
        };
        let shown = Rewrite::new(&changes, true).shown(&spoken(text), &mut Memory::default(), Stage::Whole);
        let row = |entity: wire::Entity| {
            (
                entity.label.to_owned(),
                entity.value,
                entity.raw_value,
                entity.start_word,
                entity.end_word,
            )
        };
        shown.entities.unwrap().into_iter().map(row).collect()
    }

    fn entity(label: &str, value: &str, raw: &str, words: std::ops::Range<usize>) -> (String, String, Option<String>, usize, usize) {
        let raw = (!raw.is_empty()).then(|| raw.to_owned());
        (label.to_owned(), value.to_owned(), raw, words.start, words.end)
    }

    #[test]
    fn entities_are_told_by_the_words_that_are_shown() {
        let smart = WordChanges {
            format: Format {
                smart: true,
                ..Format::default()
            },
            ..WordChanges::default()
        };
        let phone = "five five five one two three four";
        assert_eq!(
            told(&WordChanges::default(), "My name is John Smith, and hello."),
            [entity("NAME", "John Smith", "", 3..5)]
        );
        assert_eq!(
            told(&smart, &format!("um call {phone}, please")),
            [entity("PHONE_NUMBER", "555-1234", phone, 1..2)]
        );
        assert_eq!(
            told(&smart, "at eight thirty pm. Table"),
            [entity("TIME", "8:30 PM", "eight thirty pm", 1..2)]
        );
        assert!(told(&smart, "nothing at all").is_empty());
    }

    #[test]
    fn what_is_redacted_is_told_as_its_token_and_in_no_other_way() {
        let hidden = WordChanges {
            redact: vec!["phone_number".to_owned()],
            format: Format {
                smart: true,
                ..Format::default()
            },
            search: vec!["five five".to_owned(), "call".to_owned()],
            entities: true,
            ..WordChanges::default()
        };
        let said = "call five five five one two three four.";
        assert_eq!(told(&hidden, said), [entity("PHONE_NUMBER", "[PHONE_NUMBER_1]", "", 1..2)]);
        let shown = Rewrite::new(&hidden, true).shown(&spoken(said), &mut Memory::default(), Stage::Whole);
        let search = shown.search.unwrap();
        assert!(search[0].hits.is_empty(), "{search:?}");
        assert_eq!(search[1].hits[0].snippet, "call");
    }

    #[test]
    fn an_entity_that_was_replaced_or_left_out_has_the_words_in_its_place() {
        assert_eq!(
            told(&changes(&[("john", "the caller")]), "my name is john and so on"),
            [entity("NAME", "the caller", "", 3..5)]
        );
        assert!(told(&changes(&[("john", "")]), "my name is john and so on").is_empty());
    }

    #[test]
    fn nothing_is_looked_for_unless_asked() {
        let shown = Rewrite::new(&WordChanges::default(), true).shown(&spoken("my name is john"), &mut Memory::default(), Stage::Whole);
        assert_eq!((shown.search, shown.entities), (None, None));
    }

    #[test]
    fn numerals_are_switched_and_nothing_else() {
        let rewrite = Rewrite::new(&changes(&[("cats", "dogs")]), true);
        let text = |rewrite: &Rewrite| {
            let words = whole(rewrite, "twenty five cats, shit");
            words
                .into_iter()
                .filter_map(|word| word.punctuated_word)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(text(&rewrite), "twenty five dogs, ****");
        assert_eq!(text(&rewrite.with_numerals(true)), "25 dogs, ****");
        assert_eq!(text(&rewrite.with_numerals(true).with_numerals(false)), "twenty five dogs, ****");
    }
}
