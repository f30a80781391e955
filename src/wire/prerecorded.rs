//! The response to a file, with the key order that clients have seen.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::Seconds;
use super::models::{ModelInfo, ModelRef};
use super::results::{Alternative, Entity, Search, Word};

/// The whole response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileResponse {
    /// About the request.
    pub metadata: FileMetadata,
    /// The transcripts.
    pub results: FileResults,
}

/// About the request. The seven keys after the first are always there; clients break without them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileMetadata {
    transaction_key: &'static str,
    request_id: Uuid,
    sha256: String,
    created: String,
    duration: Seconds,
    channels: usize,
    models: [Uuid; 1],
    model_info: BTreeMap<Uuid, ModelInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
}

/// A part of the request that has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Name of the parameter.
    pub parameter: &'static str,
    /// Why, for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Why, for people.
    pub message: &'static str,
}

impl Warning {
    /// A feature that this server does not have.
    pub fn no_such_feature(parameter: &'static str) -> Self {
        Self {
            parameter,
            kind: "unsupported_feature",
            message: "This server does not have this feature; the parameter has no effect.",
        }
    }

    /// A feature for English words, where another language is spoken.
    pub fn english_only(parameter: &'static str) -> Self {
        Self {
            parameter,
            kind: "unsupported_language",
            message: "This feature knows English words only.",
        }
    }
}

/// What is known of a request for a file besides its words.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRequest {
    /// The request's id.
    pub request_id: Uuid,
    /// Of the bytes received, 64 hexadecimal digits.
    pub sha256: String,
    /// When the request came, RFC 3339.
    pub created: String,
    /// The model that ran.
    pub model: ModelRef,
    /// What has no effect.
    pub warnings: Vec<Warning>,
    /// Languages that the client named as likely.
    pub language_hint: Vec<String>,
    /// The client's labels.
    pub tags: Vec<String>,
    /// The client's labels.
    pub extra: BTreeMap<String, String>,
}

impl FileMetadata {
    /// `duration`: of the decoded audio; `channels`: entries of the results.
    pub fn new(request: FileRequest, duration: Seconds, channels: usize) -> Self {
        let FileRequest {
            request_id,
            sha256,
            created,
            model,
            warnings,
            language_hint: _,
            tags,
            extra,
        } = request;
        Self {
            transaction_key: "deprecated",
            request_id,
            sha256,
            created,
            duration,
            channels,
            models: [model.uuid],
            model_info: BTreeMap::from([(model.uuid, model.info)]),
            warnings,
            tags,
            extra,
        }
    }
}

/// The transcripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileResults {
    /// One, or one for each channel.
    pub channels: Vec<FileChannel>,
    /// If asked for, perhaps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utterances: Option<Vec<Utterance>>,
}

/// Holds the one alternative.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileChannel {
    /// What was looked for, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Vec<Search>>,
    /// Exactly one, also for silence.
    pub alternatives: [FileAlternative; 1],
}

/// A transcript with its words and what was made of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileAlternative {
    /// The words joined by blanks.
    pub transcript: String,
    /// As of [`Alternative`].
    pub confidence: f32,
    /// In order of time.
    pub words: Vec<Word>,
    /// If asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraphs: Option<Paragraphs>,
    /// What the words are about, if asked for, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<Entity>>,
    /// As of [`Alternative`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages_hinted: Vec<String>,
}

impl FileAlternative {
    /// An alternative with what was made of its words.
    pub fn new(alternative: Alternative, paragraphs: Option<Paragraphs>, entities: Option<Vec<Entity>>) -> Self {
        let Alternative {
            transcript,
            confidence,
            words,
            languages_hinted,
        } = alternative;
        Self {
            transcript,
            confidence,
            words,
            paragraphs,
            entities,
            languages_hinted,
        }
    }
}

/// A transcript in paragraphs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paragraphs {
    /// The paragraphs, with an empty line between two, after a line break.
    pub transcript: String,
    /// In order of time.
    pub paragraphs: Vec<Paragraph>,
}

/// Sentences in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paragraph {
    /// At least one.
    pub sentences: Vec<Sentence>,
    /// Words in all of them.
    pub num_words: usize,
    /// Start of the first word.
    pub start: Seconds,
    /// End of the last word.
    pub end: Seconds,
}

/// Words up to the end of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// The words joined by blanks.
    pub text: String,
    /// Start of the first word.
    pub start: Seconds,
    /// End of the last word.
    pub end: Seconds,
}

/// A stretch of words without a long pause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Utterance {
    /// Start of the first word.
    pub start: Seconds,
    /// End of the last word.
    pub end: Seconds,
    /// As of an alternative.
    pub confidence: f32,
    /// Index of the channel.
    pub channel: usize,
    /// The words joined by blanks.
    pub transcript: String,
    /// In order of time.
    pub words: Vec<Word>,
    /// Names the utterance.
    pub id: Uuid,
}
