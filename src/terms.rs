//! Terms: words and phrases that a client wants recognised, as a graph over their letters.
//!
//! What it does: follows the letters that a search emits through all terms at once, and says what the matches are worth. A letter
//! of a term earns the term's weight; who leaves a term before its end gives back what it had earned; what is earned by a term
//! that is complete, from the beginning of a word to the end of one, is kept. What it does not do: know a model or its pieces.
//! Who calls it: `stream` and `api` build it, `model::decode` follows it.
//!
//! Sources: the automaton of Aho and Corasick (1975, "Efficient string matching: an aid to bibliographic search") with weights for
//! shallow fusion, as in icefall's `ContextGraph` and Andrusenko et al. (2025, "TurboBias"). Over letters and not over the
//! tokens of a phrase as those are, since a model may spell a rare word in other pieces than its tokenizer would.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "node numbers come from this graph alone and fit u32, since a client's terms are limited to some thousand letters"
)]

use std::collections::BTreeMap;

/// Weights beyond this, up or down, count as this.
pub const MAX_WEIGHT: f32 = 10.0;
/// Stands for the beginning and the end of words.
pub const BOUNDARY: u8 = b' ';
/// Parts words where no term has it.
const APOSTROPHE: u8 = b'\'';

const ROOT: u32 = 0;

/// A client's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Breadth first, so that the children of a node lie together, in the order of their letters.
    nodes: Vec<Node>,
}

/// Some letters that begin at least one term.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Node {
    /// Its children begin here and end where those of the next node begin.
    first: u32,
    letter: u8,
    /// The longest end of these letters that begins a term too.
    fail: u32,
    /// Earned by the letters after the last complete term.
    hope: f32,
    /// Kept on arriving here, for the terms that are complete with this letter.
    gift: f32,
}

/// Where some letters have led, and what they have earned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    node: u32,
    /// By letters of terms that are not complete yet.
    hope: f32,
    /// By complete terms.
    kept: f64,
}

impl Place {
    /// What the letters have earned so far: for each letter of a term, its weight.
    pub fn worth(&self) -> f64 {
        self.kept + f64::from(self.hope)
    }

    /// What complete terms have earned.
    pub fn kept(&self) -> f64 {
        self.kept
    }

    /// True if the word under way may become one of a term that is not shunned.
    pub fn within(&self) -> bool {
        self.hope > 0.0
    }

    /// The same without the terms under way: for a change of terms.
    #[must_use]
    pub fn left(self) -> Self {
        Place {
            node: ROOT,
            hope: 0.0,
            kept: self.kept,
        }
    }
}

impl Terms {
    /// The graph of some terms with their weights: 1 is the usual weight, below 0 the term is shunned, 0 has no effect. `None` if
    /// no term with a letter and an effect is among them. Letters are compared in lower case. White space parts words; other marks
    /// are passed over, or part words as well, whichever the model writes. Of a term given twice the last counts.
    pub fn new<'a>(terms: impl IntoIterator<Item = (&'a str, f32)>) -> Option<Self> {
        let mut spelled = BTreeMap::new();
        for (term, weight) in terms {
            if weight != 0.0 && weight.is_finite() {
                let weight = weight.clamp(-MAX_WEIGHT, MAX_WEIGHT);
                let spellings = spellings(term).into_iter().filter(|spelling| !spelling.is_empty());
                spelled.extend(spellings.map(|spelling| (spelling, weight)));
            }
        }
        let spelled: Vec<(Vec<u8>, f32)> = spelled.into_iter().collect();
        (!spelled.is_empty()).then(|| Self::build(&spelled))
    }

    /// From different spellings in order.
    fn build(spelled: &[(Vec<u8>, f32)]) -> Self {
        let mut nodes = Vec::new();
        // For each node: its letter, its parent, the spellings that begin so, its depth, the letters since the last complete term.
        let mut below = vec![(0, ROOT, 0, spelled.len(), 0, 0.0)];
        while let Some(&(letter, parent, mut low, high, depth, since)) = below.get(nodes.len()) {
            let number = nodes.len() as u32;
            let weight = spelled[low..high]
                .iter()
                .map(|(_, weight)| *weight)
                .fold(f32::NEG_INFINITY, f32::max);
            let complete = spelled[low].0.len() == depth;
            let mut node = Node {
                first: below.len() as u32,
                letter,
                // The parent for the moment.
                fail: parent,
                hope: weight * since,
                gift: 0.0,
            };
            let mut before = since;
            if complete {
                (node.hope, node.gift, before) = (0.0, spelled[low].1 * since, 0.0);
                low += 1;
            }
            nodes.push(node);
            while low < high {
                let letter = spelled[low].0[depth];
                let end = low + spelled[low..high].partition_point(|(spelling, _)| spelling[depth] == letter);
                below.push((
                    letter,
                    number,
                    low,
                    end,
                    depth + 1,
                    before + if is_letter(letter) { 1.0 } else { 0.0 },
                ));
                low = end;
            }
        }
        let mut terms = Terms { nodes };
        for number in 1..terms.nodes.len() {
            let Node { letter, fail: parent, .. } = terms.nodes[number];
            let fail = if parent == ROOT {
                ROOT
            } else {
                terms.advance(terms.nodes[parent as usize].fail, letter)
            };
            terms.nodes[number].gift += terms.nodes[fail as usize].gift;
            terms.nodes[number].fail = fail;
        }
        terms
    }

    /// The node after one more letter.
    fn advance(&self, mut node: u32, letter: u8) -> u32 {
        loop {
            match self.child(node, letter) {
                Some(child) => return child,
                None if node == ROOT => return ROOT,
                None => node = self.nodes[node as usize].fail,
            }
        }
    }

    fn child(&self, node: u32, letter: u8) -> Option<u32> {
        let first = self.nodes[node as usize].first as usize;
        let end = self
            .nodes
            .get(node as usize + 1)
            .map_or(self.nodes.len(), |next| next.first as usize);
        let at = self.nodes[first..end].binary_search_by_key(&letter, |child| child.letter).ok()?;
        Some((first + at) as u32)
    }

    /// True if the word that ends here is one of such a term, be the term complete or not.
    pub fn spells(&self, place: Place) -> bool {
        let Node { gift, hope, .. } = self.nodes[self.advance(place.node, BOUNDARY) as usize];
        gift > 0.0 || hope > 0.0
    }

    /// Where some more letters lead, in UTF-8 with a [`BOUNDARY`] between words, and what they earn by themselves: without what
    /// is given back of letters before.
    pub fn follow(&self, place: Place, letters: &[u8]) -> (Place, f64) {
        let (mut place, mut earned) = (place, 0.0);
        // What these letters have earned of the term under way: given back if it breaks off among them.
        let mut own = 0.0;
        for &letter in letters {
            let node = self.nodes[place.node as usize];
            // "Ann's" has the term "Ann", and "l'Ann" too; several boundaries are one.
            let apart = letter == APOSTROPHE && self.advance(place.node, letter) == ROOT;
            let letter = if apart { BOUNDARY } else { letter };
            if letter == BOUNDARY && node.letter == BOUNDARY {
                continue;
            }
            let child = self.child(place.node, letter);
            let next = child.unwrap_or_else(|| self.advance(node.fail, letter));
            let Node { hope, gift, .. } = self.nodes[next as usize];
            let before = earned;
            earned += f64::from(gift) + f64::from(hope) - if child.is_some() { f64::from(place.hope) } else { own };
            own = match child {
                _ if gift != 0.0 => 0.0,
                Some(_) => own + earned - before,
                None => f64::from(hope),
            };
            place = Place {
                node: next,
                hope,
                kept: place.kept + f64::from(gift),
            };
        }
        (place, earned)
    }
}

/// How a model may write a term: with its marks passed over, and with words parted at them.
fn spellings(term: &str) -> [Vec<u8>; 2] {
    let term = term.replace('\u{2019}', "'");
    let joined = words(term.split_whitespace());
    let parted = words(term.split(|c: char| !c.is_alphanumeric() && c != '\''));
    [joined, parted]
}

/// The words' letters, each word between boundaries.
fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut spelling = String::new();
    for word in words {
        let before = spelling.len();
        spelling.extend(letters(word));
        if spelling.len() > before {
            spelling.insert(before, char::from(BOUNDARY));
        }
    }
    if !spelling.is_empty() {
        spelling.push(char::from(BOUNDARY));
    }
    spelling.into_bytes()
}

/// The letters of a text as they are compared: digits and apostrophes among them, all in lower case.
pub fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|letter| letter.is_alphanumeric() || *letter == '\'')
        .flat_map(char::to_lowercase)
}

/// True for the first byte of a letter in UTF-8.
fn is_letter(byte: u8) -> bool {
    byte != BOUNDARY && byte & 0xc0 != 0x80
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(list: &[(&str, f32)]) -> Terms {
        Terms::new(list.iter().copied()).unwrap()
    }

    fn after(terms: &Terms, text: &str) -> Place {
        terms.follow(Place::default(), text.as_bytes()).0
    }

    #[test]
    fn letters_earn_as_long_as_they_go_on_with_a_term() {
        let terms = terms(&[("Ann Lee", 1.0), ("bo", 2.0)]);
        for (text, kept, worth) in [
            ("", 0.0, 0.0),
            (" a", 0.0, 1.0),
            (" ann", 0.0, 3.0),
            (" ann ", 0.0, 3.0),
            (" ann lee", 0.0, 6.0),
            (" ann lee ", 6.0, 6.0),
            (" ann leeds", 0.0, 0.0),
            (" ann  lee  ", 6.0, 6.0),
            (" ann ann", 0.0, 3.0),
            (" anna", 0.0, 0.0),
            (" joann", 0.0, 0.0),
            ("ann", 0.0, 0.0),
            (" ann b", 0.0, 2.0),
            (" bo ann lee bo ", 14.0, 14.0),
            (" bo's l'bo", 4.0, 8.0),
            (" bo'ann lee ", 10.0, 10.0),
        ] {
            let place = after(&terms, text);
            assert_eq!((place.kept(), place.worth()), (kept, worth), "{text:?}");
        }
    }

    #[test]
    fn a_word_is_one_of_a_term_as_long_as_its_letters_are() {
        let terms = terms(&[("Ann Lee", 1.0), ("bo", 2.0), ("cy", -1.0)]);
        for (text, within, spells) in [
            ("", false, false),
            (" ", false, false),
            (" a", true, false),
            (" ann", true, true),
            (" anna", false, false),
            (" ann l", true, false),
            (" ann lee", true, true),
            (" lee", false, false),
            (" bo", true, true),
            (" c", false, false),
            (" cy", false, false),
        ] {
            let place = after(&terms, text);
            assert_eq!((place.within(), terms.spells(place)), (within, spells), "{text:?}");
        }
    }

    #[test]
    fn terms_within_terms_and_over_each_other_are_all_kept() {
        let terms = terms(&[("new", 1.0), ("new york", 1.0), ("york", 3.0), ("york times", 1.0)]);
        for (text, kept) in [
            (" new ", 3.0),
            (" new yo ", 3.0),
            (" new york ", 3.0 + 4.0 + 12.0),
            (" york ", 12.0),
            (" new york times ", 3.0 + 4.0 + 12.0 + 5.0),
        ] {
            assert_eq!(after(&terms, text).kept(), kept, "{text:?}");
        }
    }

    #[test]
    fn terms_are_read_as_models_write_them() {
        for (term, texts) in [
            ("O\u{2019}Neil", vec![" o'neil "]),
            ("Jean-Luc", vec![" jean luc ", " jeanluc "]),
            ("U.S.", vec![" us ", " u s "]),
            (" K\u{00d6}LN,  am ", vec![" k\u{00f6}ln am "]),
        ] {
            for text in texts {
                let count = text.chars().filter(|c| *c != ' ').count();
                assert_eq!(after(&terms(&[(term, 1.0)]), text).kept(), count as f64, "{term}: {text}");
            }
        }
    }

    #[test]
    fn terms_without_effect_are_none() {
        for list in [&[][..], &[("", 1.0)], &[("-", 1.0)], &[("snow", 0.0)], &[("snow", f32::NAN)]] {
            assert_eq!(Terms::new(list.iter().copied()), None);
        }
        assert_eq!(after(&terms(&[("snow", 99.0)]), " snow ").kept(), f64::from(MAX_WEIGHT) * 4.0);
        assert_eq!(after(&terms(&[("snow", -2.0)]), " sno").worth(), -6.0);
        assert_eq!(after(&terms(&[("snow", 2.0), ("Snow", 1.0)]), " snow ").kept(), 4.0);
    }

    #[test]
    fn what_letters_earn_by_themselves_leaves_out_what_is_given_back() {
        let terms = terms(&[("ann lee", 1.0), ("bo", 2.0)]);
        for (before, letters, earned) in [
            ("", " an", 2.0),
            ("", " anew", 0.0),
            (" a", "nx", 0.0),
            ("", " an bo", 4.0),
            (" a", "nn", 2.0),
            (" ann", " le", 2.0),
            (" ann lee", " ", 0.0),
            (" ann", " b", 2.0),
            (" ann", "e", 0.0),
            (" an", " an", 2.0),
        ] {
            assert_eq!(
                terms.follow(after(&terms, before), letters.as_bytes()).1,
                earned,
                "{before:?} {letters:?}"
            );
        }
    }

    #[test]
    fn a_change_of_terms_leaves_what_was_kept() {
        let place = after(&terms(&[("bo", 2.0)]), " bo b").left();
        assert_eq!((place.kept(), place.worth()), (4.0, 4.0));
    }

    /// What the complete terms of a text earn, counted one by one.
    fn counted(list: &[(String, f32)], text: &str) -> f64 {
        let size = |term: &str| term.chars().filter(|c| *c != ' ').count();
        let mut sum = 0.0;
        for (term, weight) in list {
            let within = list.iter().filter(|(other, _)| term.starts_with(&format!("{other} ")));
            let own = size(term) - within.map(|(other, _)| size(other)).max().unwrap_or(0);
            let times = (0..text.len()).filter(|&at| text[at..].starts_with(&format!(" {term} "))).count();
            sum += f64::from(*weight) * (own * times) as f64;
        }
        sum
    }

    proptest! {
        #[test]
        fn only_complete_terms_are_kept_however_the_letters_come(
            list in prop::collection::btree_map("[ab]{1,3}( [ab]{1,3}){0,2}", (1_u8..4).prop_map(f32::from), 1..8),
            text in "( [ab]{1,3}){0,12}",
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let list: Vec<(String, f32)> = list.into_iter().collect();
            let terms = Terms::new(list.iter().map(|(term, weight)| (term.as_str(), *weight))).unwrap();
            let text = format!("{text} ");
            let whole = after(&terms, &text);
            prop_assert_eq!(whole.kept(), counted(&list, &text));
            let mut edges: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            edges.sort_unstable();
            let parts = edges.windows(2).map(|edge| &text.as_bytes()[edge[0]..edge[1]]);
            prop_assert_eq!(parts.fold(Place::default(), |place, part| terms.follow(place, part).0), whole);
            // Who breaks every match off has nothing more than that.
            let broken = terms.follow(whole, b"#").0;
            prop_assert_eq!(broken.worth(), whole.kept());
        }

        #[test]
        fn any_terms_can_be_followed_through_any_text(list in prop::collection::vec((".{0,20}", -20.0_f32..20.0), 0..6), text in ".{0,60}") {
            if let Some(terms) = Terms::new(list.iter().map(|(term, weight)| (term.as_str(), *weight))) {
                let place = after(&terms, &text);
                prop_assert!(place.worth().is_finite());
            }
        }
    }
}
