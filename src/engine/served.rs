//! The model that a server serves, as requests see it: names, languages, abilities, contexts, vocabulary.

use std::sync::Arc;

use uuid::Uuid;

use crate::error::ApiError;
use crate::model::tokenizer::Tokenizer;
use crate::wire::models::{ModelEntry, ModelInfo, ModelRef, family, is_well_known};

/// Languages that are written without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
const UNSPACED: [&str; 7] = ["zh", "yue", "ja", "th", "lo", "km", "my"];

/// A loaded model's public face.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its own name.
    pub name: String,
    /// Other names that requests may use.
    pub aliases: Vec<String>,
    /// Requests may also use any name that clients of the compatible product know.
    pub well_known: bool,
    /// The name that `model=` is documented with.
    pub canonical_name: String,
    /// The family it reports when a request names none.
    pub arch: String,
    /// Exact version.
    pub version: String,
    /// Id.
    pub uuid: Uuid,
    /// BCP-47 tags.
    pub languages: Vec<String>,
    /// Allowed `[left, right]` contexts in frames.
    pub contexts: Vec<[i32; 2]>,
    /// Index of the context that live streams use; `None` if the model cannot stream.
    pub live: Option<usize>,
    /// Index of the context that files use.
    pub file: usize,
    /// It may be used for files.
    pub files: bool,
    /// It writes capitals and punctuation itself.
    pub formatted_output: bool,
    /// Pieces of its tokens.
    pub vocabulary: Arc<Tokenizer>,
    /// Its search runs where terms and language models can help it: see [`crate::engine::batch::Chunk::terms`].
    pub favours: bool,
    /// Names of the language models that requests may choose, in the order of [`crate::engine::batch::Chunk::lm`].
    pub language_models: Vec<String>,
}

impl Served {
    /// Its row in the listing.
    pub fn entry(&self) -> ModelEntry {
        ModelEntry {
            name: self.name.clone(),
            canonical_name: self.canonical_name.clone(),
            architecture: self.arch.clone(),
            languages: self.languages.clone(),
            version: self.version.clone(),
            uuid: self.uuid,
            batch: self.files,
            streaming: self.live.is_some(),
            formatted_output: self.formatted_output,
        }
    }

    /// What a request that asks for these is told it gets, or that there is no such thing.
    pub fn select(&self, model: Option<&str>, language: Option<&str>, version: Option<&str>) -> Result<ModelRef, ApiError> {
        let named = model.is_none_or(|model| {
            model == self.name
                || model == self.canonical_name
                || model.parse::<Uuid>() == Ok(self.uuid)
                || self.aliases.iter().any(|alias| alias == model)
                || (self.well_known && is_well_known(model))
        });
        if !named || !language.is_none_or(|language| self.speaks(language)) {
            return Err(ApiError::NoSuchModel);
        }
        if version.is_some_and(|version| version != self.version) {
            return Err(ApiError::NoSuchVersion);
        }
        let arch = model.and_then(family).unwrap_or(&self.arch).to_owned();
        Ok(ModelRef {
            uuid: self.uuid,
            info: ModelInfo {
                name: self.name.clone(),
                version: self.version.clone(),
                arch,
            },
        })
    }

    /// The place of the language model that a request chose, if it chose one, or that there is no such thing.
    pub fn language_model(&self, name: Option<&str>) -> Result<Option<usize>, ApiError> {
        let Some(name) = name else { return Ok(None) };
        let place = self.language_models.iter().position(|known| known == name);
        place
            .map(Some)
            .ok_or_else(|| ApiError::InvalidQuery("language_model: no such language model".into()))
    }

    /// The language decides, not the region: an unknown region counts as the bare language, and that is spoken where a region of it is.
    fn speaks(&self, tag: &str) -> bool {
        let bare = |tag: &str| tag.split('-').next().unwrap_or(tag).to_ascii_lowercase();
        self.languages.iter().any(|known| bare(known) == bare(tag))
    }

    /// What it hears for a request in this language is English. Without a language, and with `multi`, only if it knows no other.
    pub fn hears_english(&self, language: Option<&str>) -> bool {
        let english = |tag: &str| tag.split('-').next().is_some_and(|bare| bare.eq_ignore_ascii_case("en"));
        match language {
            Some(tag) if !tag.eq_ignore_ascii_case("multi") => english(tag),
            _ => !self.languages.is_empty() && self.languages.iter().all(|tag| english(tag)),
        }
    }

    /// What it hears for a request in this language has spaces between words. Without a language, unless it knows only others.
    pub fn spaces_words(&self, language: Option<&str>) -> bool {
        let spaced = |tag: &str| {
            let bare = tag.split('-').next().unwrap_or(tag);
            !UNSPACED.iter().any(|unspaced| unspaced.eq_ignore_ascii_case(bare))
        };
        match language {
            Some(tag) => spaced(tag),
            None => self.languages.is_empty() || self.languages.iter().any(|tag| spaced(tag)),
        }
    }

    /// The context with the next longer chunks after `index`, or `index` if there is none.
    pub fn longer(&self, index: usize) -> usize {
        let longer = (0..self.contexts.len()).filter(|other| self.right(*other) > self.right(index));
        longer.min_by_key(|other| self.right(*other)).unwrap_or(index)
    }

    /// Right context of context `index`, in frames.
    pub fn right(&self, index: usize) -> u32 {
        self.contexts
            .get(index)
            .and_then(|[_, right]| u32::try_from(*right).ok())
            .unwrap_or(0)
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
    use crate::model::tokenizer::TokenizerSettings;
    use crate::wire::query::parse_live;

    fn served(languages: &[&str]) -> Served {
        Served {
            name: "toy".into(),
            aliases: Vec::new(),
            well_known: true,
            canonical_name: "toy".into(),
            arch: "toy".into(),
            version: "1".into(),
            uuid: Uuid::nil(),
            languages: languages.iter().map(|&tag| tag.into()).collect(),
            contexts: vec![[70, 1]],
            live: Some(0),
            file: 0,
            files: true,
            formatted_output: false,
            vocabulary: Arc::new(Tokenizer::new(vec!["a".into()], TokenizerSettings::default()).unwrap()),
            favours: true,
            language_models: Vec::new(),
        }
    }

    #[test]
    fn english_is_what_was_asked_for_or_all_that_there_is() {
        for (languages, asked, wanted) in [
            (&["en", "en-US"][..], None, true),
            (&["en", "de"], None, false),
            (&["en", "de"], Some("en-GB"), true),
            (&["en", "de"], Some("de"), false),
            (&["en", "multi"], Some("multi"), false),
            (&["eng"], None, false),
            (&[], None, false),
        ] {
            assert_eq!(served(languages).hears_english(asked), wanted, "{languages:?} {asked:?}");
        }
    }

    /// The families and uses of contract 7.1, and beside them what is no name of it.
    #[test]
    fn every_model_name_of_the_compatible_product_is_answered_and_reports_its_family() {
        let model = served(&["en"]);
        let asked = |model: &Served, query: &str| {
            let options = parse_live(query).unwrap();
            let selected = model.select(options.model.as_deref(), None, None);
            selected.map(|selected| selected.info.arch)
        };
        let families = [
            ("nova-3", "general medical"),
            (
                "nova-2",
                "general meeting phonecall finance conversationalai voicemail video medical drivethru automotive atc",
            ),
            ("nova", "general phonecall medical"),
            ("enhanced", "general meeting phonecall finance"),
            ("base", "general meeting phonecall finance conversationalai voicemail video"),
            ("whisper", "tiny base small medium large"),
        ];
        let custom = Served {
            aliases: vec!["front-desk".into()],
            well_known: false,
            ..model.clone()
        };
        for (family, uses) in families {
            let names = uses.split(' ').map(|purpose| format!("model={family}-{purpose}"));
            for query in names.chain([format!("model={family}")]) {
                assert_eq!(asked(&model, &query).as_deref(), Ok(family), "{query}");
                assert_eq!(asked(&custom, &query), Err(ApiError::NoSuchModel), "{query}");
            }
        }
        for bare in "meeting phonecall finance conversationalai voicemail video general".split(' ') {
            let query = format!("model={bare}");
            assert_eq!(asked(&model, &query).as_deref(), Ok("base"), "{query}");
            for tier in ["nova-2", "nova", "enhanced", "base"] {
                let query = format!("{query}&tier={tier}");
                assert_eq!(asked(&model, &query).as_deref(), Ok(tier), "{query}");
            }
        }
        for own in ["toy", "front-desk", "00000000-0000-0000-0000-000000000000"] {
            let query = format!("model={own}");
            assert_eq!(asked(&custom, &query).as_deref(), Ok("toy"), "{query}");
        }
        for unknown in "nova-4 nova-30 nova-3- nova-2-nonsense whisper-huge medical flux flux-general-en Nova-3".split(' ') {
            let query = format!("model={unknown}");
            assert_eq!(asked(&model, &query), Err(ApiError::NoSuchModel), "{query}");
        }
    }

    #[test]
    fn a_language_model_is_chosen_by_its_name() {
        let served = Served {
            language_models: vec!["orders".into(), "taxi".into()],
            ..served(&["en"])
        };
        assert_eq!(served.language_model(None), Ok(None));
        assert_eq!(served.language_model(Some("taxi")), Ok(Some(1)));
        assert!(served.language_model(Some("Taxi")).is_err());
    }

    #[test]
    fn words_have_spaces_but_in_some_languages() {
        for (languages, asked, wanted) in [
            (&["en"][..], None, true),
            (&["en", "ja"], Some("JA-JP"), false),
            (&["en", "ja"], Some("ko"), true),
            (&["en", "ja"], None, true),
            (&["zh-CN", "th"], None, false),
            (&[], None, true),
        ] {
            assert_eq!(served(languages).spaces_words(asked), wanted, "{languages:?} {asked:?}");
        }
    }

    #[test]
    fn a_language_is_spoken_in_every_region() {
        for (languages, asked, wanted) in [
            (&["en", "en-US"][..], "en-GB", true),
            (&["en-US"], "en", true),
            (&["en-US"], "EN-us", true),
            (&["en-US"], "en-GB", true),
            (&["en-US"], "de", false),
            (&["en-US"], "eng", false),
            (&["en-US"], "en_US", false),
            (&["en", "de"], "multi", false),
            (&[], "en", false),
        ] {
            let selected = served(languages).select(None, Some(asked), None);
            assert_eq!(selected.is_ok(), wanted, "{languages:?} {asked}");
        }
    }

    #[test]
    fn the_listing_says_what_the_model_is_good_for() {
        let model = Served {
            live: None,
            files: false,
            formatted_output: true,
            ..served(&["en"])
        };
        let entry = model.entry();
        assert_eq!((entry.batch, entry.streaming, entry.formatted_output), (false, false, true));
        let entry = served(&["en"]).entry();
        assert_eq!((entry.batch, entry.streaming, entry.formatted_output), (true, true, false));
    }
}
