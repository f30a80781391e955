//! The parameters of `/v1/listen` as typed options.
//!
//! What it does: reads, checks and defaults every parameter of the compatible interface, and refuses what it must. A known
//! parameter whose feature does not exist yet is checked and then ignored; unknown ones are ignored, as clients rely on it.
//! What it does not do: look up models or languages (`api` does, with [`super::models`]), or build the audio intake.
//! Who calls it: `api`, before an upgrade or a body is accepted. `docs/compatibility.md` lists every parameter.

use std::collections::BTreeMap;

use super::changes::WordChanges;
use super::pairs::{Pairs, boolean, invalid};
use super::prerecorded::Warning;
use super::vocabulary;
use crate::error::ApiError;
use crate::units::{Hz, Millis};

/// Silence that ends a segment of a live stream if the client does not say.
pub const DEFAULT_ENDPOINTING: Millis = Millis(10);
/// `utterance_end_ms` below this is raised to it.
pub const MIN_UTTERANCE_END: Millis = Millis(1_000);
/// Pause that splits utterances of a file if the client does not say, in seconds.
pub const DEFAULT_UTT_SPLIT: f64 = 0.8;
/// Most channels of one input.
pub const MAX_CHANNELS: u16 = 20;
/// Accepted sampling rates of headerless audio.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

const MAX_TAG: usize = 128;
const MAX_EXTRA: usize = 2_048;
const MAX_CUSTOM: usize = 100;
const MAX_HINTS: usize = 20;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenOptions {
    /// Model name or UUID as given, a legacy `tier` joined to it; `None`: the server's default.
    pub model: Option<String>,
    /// Exact version; `None`: the latest.
    pub version: Option<String>,
    /// BCP-47 tag or `multi`; `None`: the model's default.
    pub language: Option<String>,
    /// Name of the language model that shall help recognition; `None`: the server's choice.
    pub language_model: Option<String>,
    /// Languages that may be spoken, echoed in responses and live results.
    pub language_hint: Vec<String>,
    /// What the client says about its audio.
    pub audio: DeclaredAudio,
    /// The transcript carries the model's punctuation and capitals, and words have `punctuated_word`.
    pub punctuate: bool,
    /// What is changed in the words before they are shown.
    pub changes: WordChanges,
    /// Words and phrases to favour, with their weights; 0 has no effect, less than 0 shuns the term.
    pub favoured: Vec<(String, f32)>,
    /// Live: send results that are not final.
    pub interim_results: bool,
    /// Live: silence after speech that ends a segment; `None`: off.
    pub endpointing: Option<Millis>,
    /// Live: gap between words that is reported; `None`: off, also without `interim_results`.
    pub utterance_end: Option<Millis>,
    /// Live: report the beginning of speech.
    pub vad_events: bool,
    /// Live: finals do not wait for the rest of an entity.
    pub no_delay: bool,
    /// File: divide the transcript into paragraphs.
    pub paragraphs: bool,
    /// File: divide the result into utterances at pauses of this many seconds; `None`: off.
    pub utt_split: Option<f64>,
    /// File: how the answer is written.
    pub answer: AnswerFormat,
    /// Where results shall be delivered instead.
    pub callback: Option<Callback>,
    /// Parts of the request that have no effect.
    pub warnings: Vec<Warning>,
    /// Labels, echoed in the response to a file.
    pub tags: Vec<String>,
    /// Labels, echoed in responses and live results.
    pub extra: BTreeMap<String, String>,
}

impl ListenOptions {
    /// What recognition favours, each with its weight.
    pub fn terms(&self) -> impl Iterator<Item = (&str, f32)> {
        self.favoured.iter().map(|(term, weight)| (term.as_str(), *weight))
    }
}

/// How the answer to a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFormat {
    /// The whole response.
    #[default]
    Json,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
}

impl AnswerFormat {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            AnswerFormat::Json => "application/json",
            AnswerFormat::Srt => "application/x-subrip",
            AnswerFormat::Vtt => "text/vtt",
        }
    }

    /// Subtitles, if an `Accept` header names their type and not JSON. What has a weight of nothing is not acceptable (RFC 9110, 12.4.2).
    pub fn accepted(header: &str) -> Option<Self> {
        let types = || {
            header.split(',').filter_map(|part| {
                let mut parts = part.split(';').map(str::trim);
                let name = parts.next()?;
                let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
                let refused = weight.is_some_and(|weight| weight.trim().parse::<f64>() == Ok(0.0));
                (!refused).then_some(name)
            })
        };
        let named = |format: &AnswerFormat| types().any(|name| name.eq_ignore_ascii_case(format.media_type()));
        if named(&AnswerFormat::Json) {
            return None;
        }
        [AnswerFormat::Srt, AnswerFormat::Vtt].into_iter().find(named)
    }
}

/// What a client says about its audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredAudio {
    /// `None`: containerised, to be recognised by content.
    pub encoding: Option<Encoding>,
    /// Only with an encoding.
    pub sample_rate: Option<Hz>,
    /// Interleaved channels of headerless audio.
    pub channels: u16,
    /// Transcribe each channel by itself.
    pub multichannel: bool,
}

/// Encodings that have a name on the wire, whether or not there is a decoder for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the wire names say it")]
pub enum Encoding {
    Linear16,
    Linear32,
    Mulaw,
    Alaw,
    Flac,
    AmrNb,
    AmrWb,
    Opus,
    OggOpus,
    Speex,
    G729,
}

impl Encoding {
    const ALL: [Encoding; 11] = [
        Encoding::Linear16,
        Encoding::Linear32,
        Encoding::Mulaw,
        Encoding::Alaw,
        Encoding::Flac,
        Encoding::AmrNb,
        Encoding::AmrWb,
        Encoding::Opus,
        Encoding::OggOpus,
        Encoding::Speex,
        Encoding::G729,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Linear16 => "linear16",
            Encoding::Linear32 => "linear32",
            Encoding::Mulaw => "mulaw",
            Encoding::Alaw => "alaw",
            Encoding::Flac => "flac",
            Encoding::AmrNb => "amr-nb",
            Encoding::AmrWb => "amr-wb",
            Encoding::Opus => "opus",
            Encoding::OggOpus => "ogg-opus",
            Encoding::Speex => "speex",
            Encoding::G729 => "g729",
        }
    }

    /// The one rate that is allowed, for encodings that have only one.
    fn fixed_rate(self) -> Option<Hz> {
        match self {
            Encoding::AmrNb | Encoding::G729 => Some(Hz(8_000)),
            Encoding::AmrWb => Some(Hz(16_000)),
            _ => None,
        }
    }
}

/// Where results shall be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Absolute URL.
    pub url: String,
    /// Upper-case HTTP method.
    pub method: &'static str,
}

/// Which kind of request the parameters belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Live,
    File,
}

/// Reads the query of a WebSocket request (without `?`).
pub fn parse_live(query: &str) -> Result<ListenOptions, ApiError> {
    parse(query, Kind::Live)
}

/// Reads the query of a request for a file (without `?`).
pub fn parse_file(query: &str) -> Result<ListenOptions, ApiError> {
    parse(query, Kind::File)
}

fn parse(query: &str, kind: Kind) -> Result<ListenOptions, ApiError> {
    let pairs = Pairs::parse(query);
    let model = model(&pairs);
    let punctuate = features(&pairs, kind)?;
    let mut without_effect = diarization(&pairs, kind)?;
    let favoured = vocabulary::read(&pairs, model.as_deref())?;
    if kind == Kind::File {
        without_effect.extend(understanding(&pairs)?);
    } else if pairs.scalar("summarize").is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
        return Err(ApiError::Conflict("Summarization is not available for streaming."));
    }
    let language_hint = language_hint(&pairs)?;
    without_effect.extend((!language_hint.is_empty()).then_some("language_hint"));
    let live = Live::read(&pairs, kind)?;
    let changes = WordChanges::read(&pairs, punctuate)?;
    Ok(ListenOptions {
        model,
        version: pairs.scalar("version").filter(|version| *version != "latest").map(str::to_owned),
        language: language(&pairs)?,
        language_model: pairs.scalar("language_model").map(str::to_owned),
        language_hint,
        audio: audio(&pairs)?,
        punctuate,
        paragraphs: kind == Kind::File && (pairs.boolean("paragraphs")? || changes.format.smart),
        changes,
        favoured,
        interim_results: live.interim_results,
        endpointing: live.endpointing,
        utterance_end: live.utterance_end,
        vad_events: live.vad_events,
        no_delay: live.no_delay,
        utt_split: utt_split(&pairs, kind)?,
        answer: answer(&pairs, kind)?,
        callback: callback(&pairs, kind)?,
        warnings: without_effect.into_iter().map(Warning::no_such_feature).collect(),
        tags: tags(&pairs)?,
        extra: extra(&pairs)?,
    })
}

fn model(pairs: &Pairs) -> Option<String> {
    match (pairs.scalar("model"), pairs.scalar("tier")) {
        (Some(model), Some(tier)) => Some(format!("{tier}-{model}")),
        (model, tier) => model.or(tier).map(str::to_owned),
    }
}

fn language(pairs: &Pairs) -> Result<Option<String>, ApiError> {
    let Some(tag) = pairs.scalar("language") else { return Ok(None) };
    if is_tag(tag) {
        Ok(Some(tag.to_owned()))
    } else {
        Err(ApiError::NoSuchModel)
    }
}

fn is_tag(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= 35 && text.split('-').all(is_part)
}

fn language_hint(pairs: &Pairs) -> Result<Vec<String>, ApiError> {
    let hints = pairs.list("language_hint");
    if hints.len() > MAX_HINTS {
        return Err(ApiError::InvalidQuery("language_hint: at most 20 are allowed".into()));
    }
    if let Some(bad) = hints.iter().find(|hint| !is_tag(hint)) {
        return Err(invalid("language_hint", bad, "a language"));
    }
    Ok(hints)
}

fn audio(pairs: &Pairs) -> Result<DeclaredAudio, ApiError> {
    let multichannel = pairs.boolean("multichannel")?;
    let Some(name) = pairs.scalar("encoding") else {
        return Ok(DeclaredAudio {
            encoding: None,
            sample_rate: None,
            channels: 1,
            multichannel,
        });
    };
    let known = Encoding::ALL.into_iter().find(|encoding| encoding.name() == name);
    let encoding = known.ok_or_else(|| invalid("encoding", name, "the name of an encoding"))?;
    let sample_rate = pairs.number("sample_rate")?.map(Hz);
    match (sample_rate, encoding.fixed_rate()) {
        (None, _) if encoding != Encoding::OggOpus => {
            return Err(ApiError::InvalidQuery(format!("sample_rate: required with encoding {name}")));
        }
        (Some(rate), Some(fixed)) if rate != fixed => return Err(invalid("sample_rate", &rate.0.to_string(), &fixed.0.to_string())),
        (Some(rate), None) if !RATES.contains(&rate.0) => {
            return Err(invalid("sample_rate", &rate.0.to_string(), "8000 to 48000"));
        }
        _ => {}
    }
    let channels = pairs.number("channels")?.unwrap_or(1);
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(invalid("channels", &channels.to_string(), "1 to 20"));
    }
    Ok(DeclaredAudio {
        encoding: Some(encoding),
        sample_rate,
        channels,
        multichannel,
    })
}

/// The parameters that only live streams have.
struct Live {
    interim_results: bool,
    endpointing: Option<Millis>,
    utterance_end: Option<Millis>,
    vad_events: bool,
    no_delay: bool,
}

impl Live {
    fn read(pairs: &Pairs, kind: Kind) -> Result<Self, ApiError> {
        if kind == Kind::File {
            return Ok(Live {
                interim_results: false,
                endpointing: None,
                utterance_end: None,
                vad_events: false,
                no_delay: false,
            });
        }
        let interim_results = pairs.boolean("interim_results")?;
        let utterance_end = pairs.number("utterance_end_ms")?.map(|ms| Millis(ms).max(MIN_UTTERANCE_END));
        Ok(Live {
            interim_results,
            endpointing: endpointing(pairs)?,
            utterance_end: utterance_end.filter(|_| interim_results),
            vad_events: pairs.boolean("vad_events")?,
            no_delay: pairs.boolean("no_delay")?,
        })
    }
}

fn endpointing(pairs: &Pairs) -> Result<Option<Millis>, ApiError> {
    let Some(value) = pairs.scalar("endpointing") else {
        return Ok(Some(DEFAULT_ENDPOINTING));
    };
    if let Ok(on) = boolean("endpointing", value) {
        return Ok(on.then_some(DEFAULT_ENDPOINTING));
    }
    let millis: u32 = value
        .trim()
        .parse()
        .map_err(|_| invalid("endpointing", value, "milliseconds or false"))?;
    Ok((millis > 0).then_some(Millis(millis)))
}

/// Checks the formatting parameters; true if one asks for punctuation or implies it.
fn features(pairs: &Pairs, kind: Kind) -> Result<bool, ApiError> {
    pairs.boolean("mip_opt_out")?;
    pairs.number::<u32>("alternatives")?;
    let mut punctuate = false;
    for name in ["punctuate", "smart_format", "detect_entities"] {
        punctuate |= pairs.boolean(name)?;
    }
    if kind == Kind::File {
        punctuate |= pairs.boolean("paragraphs")?;
    }
    Ok(punctuate)
}

/// Checks the parameters about speakers. Returns those that ask for something.
fn diarization(pairs: &Pairs, kind: Kind) -> Result<Vec<&'static str>, ApiError> {
    let diarize = pairs.boolean("diarize")?;
    match pairs.scalar("diarize_model") {
        None if diarize => Ok(vec!["diarize"]),
        None => Ok(Vec::new()),
        Some(_) if diarize => Err(ApiError::Conflict("diarize and diarize_model cannot be used together.")),
        Some("v2") if kind == Kind::Live => Err(ApiError::Conflict(
            "diarize_model=v2 is not available for streaming; use diarize_model=v1.",
        )),
        Some("latest" | "v1" | "v2") => Ok(vec!["diarize_model"]),
        Some(other) => Err(invalid("diarize_model", other, "latest, v1 or v2")),
    }
}

/// Checks the parameters about the meaning of a file. Returns those that ask for something.
fn understanding(pairs: &Pairs) -> Result<Vec<&'static str>, ApiError> {
    let mut asked = Vec::new();
    for name in ["sentiment", "topics", "intents"] {
        asked.extend(pairs.boolean(name)?.then_some(name));
    }
    let summarize = match pairs.scalar("summarize") {
        Some("v1") => return Err(ApiError::InvalidQuery("summarize: v1 is deprecated, use v2".into())),
        None => false,
        Some("v2") => true,
        Some(value) => boolean("summarize", value)?,
    };
    asked.extend(summarize.then_some("summarize"));
    for name in ["custom_topic", "custom_intent"] {
        let given = pairs.list(name).len();
        if given > MAX_CUSTOM {
            return Err(ApiError::InvalidQuery(format!("{name}: at most 100 are allowed")));
        }
        asked.extend((given > 0).then_some(name));
    }
    for name in ["custom_topic_mode", "custom_intent_mode"] {
        if let Some(mode) = pairs.scalar(name).filter(|mode| !matches!(*mode, "extended" | "strict")) {
            return Err(invalid(name, mode, "extended or strict"));
        }
    }
    let languages = pairs.list("detect_language");
    let detect = languages.iter().any(|value| !value.eq_ignore_ascii_case("false"));
    asked.extend(detect.then_some("detect_language"));
    for value in languages {
        let is_code = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_code {
            return Err(invalid("detect_language", &value, "true, false or a language"));
        }
    }
    Ok(asked)
}

fn utt_split(pairs: &Pairs, kind: Kind) -> Result<Option<f64>, ApiError> {
    if kind == Kind::Live {
        return Ok(None);
    }
    let split = pairs.number("utt_split")?.unwrap_or(DEFAULT_UTT_SPLIT);
    if !split.is_finite() || split < 0.0 {
        return Err(invalid("utt_split", &split.to_string(), "seconds"));
    }
    Ok(pairs.boolean("utterances")?.then_some(split))
}

/// `response_format` is what other services call it.
fn answer(pairs: &Pairs, kind: Kind) -> Result<AnswerFormat, ApiError> {
    if kind == Kind::Live {
        return Ok(AnswerFormat::Json);
    }
    match pairs.scalar("response_format") {
        None | Some("json") => Ok(AnswerFormat::Json),
        Some("srt") => Ok(AnswerFormat::Srt),
        Some("vtt") => Ok(AnswerFormat::Vtt),
        Some(other) => Err(invalid("response_format", other, "json, srt or vtt")),
    }
}

fn callback(pairs: &Pairs, kind: Kind) -> Result<Option<Callback>, ApiError> {
    let given = pairs.scalar("callback_method").unwrap_or("POST");
    let methods: &[&'static str] = if kind == Kind::Live {
        &["POST", "PUT", "GET", "DELETE"]
    } else {
        &["POST", "PUT"]
    };
    let method = methods.iter().copied().find(|method| method.eq_ignore_ascii_case(given));
    let method = method.ok_or_else(|| invalid("callback_method", given, "POST or PUT"))?;
    let Some(url) = pairs.scalar("callback") else { return Ok(None) };
    let schemes: &[&str] = if kind == Kind::Live {
        &["http", "https", "ws", "wss"]
    } else {
        &["http", "https"]
    };
    let (scheme, rest) = url.split_once("://").ok_or(ApiError::InvalidCallback)?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    if !known || host.is_empty() || host.starts_with(':') || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ApiError::InvalidCallback);
    }
    Ok(Some(Callback {
        url: url.to_owned(),
        method,
    }))
}

fn tags(pairs: &Pairs) -> Result<Vec<String>, ApiError> {
    let tags = pairs.list("tag");
    if tags.iter().any(|tag| tag.chars().count() > MAX_TAG) {
        return Err(ApiError::InvalidQuery("tag: at most 128 characters are allowed".into()));
    }
    Ok(tags)
}

fn extra(pairs: &Pairs) -> Result<BTreeMap<String, String>, ApiError> {
    let mut extra = BTreeMap::new();
    for pair in pairs.list("extra") {
        if pair.chars().count() > MAX_EXTRA {
            return Err(ApiError::InvalidQuery("extra: at most 2048 characters are allowed".into()));
        }
        let (key, value) = pair.split_once(':').ok_or_else(|| invalid("extra", &pair, "key:value"))?;
        extra.insert(key.to_owned(), value.to_owned());
    }
    Ok(extra)
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
