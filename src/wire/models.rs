//! Model names and the listing of `GET /v1/models`.

use serde::Serialize;
use uuid::Uuid;

/// What results say about the model that made them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// Model type first: `general-nova-3`.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// The family that the client asked for.
    pub arch: String,
}

/// A model as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// The model's id.
    pub uuid: Uuid,
    /// The model's names.
    pub info: ModelInfo,
}

/// One speech-to-text model of the listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelEntry {
    /// As in [`ModelInfo::name`].
    pub name: String,
    /// What `model=` accepts.
    pub canonical_name: String,
    /// The family.
    pub architecture: String,
    /// BCP-47 tags.
    pub languages: Vec<String>,
    /// Exact version.
    pub version: String,
    /// The model's id.
    pub uuid: Uuid,
    /// Can transcribe files.
    pub batch: bool,
    /// Can transcribe live streams.
    pub streaming: bool,
    /// The model itself writes punctuation and capitals.
    pub formatted_output: bool,
}

/// The body of `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelList {
    /// Speech to text.
    pub stt: Vec<ModelEntry>,
    /// Text to speech: none, but the key is always there.
    pub tts: [(); 0],
}

impl ModelList {
    /// A listing of these models.
    pub fn new(stt: Vec<ModelEntry>) -> Self {
        Self { stt, tts: [] }
    }
}

/// Families of the compatible product; behind a hyphen a use or a size may follow.
const FAMILIES: [&str; 7] = ["nova-3", "nova-2", "nova", "enhanced", "base", "whisper", "flux"];
/// Uses that stand for a model of the base family where they stand alone.
const BARE: [&str; 7] = [
    "meeting",
    "phonecall",
    "finance",
    "conversationalai",
    "voicemail",
    "video",
    "general",
];
/// Uses that only stand behind a family.
const FURTHER: [&str; 4] = ["medical", "drivethru", "automotive", "atc"];
/// Sizes of the family `whisper`, which has no uses.
const SIZES: [&str; 5] = ["tiny", "base", "small", "medium", "large"];

/// True of the model names that clients of the compatible product use with `/v1/listen` (contract 7.1). Any use may stand behind any
/// family: `tier` joins them freely.
pub fn is_well_known(name: &str) -> bool {
    let Some(family) = family(name).filter(|family| *family != "flux") else {
        return false;
    };
    match name.strip_prefix(family).and_then(|rest| rest.strip_prefix('-')) {
        // A family or a use alone.
        None => true,
        Some(size) if family == "whisper" => SIZES.contains(&size),
        Some(purpose) => BARE.contains(&purpose) || FURTHER.contains(&purpose),
    }
}

/// The family that a well-known model name belongs to; `None` for custom names and ids.
pub fn family(name: &str) -> Option<&'static str> {
    let belongs = |family: &&str| {
        name.strip_prefix(*family)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    FAMILIES.into_iter().find(belongs).or(BARE.contains(&name).then_some("base"))
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

    #[test]
    fn names_belong_to_families() {
        let families = [
            "nova-3",
            "nova-3-medical",
            "nova-2-phonecall",
            "nova",
            "nova-phonecall",
            "base-general",
            "phonecall",
            "flux-general-en",
        ]
        .map(family);
        let expected = ["nova-3", "nova-3", "nova-2", "nova", "nova", "base", "base", "flux"].map(Some);
        assert_eq!(families, expected);
        assert_eq!(
            ["nova-30", "novatel", "mine", "basement"].map(family),
            [family("nova"), None, None, None]
        );
    }

    #[test]
    fn the_listing_has_both_groups() {
        let entry = ModelEntry {
            name: "general-nova-3".into(),
            canonical_name: "nova-3-general".into(),
            architecture: "nova-3".into(),
            languages: vec!["en".into()],
            version: "2026-01-01.1".into(),
            uuid: Uuid::nil(),
            batch: true,
            streaming: true,
            formatted_output: false,
        };
        assert_eq!(
            crate::wire::json(&ModelList::new(vec![entry])),
            r#"{"stt":[{"name":"general-nova-3","canonical_name":"nova-3-general","architecture":"nova-3","languages":["en"],"version":"2026-01-01.1","uuid":"00000000-0000-0000-0000-000000000000","batch":true,"streaming":true,"formatted_output":false}],"tts":[]}"#
        );
        assert_eq!(crate::wire::json(&ModelList::new(Vec::new())), r#"{"stt":[],"tts":[]}"#);
    }
}
