//! Server messages of a live stream, with the key order that clients have seen.
//!
//! Every key is always present unless it is an `Option` here. No other message types may be invented: some clients take what
//! they do not know for broken results.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::Seconds;
use super::control::SchemaError;
use super::models::{ModelInfo, ModelRef};
use crate::units::Samples;

/// A message to a live client; each goes out as one text frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum ServerMessage {
    /// A transcript of a window of audio.
    Results(Results),
    /// Speech began.
    SpeechStarted {
        /// Channel and number of channels.
        channel: [usize; 2],
        /// Where, from the beginning of the audio.
        timestamp: Seconds,
    },
    /// No word has followed for the time asked for.
    UtteranceEnd {
        /// Channel and number of channels.
        channel: [usize; 2],
        /// End of the last word, from the beginning of the audio.
        last_word_end: Seconds,
    },
    /// The last message of every stream.
    Metadata(Metadata),
    /// Something the client sent was refused; the stream goes on.
    Error {
        /// Kind of refusal.
        variant: &'static str,
        /// What is wrong.
        description: String,
        /// What the client sent.
        message: String,
    },
    /// A change of features was taken.
    ConfigureSuccess {
        /// The stream's id.
        request_id: Uuid,
        /// What is favoured from now on.
        keyterms: Vec<String>,
    },
    /// A change of features was refused; the stream goes on.
    ConfigureFailure {
        /// The stream's id.
        request_id: Uuid,
        /// Why, for programs.
        code: &'static str,
        /// Why, for people.
        description: &'static str,
    },
}

impl ServerMessage {
    /// The text frame.
    pub fn to_json(&self) -> String {
        super::json(self)
    }

    /// The refusal of a text message.
    pub fn schema_error(error: SchemaError) -> Self {
        ServerMessage::Error {
            variant: "SchemaError",
            description: error.description,
            message: error.message,
        }
    }

    /// The refusal of new keyterms.
    pub fn keyterms_not_supported(request_id: Uuid) -> Self {
        ServerMessage::ConfigureFailure {
            request_id,
            code: "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
            description: "The model of this stream does not support keyterms.",
        }
    }

    /// The refusal of too many keyterms.
    pub fn keyterm_limit_exceeded(request_id: Uuid) -> Self {
        ServerMessage::ConfigureFailure {
            request_id,
            code: "CONFIGURE_KEYTERM_LIMIT_EXCEEDED",
            description: "The maximum number of tokens across all keyterms is 500.",
        }
    }
}

/// A transcript of a window of audio.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// Channel and number of channels.
    pub channel_index: [usize; 2],
    /// Length of the window.
    pub duration: Seconds,
    /// Beginning of the window, from the beginning of the audio.
    pub start: Seconds,
    /// Nothing in this window will change.
    pub is_final: bool,
    /// The window ends in a pause; only with `is_final`.
    pub speech_final: bool,
    /// The transcript.
    pub channel: Channel,
    /// Whose it is.
    pub metadata: ResultsMetadata,
    /// The answer to a `Finalize`.
    pub from_finalize: bool,
    /// What the words are about; only of finals, and if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<Entity>>,
}

/// Holds the one alternative.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Channel {
    /// Exactly one.
    pub alternatives: [Alternative; 1],
    /// What was looked for, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Vec<Search>>,
}

/// What was looked for, and where it may have been said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// As the client gave it.
    pub query: String,
    /// The likeliest first.
    pub hits: Vec<Hit>,
}

/// Words that may be what was looked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// How alike they are, 0 to 1.
    pub confidence: f32,
    /// From the beginning of the audio.
    pub start: Seconds,
    /// From the beginning of the audio.
    pub end: Seconds,
    /// The words.
    pub snippet: String,
}

/// Words that name or number something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entity {
    /// What it is, in upper case (contract 7.9).
    pub label: &'static str,
    /// The words as they are shown.
    pub value: String,
    /// The words as they were spoken, where they are written in another form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_value: Option<String>,
    /// The least of the words' confidences, 0 to 1.
    pub confidence: f32,
    /// Index of the first word.
    pub start_word: usize,
    /// Index behind the last word.
    pub end_word: usize,
}

/// A transcript with its words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Alternative {
    /// The words joined by blanks.
    pub transcript: String,
    /// 0 to 1; 0 when empty.
    pub confidence: f32,
    /// In order of time.
    pub words: Vec<Word>,
    /// The languages that the client named as likely.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages_hinted: Vec<String>,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Word {
    /// Lower case, without punctuation.
    pub word: String,
    /// From the beginning of the audio.
    pub start: Seconds,
    /// From the beginning of the audio.
    pub end: Seconds,
    /// 0 to 1.
    pub confidence: f32,
    /// With the model's punctuation and capitals, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub punctuated_word: Option<String>,
}

impl Alternative {
    /// The alternative made of these words. Its confidence is the upper median of theirs.
    pub fn new(words: Vec<Word>) -> Self {
        let shown: Vec<&str> = words
            .iter()
            .map(|word| word.punctuated_word.as_ref().unwrap_or(&word.word).as_str())
            .collect();
        Self {
            transcript: shown.join(" "),
            confidence: upper_median(&words),
            words,
            languages_hinted: Vec::new(),
        }
    }

    /// With the languages that the client named.
    pub fn hinted(self, languages: &[String]) -> Self {
        Self {
            languages_hinted: languages.to_vec(),
            ..self
        }
    }
}

/// Sorted by size, the one at index `n / 2`; 0 if there are none.
fn upper_median(words: &[Word]) -> f32 {
    let mut confidences: Vec<f32> = words.iter().map(|word| word.confidence).collect();
    confidences.sort_by(f32::total_cmp);
    confidences.get(confidences.len() / 2).copied().unwrap_or_default()
}

/// Whose a result is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultsMetadata {
    /// The stream's id.
    pub request_id: Uuid,
    /// The model's names.
    pub model_info: ModelInfo,
    /// The model's id.
    pub model_uuid: Uuid,
    /// The client's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

/// The last message of every stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metadata {
    transaction_key: &'static str,
    request_id: Uuid,
    sha256: &'static str,
    created: String,
    duration: Seconds,
    channels: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<[Uuid; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_info: Option<BTreeMap<Uuid, ModelInfo>>,
}

impl Metadata {
    /// `created`: RFC 3339; `duration`: audio received; `model`: only if there was audio.
    pub fn new(request_id: Uuid, created: String, duration: Samples, channels: usize, model: Option<&ModelRef>) -> Self {
        Self {
            transaction_key: "deprecated",
            request_id,
            sha256: "incomplete",
            created,
            duration: duration.into(),
            channels,
            models: model.map(|model| [model.uuid]),
            model_info: model.map(|model| BTreeMap::from([(model.uuid, model.info.clone())])),
        }
    }
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
    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    fn model() -> ModelRef {
        let info = ModelInfo {
            name: "general-nova-3".into(),
            version: "2026-01-01.1".into(),
            arch: "nova-3".into(),
        };
        ModelRef { uuid: Uuid::nil(), info }
    }

    fn word(word: &str, start: f64, end: f64, confidence: f32, punctuated: Option<&str>) -> Word {
        Word {
            word: word.into(),
            start: Seconds(start),
            end: Seconds(end),
            confidence,
            punctuated_word: punctuated.map(str::to_owned),
        }
    }

    fn results(words: Vec<Word>) -> ServerMessage {
        ServerMessage::Results(Results {
            channel_index: [0, 1],
            duration: Seconds(1.65),
            start: Seconds(0.9),
            is_final: true,
            speech_final: true,
            channel: Channel {
                alternatives: [Alternative::new(words)],
                search: None,
            },
            metadata: ResultsMetadata {
                request_id: Uuid::nil(),
                model_info: model().info,
                model_uuid: Uuid::nil(),
                extra: BTreeMap::new(),
            },
            from_finalize: false,
            entities: None,
        })
    }

    #[test]
    fn results_have_the_captured_form() {
        let words = vec![
            word("testing", 1.07, 1.57, 0.69, Some("Testing.")),
            word("123", 1.895, 2.395, 0.779, Some("123.")),
        ];
        assert_eq!(
            results(words).to_json(),
            format!(
                r#"{{"type":"Results","channel_index":[0,1],"duration":1.65,"start":0.9,"is_final":true,"speech_final":true,"channel":{{"alternatives":[{{"transcript":"Testing. 123.","confidence":0.779,"words":[{{"word":"testing","start":1.07,"end":1.57,"confidence":0.69,"punctuated_word":"Testing."}},{{"word":"123","start":1.895,"end":2.395,"confidence":0.779,"punctuated_word":"123."}}]}}]}},"metadata":{{"request_id":"{ID}","model_info":{{"name":"general-nova-3","version":"2026-01-01.1","arch":"nova-3"}},"model_uuid":"{ID}"}},"from_finalize":false}}"#
            )
        );
    }

    #[test]
    fn empty_results_keep_all_their_keys() {
        let text = results(Vec::new()).to_json();
        assert!(
            text.contains(r#""channel":{"alternatives":[{"transcript":"","confidence":0.0,"words":[]}]}"#),
            "{text}"
        );
    }

    #[test]
    fn finds_stand_behind_the_alternatives_and_entities_at_the_end() {
        let ServerMessage::Results(mut results) = results(Vec::new()) else {
            panic!("not results")
        };
        results.channel.search = Some(vec![Search {
            query: "refund".into(),
            hits: vec![Hit {
                confidence: 0.75,
                start: Seconds(1.0),
                end: Seconds(1.5),
                snippet: "refunds".into(),
            }],
        }]);
        let entity = |raw_value| Entity {
            label: "PHONE_NUMBER",
            value: "555-1234".into(),
            raw_value,
            confidence: 0.5,
            start_word: 2,
            end_word: 3,
        };
        results.entities = Some(vec![entity(None), entity(Some("five five".into()))]);
        let text = ServerMessage::Results(results).to_json();
        for part in [
            r#"[]}],"search":[{"query":"refund","hits":[{"confidence":0.75,"start":1.0,"end":1.5,"snippet":"refunds"}]}]},"metadata""#,
            r#""from_finalize":false,"entities":[{"label":"PHONE_NUMBER","value":"555-1234","confidence":0.5,"start_word":2,"end_word":3},"#,
            r#"{"label":"PHONE_NUMBER","value":"555-1234","raw_value":"five five","confidence":0.5,"start_word":2,"end_word":3}]}"#,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn extra_labels_are_echoed() {
        let ServerMessage::Results(mut results) = results(Vec::new()) else {
            panic!("not results")
        };
        results.metadata.extra.insert("call".into(), "7".into());
        assert!(
            ServerMessage::Results(results)
                .to_json()
                .contains(r#","extra":{"call":"7"}},"from_finalize""#)
        );
    }

    #[test]
    fn small_messages_have_the_captured_form() {
        let started = ServerMessage::SpeechStarted {
            channel: [0, 1],
            timestamp: Seconds(9.54),
        };
        assert_eq!(started.to_json(), r#"{"type":"SpeechStarted","channel":[0,1],"timestamp":9.54}"#);
        let ended = ServerMessage::UtteranceEnd {
            channel: [1, 2],
            last_word_end: Seconds(2.395),
        };
        assert_eq!(ended.to_json(), r#"{"type":"UtteranceEnd","channel":[1,2],"last_word_end":2.395}"#);
        let error = ServerMessage::schema_error(SchemaError {
            description: "d".into(),
            message: "m".into(),
        });
        assert_eq!(
            error.to_json(),
            r#"{"type":"Error","variant":"SchemaError","description":"d","message":"m"}"#
        );
        let success = ServerMessage::ConfigureSuccess {
            request_id: Uuid::nil(),
            keyterms: vec!["a b".into()],
        };
        assert_eq!(
            success.to_json(),
            format!(r#"{{"type":"ConfigureSuccess","request_id":"{ID}","keyterms":["a b"]}}"#)
        );
        assert_eq!(
            ServerMessage::keyterms_not_supported(Uuid::nil()).to_json(),
            format!(
                r#"{{"type":"ConfigureFailure","request_id":"{ID}","code":"CONFIGURE_KEYTERMS_NOT_SUPPORTED","description":"The model of this stream does not support keyterms."}}"#
            )
        );
    }

    #[test]
    fn metadata_names_models_only_if_there_was_audio() {
        let metadata = |duration, model: Option<&ModelRef>| {
            ServerMessage::Metadata(Metadata::new(Uuid::nil(), "2026-01-01T00:00:00.000Z".into(), duration, 1, model)).to_json()
        };
        assert_eq!(
            metadata(Samples(0), None),
            format!(
                r#"{{"type":"Metadata","transaction_key":"deprecated","request_id":"{ID}","sha256":"incomplete","created":"2026-01-01T00:00:00.000Z","duration":0.0,"channels":1}}"#
            )
        );
        assert_eq!(
            metadata(Samples(24_000), Some(&model())),
            format!(
                r#"{{"type":"Metadata","transaction_key":"deprecated","request_id":"{ID}","sha256":"incomplete","created":"2026-01-01T00:00:00.000Z","duration":1.5,"channels":1,"models":["{ID}"],"model_info":{{"{ID}":{{"name":"general-nova-3","version":"2026-01-01.1","arch":"nova-3"}}}}}}"#
            )
        );
    }

    #[test]
    fn confidence_is_the_upper_median() {
        let of = |values: &[f32]| Alternative::new(values.iter().map(|&c| word("w", 0.0, 0.0, c, None)).collect()).confidence;
        assert_eq!(of(&[]), 0.0);
        assert_eq!(of(&[0.4]), 0.4);
        assert_eq!(of(&[0.9, 0.1]), 0.9);
        assert_eq!(of(&[0.9, 0.1, 0.5]), 0.5);
    }
}
