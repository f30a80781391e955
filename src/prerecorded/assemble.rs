//! The response to a file from what was heard in it. Pure.
//!
//! What it does: tokens to words, transcripts per channel, paragraphs, utterances. What it does not do: read or recognise audio.
//! Who calls it: `api`, the command line.

use super::job::Heard;
use crate::engine::batch::Token;
use crate::text::paragraphs::paragraphs;
use crate::text::redact::{Memory, Stage};
use crate::text::rewrite::{Rewrite, Shown};
use crate::text::subtitles::Spoken;
use crate::text::words::{self, Piece, Vocabulary};
use crate::units::Samples;
use crate::wire::ids::utterance_id;
use crate::wire::prerecorded::{FileAlternative, FileChannel, FileMetadata, FileRequest, FileResponse, FileResults, Utterance};
use crate::wire::results::{Alternative, Word};

/// How the words of a file are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Division {
    /// Into utterances, at pauses of this many seconds.
    pub utt_split: Option<f64>,
    /// Into paragraphs.
    pub paragraphs: bool,
}

/// Builds the response. `rewrite`: how words are shown, and what is looked for in them.
pub fn response(request: FileRequest, heard: &Heard, vocabulary: &dyn Vocabulary, rewrite: &Rewrite, division: Division) -> FileResponse {
    // A file without a sample still has a channel.
    let silent = [Vec::new()];
    let lanes = if heard.lanes.is_empty() {
        silent.as_slice()
    } else {
        heard.lanes.as_slice()
    };
    let lanes: Vec<Shown> = lanes.iter().map(|tokens| shown(tokens, heard, vocabulary, rewrite)).collect();
    let request_id = request.request_id;
    let utterances = division.utt_split.map(|split| {
        let mut utterances: Vec<Utterance> = lanes
            .iter()
            .enumerate()
            .flat_map(|(channel, shown)| divide(&shown.words, channel, split))
            .collect();
        utterances.sort_by(|a, b| a.start.0.total_cmp(&b.start.0).then(a.channel.cmp(&b.channel)));
        utterances
            .iter_mut()
            .enumerate()
            .for_each(|(index, utterance)| utterance.id = utterance_id(request_id, index));
        utterances
    });
    let hints = request.language_hint.clone();
    let metadata = FileMetadata::new(request, heard.duration.into(), lanes.len());
    let channels = lanes
        .into_iter()
        .map(|Shown { words, search, entities }| {
            let paragraphs = division.paragraphs.then(|| paragraphs(&words));
            FileChannel {
                search,
                alternatives: [FileAlternative::new(Alternative::new(words).hinted(&hints), paragraphs, entities)],
            }
        })
        .collect();
    FileResponse {
        metadata,
        results: FileResults { channels, utterances },
    }
}

/// All channels' words in the order of their times, written by `write`: subtitles.
pub fn subtitles(heard: &Heard, vocabulary: &dyn Vocabulary, rewrite: &Rewrite, write: fn(&[Spoken<'_>]) -> String) -> String {
    let lanes = heard.lanes.iter().map(|tokens| shown(tokens, heard, vocabulary, rewrite).words);
    let mut words: Vec<Word> = lanes.flatten().collect();
    words.sort_by(|a, b| a.start.0.total_cmp(&b.start.0));
    let spoken: Vec<Spoken<'_>> = words
        .iter()
        .map(|word| Spoken {
            word: word.punctuated_word.as_deref().unwrap_or(&word.word),
            start: word.start.0,
            end: word.end.0,
        })
        .collect();
    write(&spoken)
}

/// The words of one channel as they are shown.
fn shown(tokens: &[Token], heard: &Heard, vocabulary: &dyn Vocabulary, rewrite: &Rewrite) -> Shown {
    let words = lane(tokens, heard.duration, vocabulary);
    rewrite.shown(&words, &mut Memory::default(), Stage::Whole)
}

/// The words of one channel, their times within the file.
pub fn lane(tokens: &[Token], duration: Samples, vocabulary: &dyn Vocabulary) -> Vec<words::Word> {
    let place = |token: &Token| Piece {
        id: token.id,
        start: token.start.samples(),
        end: token.end.samples(),
        confidence: token.confidence,
    };
    let pieces: Vec<Piece> = tokens.iter().map(place).collect();
    let mut words = words::words(&pieces, vocabulary);
    words::fit(&mut words, Samples(0), duration);
    words
}

/// Words in a row, divided where the pause between two is at least `split` seconds.
fn divide(words: &[Word], channel: usize, split: f64) -> Vec<Utterance> {
    // Times are multiples of a sample; half of one is left for rounding.
    let near = |a: &Word, b: &Word| b.start.0 - a.end.0 < split - 1.0 / 32_000.0;
    words.chunk_by(near).filter_map(|words| utterance(words, channel)).collect()
}

fn utterance(words: &[Word], channel: usize) -> Option<Utterance> {
    let (start, end) = (words.first()?.start, words.last()?.end);
    let Alternative {
        transcript,
        confidence,
        words,
        ..
    } = Alternative::new(words.to_vec());
    Some(Utterance {
        start,
        end,
        confidence,
        channel,
        transcript,
        words,
        id: uuid::Uuid::nil(),
    })
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
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::units::Frames;
    use crate::wire::changes::WordChanges;
    use crate::wire::json;
    use crate::wire::models::{ModelInfo, ModelRef};

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    struct Toy;

    impl Vocabulary for Toy {
        fn piece(&self, id: u32) -> Option<&str> {
            ["▁One", "▁two", "▁three", "."].get(id as usize).copied()
        }

        fn starts_word(&self, id: u32) -> bool {
            id < 3
        }

        fn is_special(&self, _: u32) -> bool {
            false
        }
    }

    fn split(utt_split: f64) -> Division {
        Division {
            utt_split: Some(utt_split),
            ..Division::default()
        }
    }

    fn request() -> FileRequest {
        let info = ModelInfo {
            name: "general-nova-3".into(),
            version: "2025-07-31.0".into(),
            arch: "nova-3".into(),
        };
        FileRequest {
            request_id: Uuid::nil(),
            sha256: "ab".repeat(32),
            created: "2025-10-07T23:37:48.984Z".into(),
            model: ModelRef { uuid: Uuid::nil(), info },
            warnings: Vec::new(),
            language_hint: Vec::new(),
            tags: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Lanes of (id, frame).
    fn heard(lanes: &[&[(u32, u32)]]) -> Heard {
        let token = |&(id, frame): &(u32, u32)| Token {
            id,
            start: Frames(frame),
            end: Frames(frame + 1),
            confidence: 0.9,
        };
        let lanes = lanes.iter().map(|tokens| tokens.iter().map(token).collect()).collect();
        Heard {
            lanes,
            duration: Samples(72_000),
            sha256: "ab".repeat(32),
        }
    }

    #[test]
    fn silence_is_answered_with_all_keys() {
        let response = response(request(), &heard(&[&[]]), &Toy, &Rewrite::default(), split(0.8));
        assert_eq!(
            json(&response),
            format!(
                r#"{{"metadata":{{"transaction_key":"deprecated","request_id":"{ID}","sha256":"{}","created":"2025-10-07T23:37:48.984Z","duration":4.5,"channels":1,"models":["{ID}"],"model_info":{{"{ID}":{{"name":"general-nova-3","version":"2025-07-31.0","arch":"nova-3"}}}}}},"results":{{"channels":[{{"alternatives":[{{"transcript":"","confidence":0.0,"words":[]}}]}}],"utterances":[]}}}}"#,
                "ab".repeat(32)
            )
        );
    }

    #[test]
    fn words_make_a_transcript_and_utterances_only_if_asked_for() {
        let response = response(
            request(),
            &heard(&[&[(0, 10), (3, 11)]]),
            &Toy,
            &Rewrite::default(),
            Division::default(),
        );
        let text = json(&response.results);
        assert_eq!(
            text,
            r#"{"channels":[{"alternatives":[{"transcript":"one","confidence":0.9,"words":[{"word":"one","start":0.8,"end":0.88,"confidence":0.9}]}]}]}"#
        );
    }

    #[test]
    fn punctuation_is_kept_if_asked_for() {
        let response = response(
            request(),
            &heard(&[&[(0, 10), (3, 11), (1, 12)]]),
            &Toy,
            &Rewrite::new(&WordChanges::default(), true),
            Division::default(),
        );
        let [alternative] = &response.results.channels[0].alternatives;
        assert_eq!(alternative.transcript, "One. two");
        assert_eq!(alternative.words[0].word, "one");
        assert_eq!(alternative.words[0].punctuated_word.as_deref(), Some("One."));
    }

    #[test]
    fn utterances_split_at_pauses_from_the_split_on() {
        // The pauses are 9 and 10 frames: 0.72 and 0.8 seconds.
        let response = response(
            request(),
            &heard(&[&[(0, 0), (1, 10), (2, 21)]]),
            &Toy,
            &Rewrite::default(),
            split(0.8),
        );
        let utterances = response.results.utterances.unwrap();
        let spoken: Vec<&str> = utterances.iter().map(|utterance| utterance.transcript.as_str()).collect();
        assert_eq!(spoken, ["one two", "three"]);
        assert_eq!((utterances[0].start.0, utterances[0].end.0), (0.0, 0.88));
        assert_eq!(utterances[1].words.len(), 1);
    }

    #[test]
    fn utterances_of_several_channels_come_in_order_of_time() {
        let response = response(
            request(),
            &heard(&[&[(0, 20), (1, 40)], &[(2, 0), (2, 20)]]),
            &Toy,
            &Rewrite::default(),
            split(0.8),
        );
        assert_eq!(response.results.channels.len(), 2);
        let utterances = response.results.utterances.unwrap();
        let order: Vec<(usize, &str)> = utterances
            .iter()
            .map(|utterance| (utterance.channel, utterance.transcript.as_str()))
            .collect();
        assert_eq!(order, [(1, "three"), (0, "one"), (1, "three"), (0, "two")]);
        let ids: std::collections::BTreeSet<Uuid> = utterances.iter().map(|utterance| utterance.id).collect();
        assert_eq!(ids.len(), 4);
        assert!(utterances.iter().all(|utterance| utterance.id.get_version_num() == 5));
    }

    #[test]
    fn what_was_asked_for_stands_where_clients_have_seen_it() {
        let changes = WordChanges {
            search: vec!["too".into()],
            entities: true,
            ..WordChanges::default()
        };
        let division = Division {
            paragraphs: true,
            ..Division::default()
        };
        let lanes = heard(&[&[(0, 0), (3, 1), (1, 2), (2, 3)]]);
        let response = response(request(), &lanes, &Toy, &Rewrite::new(&changes, true), division);
        let text = json(&response.results.channels);
        let begin = r#"[{"search":[{"query":"too","hits":[{"confidence":0.5,"start":0.16,"end":0.24,"snippet":"two"}]}],"alternatives":[{"transcript":"One. two three","#;
        let end = r#""paragraphs":{"transcript":"\nOne. two three","paragraphs":[{"sentences":[{"text":"One.","start":0.0,"end":0.08},{"text":"two three","start":0.16,"end":0.32}],"num_words":3,"start":0.0,"end":0.32}]},"entities":[]}]}]"#;
        assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
    }

    #[test]
    fn times_stay_within_the_file() {
        let words = lane(
            &[Token {
                id: 0,
                start: Frames(56),
                end: Frames(90),
                confidence: 1.0,
            }],
            Samples(72_000),
            &Toy,
        );
        assert_eq!((words[0].start, words[0].end), (Samples(71_680), Samples(72_000)));
    }

    #[test]
    fn a_file_without_audio_has_a_channel() {
        assert_eq!(
            response(request(), &heard(&[]), &Toy, &Rewrite::default(), Division::default())
                .results
                .channels
                .len(),
            1
        );
    }
}
