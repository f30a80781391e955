//! Where words may be what a client looks for. Pure.
//!
//! What it does: compares the letters of what is looked for with those of words in a row, after making alike what sounds alike in English, and
//! returns the likeliest places. What it does not do: listen. It finds what was recognised, not what was only spoken; numbers are found as
//! they are spoken, what was redacted is not found. Time: proportional to the letters of the words, for each query. Who calls it:
//! [`super::rewrite`].

use super::run::overlap;
use crate::wire::changes::MAX_SEARCH_LENGTH;
use crate::wire::results::{Hit, Search, Word};

/// Hits of a query.
const MOST_HITS: usize = 10;
/// How alike a hit is at least.
const LEAST: f32 = 0.5;
/// Ends of words that are looked at closely, those of the likeliest first.
const MOST_ENDS: usize = 200;
/// Letters of a query that count, one for each bit of a mask. Lower case may be longer than what the client wrote.
const MOST_LETTERS: usize = 64;
const _: () = assert!(MAX_SEARCH_LENGTH <= MOST_LETTERS);

/// What a client looks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    text: String,
    forwards: Pattern,
    backwards: Pattern,
}

impl Query {
    pub(super) fn new(text: &str) -> Self {
        let mut letters: Vec<char> = text.split_whitespace().flat_map(sounds).collect();
        letters.truncate(MOST_LETTERS);
        let forwards = Pattern::new(&letters);
        letters.reverse();
        Self {
            text: text.to_owned(),
            forwards,
            backwards: Pattern::new(&letters),
        }
    }
}

/// Where the queries may be in `spoken`; the snippets are of `shown`, the same words as the client sees them.
pub(super) fn search(queries: &[Query], spoken: &[Word], shown: &[Word]) -> Vec<Search> {
    // A token stands for what nobody may look for.
    let is_token = |word: &Word| word.word.starts_with('[');
    let letters: Vec<Vec<char>> = spoken
        .iter()
        .map(|word| if is_token(word) { Vec::new() } else { sounds(&word.word) })
        .collect();
    let hit = |place: &Place| {
        let (start, end) = (spoken.get(place.first)?.start, spoken.get(place.last)?.end);
        let words = shown.get(overlap(shown, start, end)).unwrap_or_default();
        let snippet: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
        Some(Hit {
            confidence: place.likeness,
            start,
            end,
            snippet: snippet.join(" "),
        })
    };
    let found = |query: &Query| Search {
        query: query.text.clone(),
        hits: places(query, &letters).iter().filter_map(hit).collect(),
    };
    queries.iter().map(found).collect()
}

/// Words in a row, and how alike they are to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    first: usize,
    last: usize,
    likeness: f32,
}

/// The likeliest places, none of which overlap.
fn places(query: &Query, letters: &[Vec<char>]) -> Vec<Place> {
    let mut found: Vec<Place> = ends(query, letters)
        .into_iter()
        .filter_map(|last| ending_at(query, letters, last))
        .filter(|place| place.likeness >= LEAST)
        .collect();
    found.sort_by(|a, b| b.likeness.total_cmp(&a.likeness).then(a.first.cmp(&b.first)));
    let mut places: Vec<Place> = Vec::new();
    for place in found {
        let is_apart = places.iter().all(|other| other.last < place.first || place.last < other.first);
        if is_apart && places.len() < MOST_HITS {
            places.push(place);
        }
    }
    places
}

/// The words at whose end something alike may end, the likeliest first. What is alike as a whole is not less so in a part.
fn ends(query: &Query, letters: &[Vec<char>]) -> Vec<usize> {
    let mut scan = Scan::new(&query.forwards, false);
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for (index, word) in letters.iter().enumerate().filter(|(_, word)| !word.is_empty()) {
        word.iter().for_each(|letter| scan.step(*letter));
        if likeness(scan.distance, query.forwards.length) >= LEAST {
            ends.push((scan.distance, index));
        }
    }
    ends.sort_unstable();
    ends.into_iter().take(MOST_ENDS).map(|(_, index)| index).collect()
}

/// The words up to `last` that are most alike.
fn ending_at(query: &Query, letters: &[Vec<char>], last: usize) -> Option<Place> {
    let length = query.backwards.length;
    let mut scan = Scan::new(&query.backwards, true);
    let (mut best, mut taken): (Option<Place>, usize) = (None, 0);
    for (first, word) in letters.iter().enumerate().take(last + 1).rev() {
        // With twice as many letters nothing is alike.
        if taken >= 2 * length {
            break;
        }
        if word.is_empty() {
            continue;
        }
        word.iter().rev().for_each(|letter| scan.step(*letter));
        taken += word.len();
        let likeness = likeness(scan.distance, length);
        if best.is_none_or(|best| likeness > best.likeness) {
            best = Some(Place { first, last, likeness });
        }
    }
    best
}

/// 1 if nothing differs, 0 if as many letters as the query has do.
fn likeness(distance: usize, length: usize) -> f32 {
    let number = |count: usize| f32::from(u16::try_from(count).unwrap_or(u16::MAX));
    if length == 0 {
        return 0.0;
    }
    (1.0 - number(distance) / number(length)).max(0.0)
}

/// Letters and digits of a word, the same for those that sound alike in English: "Catherine" and "Katherine", "fone" and "phone".
fn sounds(word: &str) -> Vec<char> {
    let mut sounds: Vec<char> = Vec::new();
    for letter in word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase) {
        let sound = match letter {
            'c' | 'q' => 'k',
            'z' => 's',
            'y' => 'i',
            other => other,
        };
        match sounds.last().copied() {
            Some('p') if sound == 'h' => {
                sounds.pop();
                sounds.push('f');
            }
            Some(before) if before == sound && sound.is_alphabetic() => {}
            _ => sounds.push(sound),
        }
    }
    sounds
}

/// At which of its places a pattern has which letter, as bits.
#[derive(Clone, Debug)]
struct Pattern {
    masks: Vec<(char, u64)>,
    /// At most 64.
    length: usize,
}

impl Pattern {
    fn new(letters: &[char]) -> Self {
        let mut masks: Vec<(char, u64)> = Vec::new();
        let bits = std::iter::successors(Some(1_u64), |bit| Some(bit << 1));
        for (letter, bit) in letters.iter().zip(bits) {
            match masks.iter_mut().find(|(known, _)| known == letter) {
                Some((_, mask)) => *mask |= bit,
                None => masks.push((*letter, bit)),
            }
        }
        Self {
            masks,
            length: letters.len(),
        }
    }
}

/// The edit distance between a pattern and a text that grows by letters (G. Myers, "A fast bit-vector algorithm for approximate string matching
/// based on dynamic programming", Journal of the ACM 46, 1999): the differences of neighbouring rows are the bits of two numbers.
struct Scan<'a> {
    pattern: &'a Pattern,
    /// Rows that are one more than the row above, and one less.
    more: u64,
    less: u64,
    /// The bit of the last row.
    last: u64,
    /// To the whole text; otherwise to the part of it at the end that is nearest.
    whole: bool,
    distance: usize,
}

impl<'a> Scan<'a> {
    fn new(pattern: &'a Pattern, whole: bool) -> Self {
        Self {
            pattern,
            more: u64::MAX,
            less: 0,
            last: pattern.length.checked_sub(1).map_or(0, |places| 1 << places),
            whole,
            distance: pattern.length,
        }
    }

    fn step(&mut self, letter: char) {
        let equal = self.pattern.masks.iter().find(|(known, _)| *known == letter);
        let equal = equal.map_or(0, |(_, mask)| *mask);
        let vertical = equal | self.less;
        let horizontal = ((equal & self.more).wrapping_add(self.more) ^ self.more) | equal;
        let (up, down) = (self.less | !(horizontal | self.more), self.more & horizontal);
        if up & self.last != 0 {
            self.distance += 1;
        } else if down & self.last != 0 {
            self.distance = self.distance.saturating_sub(1);
        }
        let (up, down) = (up << 1 | u64::from(self.whole), down << 1);
        self.more = down | !(vertical | up);
        self.less = up & vertical;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Seconds;

    /// Words of a second each.
    fn words(text: &str) -> Vec<Word> {
        (0_u32..)
            .zip(text.split_whitespace())
            .map(|(n, word)| Word {
                word: word.to_owned(),
                start: Seconds(f64::from(n)),
                end: Seconds(f64::from(n) + 1.0),
                confidence: 0.9,
                punctuated_word: None,
            })
            .collect()
    }

    fn hits(query: &str, said: &str) -> Vec<Hit> {
        let words = words(said);
        search(&[Query::new(query)], &words, &words).pop().unwrap().hits
    }

    #[test]
    fn what_sounds_alike_is_found_and_what_does_not_is_not() {
        for (query, said, wanted) in [
            ("refund", "i want a refund now", &["refund"][..]),
            ("Refund!", "i want a refund now", &["refund"]),
            ("refund", "they refunded me", &["refunded"]),
            ("katherine", "this is catherine speaking", &["catherine"]),
            ("phone", "the fone is here", &["fone"]),
            ("data base", "in our database", &["database"]),
            ("database", "in our data base", &["data base"]),
            ("credit card", "my credit card and the credit cart", &["credit card", "credit cart"]),
            ("cancel my order", "please cancel my older", &["cancel my older"]),
            ("to be", "to be or not to be", &["to be", "to be"]),
            ("refund", "something else entirely", &[]),
            ("refund", "", &[]),
            ("?!", "what", &[]),
            ("", "what", &[]),
            ("ssn", "my [SSN_1] is", &[]),
        ] {
            let found: Vec<String> = hits(query, said).into_iter().map(|hit| hit.snippet).collect();
            assert_eq!(found, wanted, "{query:?} in {said:?}");
        }
    }

    #[test]
    fn the_likeliest_come_first_and_at_most_ten() {
        let said = "refined refund ".repeat(20);
        let found = hits("refund", &said);
        assert_eq!(found.len(), MOST_HITS);
        assert!(found.is_sorted_by(|a, b| a.confidence >= b.confidence));
        assert_eq!((found[0].confidence, found[0].start.0, found[0].end.0), (1.0, 1.0, 2.0));
        assert_eq!(found[9].start.0, 19.0, "of equals the first in time");
        let found = hits("refund", "refined refund");
        let likeness: Vec<f32> = found.iter().map(|hit| hit.confidence).collect();
        assert!(likeness[0] == 1.0 && (0.5..1.0).contains(&likeness[1]), "{likeness:?}");
    }

    #[test]
    fn a_snippet_shows_the_words_as_the_client_sees_them() {
        let spoken = words("please call twenty five now");
        let mut shown = words("please call 25 now");
        (shown[2].end, shown[3].start, shown[3].end) = (Seconds(4.0), Seconds(4.0), Seconds(5.0));
        let found = search(&[Query::new("twenty five"), Query::new("five now")], &spoken, &shown);
        let snippet = |n: usize| (found[n].hits[0].snippet.as_str(), found[n].hits[0].start.0, found[n].hits[0].end.0);
        assert_eq!(snippet(0), ("25", 2.0, 4.0));
        assert_eq!(snippet(1), ("25 now", 3.0, 5.0));
        assert_eq!(found[1].query, "five now");
    }

    #[test]
    fn many_queries_are_answered_in_a_long_text_and_no_letter_is_beyond_the_masks() {
        let said = words(&"the quick brown fox jumps over the lazy dog again ".repeat(500));
        let queries: Vec<Query> = (0..50).map(|_| Query::new("over the lazy dog")).collect();
        let found = search(&queries, &said, &said);
        assert_eq!(found.len(), 50);
        let is_whole = |found: &Search| found.hits.len() == MOST_HITS && found.hits.iter().all(|hit| hit.confidence == 1.0);
        assert!(found.iter().all(is_whole), "{:?}", found[0]);
        let longest = Query::new(&"\u{130}".repeat(MAX_SEARCH_LENGTH));
        assert_eq!(longest.forwards.length, longest.backwards.length);
        assert!(longest.forwards.length <= MOST_LETTERS);
    }

    /// By the table of the textbook.
    fn distance(pattern: &[char], text: &[char], whole: bool) -> usize {
        let mut column: Vec<usize> = (0..=pattern.len()).collect();
        for (n, letter) in text.iter().enumerate() {
            let mut next = vec![if whole { n + 1 } else { 0 }];
            for (row, wanted) in pattern.iter().enumerate() {
                let replaced = column[row] + usize::from(wanted != letter);
                next.push(replaced.min(column[row + 1] + 1).min(next[row] + 1));
            }
            column = next;
        }
        column[pattern.len()]
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_table(pattern in "[a-c]{1,64}", text in "[a-d]{0,80}", whole in any::<bool>()) {
            let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let masks = Pattern::new(&pattern);
            let mut scan = Scan::new(&masks, whole);
            text.iter().for_each(|letter| scan.step(*letter));
            prop_assert_eq!(scan.distance, distance(&pattern, &text, whole));
        }
    }
}
