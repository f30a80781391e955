//! Interim and final results of one lane: which window they cover, which words they hold, when they are sent.
//!
//! What it does: collects decoded pieces of the segment under way and turns them into `Results` and `UtteranceEnd`. Finals tile
//! the lane's audio without gap or overlap, and a piece goes into exactly one of them. Every rule uses audio positions, never
//! the time of arrival. A final may wait while an entity at its end looks unfinished (contract 3.7, rule 13). What it does not do: know chunks,
//! credits or the engine. Who calls it: [`super::lane`].

use std::sync::Arc;

use crate::text::endpoint::Endpoint;
use crate::text::redact::{Memory, Stage};
use crate::text::rewrite::{Rewrite, Shown};
use crate::text::unfinished::unfinished;
use crate::text::words::{self, Piece, Vocabulary};
use crate::units::{Millis, Samples};
use crate::wire::results::{Alternative, Channel, Results, ResultsMetadata, ServerMessage};

/// Silence after a word that makes it complete, and a cut behind it harmless.
const COMPLETE: Millis = Millis(500);
/// Silence after a word for which a final waits at most.
const HOLD: Millis = Millis(3_000);

/// What rules the results of a lane.
#[derive(Clone, Debug)]
pub(crate) struct ResultRules {
    /// Send results that are not final.
    pub(crate) interim: bool,
    /// Audio between them.
    pub(crate) interim_step: Samples,
    /// Segments beyond this length are made final at the next end of a word.
    pub(crate) soft: Samples,
    /// No window of a final is longer than this.
    pub(crate) hard: Samples,
    /// Audio of one chunk.
    pub(crate) chunk: Samples,
    /// Gap between words that is reported.
    pub(crate) utterance_end: Option<Samples>,
    /// How words are shown.
    pub(crate) rewrite: Arc<Rewrite>,
    /// Finals wait for the rest of an entity.
    pub(crate) hold: bool,
    /// Channel and number of channels.
    pub(crate) channel: [usize; 2],
    /// Languages that the client named as likely.
    pub(crate) language_hint: Vec<String>,
    /// Whose the results are.
    pub(crate) metadata: Arc<ResultsMetadata>,
}

/// What became known with a chunk besides its pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// End of the chunk.
    pub(crate) end: Samples,
    /// Endpoints in it, in order.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Speech began in it.
    pub(crate) began: bool,
    /// Beginning of the speech that is going on at its end.
    pub(crate) speaking_since: Option<Samples>,
    /// The chunk is the last of an utterance, everything is made final.
    pub(crate) flush: Option<Flush>,
}

/// Why everything is made final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    /// The client asked for it and awaits a reply.
    pub(crate) from_finalize: bool,
    /// The final is the last of an utterance of the speaker.
    pub(crate) speech_final: bool,
}

/// The segment under way.
#[derive(Debug)]
pub(crate) struct Segment {
    rules: ResultRules,
    start: Samples,
    heard: Samples,
    next_interim: Samples,
    /// Interim results come half as often.
    thin: bool,
    /// Pieces that will not change.
    fixed: Vec<Piece>,
    /// The best guess for what follows them.
    tail: Vec<Piece>,
    /// Words in finals so far.
    words_sent: usize,
    /// Words that the latest result held or may have held, for `UtteranceEnd`.
    words_shown: usize,
    /// Words before the latest `UtteranceEnd`.
    words_ended: usize,
    last_word_end: Samples,
    /// An endpoint has come, and its final waits for the rest of an entity.
    held: bool,
    /// What was redacted in finals.
    redacted: Memory,
}

impl Segment {
    pub(crate) fn new(rules: ResultRules) -> Self {
        let next_interim = rules.interim_step;
        Self {
            rules,
            start: Samples(0),
            heard: Samples(0),
            next_interim,
            thin: false,
            fixed: Vec::new(),
            tail: Vec::new(),
            words_sent: 0,
            words_shown: 0,
            words_ended: 0,
            last_word_end: Samples(0),
            held: false,
            redacted: Memory::default(),
        }
    }

    /// From now on words are shown in another way.
    pub(crate) fn show(&mut self, rewrite: &Arc<Rewrite>) {
        self.rules.rewrite = Arc::clone(rewrite);
    }

    /// Takes what a chunk gave: `fixed` follows all earlier fixed pieces, `tail` replaces the last guess. Returns true if the
    /// chunk led to a result, or would have if the client wanted interim ones.
    pub(crate) fn chunk(
        &mut self,
        fixed: impl Iterator<Item = Piece>,
        tail: impl Iterator<Item = Piece>,
        heard: &Heard,
        vocabulary: &dyn Vocabulary,
        out: &mut Vec<ServerMessage>,
    ) -> bool {
        self.fixed.extend(fixed);
        self.tail.clear();
        self.tail.extend(tail);
        self.heard = heard.end;
        let already = out.len();
        // Speech that goes on has an endpoint of its own.
        self.held &= !heard.began;
        for endpoint in &heard.endpoints {
            self.endpoint(*endpoint, vocabulary, out);
        }
        match heard.flush {
            Some(flush) => self.flush(flush, vocabulary, out),
            None => {
                self.release(vocabulary, out);
                self.by_length(heard.speaking_since, vocabulary, out);
            }
        }
        self.utterance_end(vocabulary, out);
        let due = self.interim(vocabulary, out);
        due || out.len() > already
    }

    /// A pause: everything up to it, or up to where speech resumes, is final.
    fn endpoint(&mut self, endpoint: Endpoint, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) {
        let (cut, pieces) = match endpoint.resumed {
            None => (self.heard, self.fixed.len()),
            Some(resumed) => {
                let cut = resumed.max(endpoint.at).clamp(self.start, self.heard);
                let next = |piece: &Piece| piece.start >= cut && vocabulary.starts_word(piece.id);
                (cut, self.fixed.iter().position(next).unwrap_or(self.fixed.len()))
            }
        };
        let before = words::words(self.fixed.get(..pieces).unwrap_or_default(), vocabulary);
        if self.open_words(&before) > 0 {
            self.held = endpoint.resumed.is_none();
            return;
        }
        let message = self.finalize(
            cut,
            pieces,
            Ending {
                speech_final: true,
                from_finalize: false,
            },
            vocabulary,
        );
        out.push(message);
    }

    /// How many words at the end belong to something for whose rest a final waits.
    fn open_words(&self, words: &[words::Word]) -> usize {
        let last = words.last().filter(|_| self.rules.hold);
        if last.is_none_or(|last| self.heard.since(last.end) >= HOLD.samples()) {
            return 0;
        }
        unfinished(words)
    }

    /// The final of an endpoint that was held back is sent when nothing may go on any more.
    fn release(&mut self, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) {
        if self.held && self.open_words(&words::words(&self.fixed, vocabulary)) == 0 {
            let ending = self.pause();
            let message = self.finalize(self.heard, self.fixed.len(), ending, vocabulary);
            out.push(message);
        }
    }

    /// How a final ends that covers everything: in a pause if an endpoint was held back.
    fn pause(&mut self) -> Ending {
        Ending {
            speech_final: std::mem::take(&mut self.held),
            from_finalize: false,
        }
    }

    /// Everything is final.
    fn flush(&mut self, flush: Flush, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) {
        // The engine fixes everything at the end of an utterance; a guess that it left would be lost otherwise.
        self.fixed.append(&mut self.tail);
        let held = std::mem::take(&mut self.held);
        if flush.from_finalize || self.heard > self.start || !self.fixed.is_empty() {
            let ending = Ending {
                speech_final: flush.speech_final || held,
                from_finalize: flush.from_finalize,
            };
            let message = self.finalize(self.heard, self.fixed.len(), ending, vocabulary);
            out.push(message);
        }
    }

    /// A segment that has become too long is final up to the last place where that does no harm.
    fn by_length(&mut self, speaking_since: Option<Samples>, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) {
        let length = self.heard.since(self.start);
        if length < self.rules.soft {
            return;
        }
        let last_chance = length.plus(self.rules.chunk) > self.rules.hard;
        let words = words::words(&self.hypothesis(), vocabulary);
        let open = self.open_words(&words);
        let harmless = self.harmless_cut(&words, open, speaking_since);
        let all = (self.heard, self.fixed.len());
        let found = if last_chance {
            harmless.or_else(|| self.harmless_cut(&words, 0, speaking_since)).or(Some(all))
        } else {
            harmless
        };
        let Some((cut, pieces)) = found else { return };
        let ending = if (cut, pieces) == all { self.pause() } else { Ending::default() };
        let message = self.finalize(cut, pieces, ending, vocabulary);
        out.push(message);
    }

    /// Where the segment can be cut, and how many fixed pieces lie before. The last `open` words stay together.
    fn harmless_cut(&self, words: &[words::Word], open: usize, speaking_since: Option<Samples>) -> Option<(Samples, usize)> {
        let Some(last) = words.last() else {
            // Speech without words yet: they will follow, so leave its beginning to the next segment.
            let cut = speaking_since
                .filter(|since| *since > self.start && *since < self.heard)
                .unwrap_or(self.heard);
            return self.tail.is_empty().then_some((cut, self.fixed.len()));
        };
        if open == 0 && self.tail.is_empty() && self.heard.since(last.end) >= COMPLETE.samples() {
            return Some((self.heard, self.fixed.len()));
        }
        // The last word may go on itself.
        let boundaries = words.iter().take(words.len() + 1 - open.max(1)).skip(1);
        let next = boundaries.rev().find(|word| word.first <= self.fixed.len())?;
        (next.start > self.start).then(|| (next.start.min(self.heard), next.first))
    }

    /// Sends the present guess if it is time for one. Returns true if it is, even if the client wants none.
    fn interim(&mut self, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) -> bool {
        if self.heard < self.next_interim || self.heard <= self.start {
            return false;
        }
        if self.rules.interim {
            let message = self.guess(vocabulary);
            out.push(message);
        } else {
            self.pass_interim();
        }
        true
    }

    /// Reports a gap after the last word, once, and after a result that holds the word.
    fn utterance_end(&mut self, vocabulary: &dyn Vocabulary, out: &mut Vec<ServerMessage>) {
        let Some(gap) = self.rules.utterance_end else { return };
        let open = words::words(&self.hypothesis(), vocabulary);
        let count = self.words_sent + open.len();
        let last_word_end = open.last().map_or(self.last_word_end, |word| word.end);
        if count <= self.words_ended || self.heard.since(last_word_end) < gap {
            return;
        }
        if !open.is_empty() && self.tail.is_empty() {
            // Clients that act on this message use the finals they have: the words before the gap must be among them.
            let ending = self.pause();
            let message = self.finalize(self.heard, self.fixed.len(), ending, vocabulary);
            out.push(message);
        } else if self.words_shown < count {
            let message = self.guess(vocabulary);
            out.push(message);
        }
        self.words_ended = count;
        let last_word_end = if self.tail.is_empty() { self.last_word_end } else { last_word_end };
        out.push(ServerMessage::UtteranceEnd {
            channel: self.rules.channel,
            last_word_end: last_word_end.into(),
        });
    }

    fn hypothesis(&self) -> Vec<Piece> {
        self.fixed.iter().chain(&self.tail).copied().collect()
    }

    /// Makes the first `pieces` fixed pieces final, in a window that ends at `cut`, where the next segment begins.
    fn finalize(&mut self, cut: Samples, pieces: usize, ending: Ending, vocabulary: &dyn Vocabulary) -> ServerMessage {
        let cut = cut.max(self.start);
        let pieces: Vec<Piece> = self.fixed.drain(..pieces.min(self.fixed.len())).collect();
        let mut words = words::words(&pieces, vocabulary);
        words::fit(&mut words, self.start, cut);
        self.words_sent += words.len();
        self.words_shown = self.words_shown.max(self.words_sent);
        self.last_word_end = words.last().map_or(self.last_word_end, |word| word.end);
        let message = self.message(cut, &words, true, ending);
        self.start = cut;
        self.next_interim = cut.plus(self.interim_step());
        message
    }

    /// From now on interim results come half as often, or as often as usual.
    pub(crate) fn thin_interims(&mut self, thin: bool) {
        self.thin = thin;
    }

    fn interim_step(&self) -> Samples {
        let step = self.rules.interim_step.max(Samples(1));
        if self.thin { step.plus(step) } else { step }
    }

    /// The next interim result is due at the next step after the present position.
    fn pass_interim(&mut self) {
        while self.next_interim <= self.heard {
            self.next_interim = self.next_interim.plus(self.interim_step());
        }
    }

    /// The present guess as an interim result.
    fn guess(&mut self, vocabulary: &dyn Vocabulary) -> ServerMessage {
        self.pass_interim();
        let mut words = words::words(&self.hypothesis(), vocabulary);
        words::fit(&mut words, self.start, self.heard);
        self.words_shown = self.words_sent + words.len();
        self.message(self.heard, &words, false, Ending::default())
    }

    fn message(&mut self, end: Samples, words: &[words::Word], is_final: bool, ending: Ending) -> ServerMessage {
        let rewrite = &self.rules.rewrite;
        let Shown { words, search, entities } = if is_final {
            rewrite.shown(words, &mut self.redacted, Stage::Final)
        } else {
            rewrite.shown(words, &mut self.redacted.clone(), Stage::Interim)
        };
        ServerMessage::Results(Results {
            channel_index: self.rules.channel,
            duration: end.since(self.start).into(),
            start: self.start.into(),
            is_final,
            speech_final: ending.speech_final,
            channel: Channel {
                alternatives: [Alternative::new(words).hinted(&self.rules.language_hint)],
                search,
            },
            metadata: self.rules.metadata.as_ref().clone(),
            from_finalize: ending.from_finalize,
            entities: entities.filter(|_| is_final),
        })
    }
}

/// How a final ends.
#[derive(Clone, Copy, Debug, Default)]
struct Ending {
    speech_final: bool,
    from_finalize: bool,
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests;
