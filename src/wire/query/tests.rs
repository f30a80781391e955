use proptest::prelude::*;

use super::*;

fn live(query: &str) -> ListenOptions {
    parse_live(query).unwrap()
}

fn refusal(result: Result<ListenOptions, ApiError>) -> (u16, &'static str, String) {
    let error = result.unwrap_err();
    (error.status(), error.code(), error.to_string())
}

#[test]
fn replacements_are_read_and_limited() {
    let changes = live("replace=a+b:c:d&replace=gone&filler_words=True&profanity_filter=true").changes;
    let rule = |find: &str, with: &str| (find.to_owned(), with.to_owned());
    assert_eq!(changes.replace, [rule("a b", "c:d"), rule("gone", "")]);
    assert!(changes.filler_words && changes.profanity_filter);
    assert_eq!(live("").changes, WordChanges::default());
    for bad in [
        "replace=:x".to_owned(),
        format!("replace={}", "x".repeat(513)),
        "replace=a:b&".repeat(201),
        "filler_words=maybe".to_owned(),
    ] {
        assert!(parse_live(&bad).is_err(), "{}", &bad[..20.min(bad.len())]);
    }
}

#[test]
fn nothing_given_means_the_defaults() {
    let options = live("");
    let audio = DeclaredAudio {
        encoding: None,
        sample_rate: None,
        channels: 1,
        multichannel: false,
    };
    assert_eq!(
        (options.model, options.version, options.language, options.audio),
        (None, None, None, audio)
    );
    assert_eq!(
        (options.interim_results, options.vad_events, options.punctuate),
        (false, false, false)
    );
    assert_eq!((options.endpointing, options.utterance_end), (Some(Millis(10)), None));
    assert_eq!(parse_file("").unwrap().utt_split, None);
}

#[test]
fn booleans_in_capitals_are_accepted() {
    assert!(live("interim_results=True&punctuate=False").interim_results);
    assert_eq!(refusal(parse_live("interim_results=1")).1, "INVALID_QUERY_PARAMETER");
    assert_eq!(refusal(parse_file("smart_format=yes")).1, "INVALID_QUERY_PARAMETER");
}

#[test]
fn what_livekit_and_pipecat_always_send_is_accepted() {
    live(
        "model=nova-3&punctuate=true&smart_format=false&no_delay=true&interim_results=true&encoding=linear16&vad_events=true&sample_rate=16000&channels=1&endpointing=25&filler_words=true&profanity_filter=false&numerals=false&mip_opt_out=false&language=en-US",
    );
    live(
        "model=nova-3-general&encoding=linear16&sample_rate=16000&channels=1&multichannel=false&detect_entities=false&diarize=false&dictation=false&summarize=false&keywords=&redact=false&utterance_end_ms=1000&vad_events=false&interim_results=true",
    );
    parse_file("model=nova-3&detect_language=false&punctuate=true&language=en&sentiment=false").unwrap();
}

#[test]
fn raw_audio_needs_its_rate() {
    let audio = live("encoding=mulaw&sample_rate=8000&channels=2&multichannel=true").audio;
    assert_eq!(
        audio,
        DeclaredAudio {
            encoding: Some(Encoding::Mulaw),
            sample_rate: Some(Hz(8_000)),
            channels: 2,
            multichannel: true
        }
    );
    for encoding in Encoding::ALL.into_iter().filter(|encoding| *encoding != Encoding::OggOpus) {
        let refused = refusal(parse_live(&format!("encoding={}", encoding.name())));
        assert_eq!((refused.0, refused.1), (400, "INVALID_QUERY_PARAMETER"));
        assert!(refused.2.contains("sample_rate"), "{}", refused.2);
    }
    assert_eq!(live("encoding=ogg-opus").audio.encoding, Some(Encoding::OggOpus));
    assert_eq!(
        live("sample_rate=1&channels=99").audio.sample_rate,
        None,
        "ignored without an encoding"
    );
}

#[test]
fn audio_values_out_of_range_are_refused() {
    let base = "encoding=linear16&sample_rate=";
    for good in ["8000", "48000"] {
        live(&format!("{base}{good}"));
    }
    for bad in ["7999", "48001", "0", "-1", "16k", "16000.0", "99999999999"] {
        assert_eq!(refusal(parse_live(&format!("{base}{bad}"))).1, "INVALID_QUERY_PARAMETER", "{bad}");
    }
    live(&format!("{base}16000&channels=20"));
    for bad in ["0", "21", "-1", "two"] {
        assert_eq!(
            refusal(parse_live(&format!("{base}16000&channels={bad}"))).1,
            "INVALID_QUERY_PARAMETER",
            "{bad}"
        );
    }
    assert_eq!(refusal(parse_live("encoding=amr-wb&sample_rate=8000")).1, "INVALID_QUERY_PARAMETER");
    assert_eq!(refusal(parse_live("encoding=mp3&sample_rate=8000")).1, "INVALID_QUERY_PARAMETER");
}

#[test]
fn endpointing_may_be_a_number_or_a_switch() {
    assert_eq!(live("endpointing=300").endpointing, Some(Millis(300)));
    assert_eq!(live("endpointing=false").endpointing, None);
    assert_eq!(live("endpointing=False").endpointing, None);
    assert_eq!(live("endpointing=0").endpointing, None);
    assert_eq!(live("endpointing=true").endpointing, Some(Millis(10)));
    assert_eq!(refusal(parse_live("endpointing=soon")).1, "INVALID_QUERY_PARAMETER");
    assert_eq!(parse_file("endpointing=soon").unwrap().endpointing, None, "unknown to files");
}

#[test]
fn utterance_end_is_raised_to_a_second_and_needs_interim_results() {
    assert_eq!(live("utterance_end_ms=500&interim_results=true").utterance_end, Some(Millis(1_000)));
    assert_eq!(
        live("utterance_end_ms=1500&interim_results=true").utterance_end,
        Some(Millis(1_500))
    );
    assert_eq!(live("utterance_end_ms=1500").utterance_end, None);
    assert_eq!(refusal(parse_live("utterance_end_ms=1.5")).1, "INVALID_QUERY_PARAMETER");
}

#[test]
fn a_tier_joins_the_model_and_the_latest_version_is_none() {
    assert_eq!(live("model=general&tier=nova").model.as_deref(), Some("nova-general"));
    assert_eq!(live("tier=nova").model.as_deref(), Some("nova"));
    assert_eq!(live("version=latest").version, None);
    assert_eq!(live("version=2026-01-01.1").version.as_deref(), Some("2026-01-01.1"));
}

#[test]
fn languages_use_hyphens() {
    assert_eq!(live("language=de-DE").language.as_deref(), Some("de-DE"));
    assert_eq!(live("language=multi").language.as_deref(), Some("multi"));
    assert_eq!(parse_live("language=de_DE"), Err(ApiError::NoSuchModel));
    assert_eq!(parse_live("language=de-"), Err(ApiError::NoSuchModel));
    assert_eq!(
        live("language_hint=en&language_hint=es-419&language_hint=").language_hint,
        ["en", "es-419"]
    );
    assert_eq!(refusal(parse_live("language_hint=de_DE")).1, "INVALID_QUERY_PARAMETER");
    assert_eq!(refusal(parse_live(&"language_hint=en&".repeat(21))).1, "INVALID_QUERY_PARAMETER");
}

#[test]
fn diarize_parameters_exclude_each_other() {
    assert!(
        refusal(parse_live("diarize=true&diarize_model=v1"))
            .2
            .contains("diarize and diarize_model")
    );
    assert!(
        refusal(parse_file("diarize=true&diarize_model=v2"))
            .2
            .contains("diarize and diarize_model")
    );
    live("diarize=false&diarize_model=v1");
    parse_file("diarize_model=v2").unwrap();
    let (status, code, text) = refusal(parse_live("diarize_model=v2"));
    assert_eq!((status, code), (400, "Bad Request"));
    assert!(text.contains("diarize_model=v2"), "{text}");
    assert_eq!(refusal(parse_live("diarize_model=v9")).1, "INVALID_QUERY_PARAMETER");
}

#[test]
fn summaries_are_for_files() {
    assert_eq!(
        refusal(parse_live("summarize=v2")),
        (
            400,
            "Bad Request",
            "Bad Request: Summarization is not available for streaming.".into()
        )
    );
    live("summarize=false&sentiment=nonsense&utt_split=nonsense&paragraphs=nonsense&utterances=x&detect_language=_");
    parse_file("summarize=v2&topics=true&custom_topic=a&custom_topic_mode=strict").unwrap();
    assert!(parse_file("summarize=v1").is_err());
    assert!(parse_file("custom_intent_mode=loose").is_err());
}

#[test]
fn a_language_model_may_be_named() {
    assert_eq!(live("language_model=orders").language_model.as_deref(), Some("orders"));
    assert_eq!(
        parse_file("language_model=a&language_model=b").unwrap().language_model.as_deref(),
        Some("b")
    );
    assert_eq!(live("language_model=").language_model, None);
}

#[test]
fn parameters_without_effect_are_checked_and_told() {
    for (live, bad) in [
        (true, "alternatives=two"),
        (true, "alternatives=-1"),
        (true, "mip_opt_out=maybe"),
        (true, "diarize=maybe"),
        (false, "sentiment=maybe"),
        (false, "topics=maybe"),
        (false, "intents=maybe"),
        (true, "summarize=maybe"),
        (false, "detect_language=de_DE"),
        (false, "custom_topic_mode=loose"),
    ] {
        assert_eq!(refusal(parse_file(bad)).1, "INVALID_QUERY_PARAMETER", "{bad}");
        assert_eq!(parse_live(bad).is_err(), live, "{bad}");
    }
    assert_eq!(refusal(parse_live("no_delay=maybe")).1, "INVALID_QUERY_PARAMETER");
    live("alternatives=3&mip_opt_out=true&no_delay=true");
    for name in ["custom_topic", "custom_intent"] {
        let many = |count: usize| format!("{name}=a&").repeat(count);
        parse_file(&many(100)).unwrap();
        assert_eq!(refusal(parse_file(&many(101))).1, "INVALID_QUERY_PARAMETER", "{name}");
    }
    let told = |query: &str| {
        let warnings = parse_file(query).unwrap().warnings;
        warnings.iter().map(|warning| warning.parameter).collect::<Vec<_>>()
    };
    assert_eq!(
        told("diarize=true&topics=true&summarize=v2&detect_language=en"),
        ["diarize", "topics", "summarize", "detect_language"]
    );
    assert_eq!(told("diarize=false&topics=false&summarize=false&detect_language=False"), [""; 0]);
    assert_eq!(live("diarize_model=latest").warnings.len(), 1);
}

#[test]
fn keywords_and_keyterms_belong_to_different_models() {
    assert!(refusal(parse_live("model=nova-3&keywords=snow:2")).2.contains("keywords"));
    live("model=nova-3&keywords=");
    live("model=nova-2&keywords=snow:2&keywords=rain");
    live("model=nova-3&keyterm=snow:2&keyterm=two+words");
    live("keyterm=snow");
    live("model=my-own&keyterm=snow&keywords=rain");
    assert!(refusal(parse_live("model=nova-2-phonecall&keyterm=snow")).2.contains("keyterm"));
    for bad in ["heavy", "nan", "inf", "1e39", ""] {
        assert!(parse_live(&format!("model=nova-2&keywords=snow:{bad}")).is_err(), "{bad}");
    }
    let many = "keyterm=one+two+three+four+five&".repeat(100);
    live(&many);
    assert_eq!(parse_live(&format!("{many}keyterm=more")), Err(ApiError::KeytermLimit));
    assert!(parse_live(&"keywords=a&".repeat(101)).is_err());
}

#[test]
fn punctuation_is_implied_by_other_features() {
    for query in ["punctuate=true", "smart_format=true", "detect_entities=true"] {
        assert!(live(query).punctuate, "{query}");
        assert!(parse_file(query).unwrap().punctuate, "{query}");
    }
    assert!(parse_file("paragraphs=true").unwrap().punctuate);
    assert!(!live("paragraphs=true").punctuate);
}

#[test]
fn paragraphs_are_of_files_and_implied_by_smart_format() {
    for (query, wanted) in [
        ("", false),
        ("paragraphs=true", true),
        ("smart_format=true&paragraphs=false", true),
        ("punctuate=true", false),
    ] {
        assert_eq!(parse_file(query).unwrap().paragraphs, wanted, "{query}");
        assert!(!live(query).paragraphs, "{query}");
    }
}

#[test]
fn what_is_looked_for_is_limited_in_number_and_length() {
    assert_eq!(live("search=refund&search=a+b,c&search=").changes.search, ["refund", "a b,c"]);
    parse_file(&format!("search={}", "%C3%A4".repeat(64))).unwrap();
    assert!(parse_file(&format!("search={}", "a".repeat(65))).is_err());
    live(&"search=a&".repeat(50));
    assert!(parse_live(&"search=a&".repeat(51)).is_err());
}

#[test]
fn finals_may_be_held_for_entities_of_live_streams() {
    for (query, wanted) in [
        ("smart_format=true", true),
        ("redact=pci", true),
        ("detect_entities=true", true),
        ("punctuate=true&numerals=true&redact=false", false),
    ] {
        let options = live(query);
        assert_eq!((options.changes.has_entities(), options.no_delay), (wanted, false), "{query}");
    }
    assert!(live("smart_format=true&no_delay=True").no_delay);
    assert!(parse_live("no_delay=maybe").is_err());
}

#[test]
fn formats_are_read_and_dictation_needs_punctuation() {
    let format = |query: &str| live(query).changes.format;
    assert_eq!(
        format("numerals=false&smart_format=false&dictation=False"),
        crate::wire::changes::Format::default()
    );
    for (query, wanted) in [
        ("numerals=true", [true, false, false, false]),
        ("smart_format=True", [false, true, false, false]),
        ("measurements=true", [false, false, true, false]),
        ("dictation=true", [false; 4]),
        ("dictation=true&punctuate=true", [false, false, false, true]),
        ("dictation=true&smart_format=true", [false, true, false, true]),
    ] {
        let found = format(query);
        assert_eq!(
            [found.numerals, found.smart, found.measurements, found.dictation],
            wanted,
            "{query}"
        );
        assert_eq!(parse_file(query).unwrap().changes.format, found, "{query}");
    }
    for name in ["numerals", "smart_format", "measurements", "dictation"] {
        assert!(parse_live(&format!("{name}=yes")).is_err(), "{name}");
    }
}

#[test]
fn what_knows_english_only_is_told_where_another_language_is_spoken() {
    let mut changes = live("numerals=true&smart_format=true&profanity_filter=true&redact=pci&measurements=false").changes;
    let given = changes.clone();
    assert_eq!(changes.format_if(true), [""; 0]);
    assert_eq!(changes, given);
    assert_eq!(changes.format_if(false), ["numerals", "smart_format", "profanity_filter", "redact"]);
    assert_eq!(changes.format, crate::wire::changes::Format::default());
    assert_eq!(live("").changes.format_if(false), [""; 0]);
}

#[test]
fn utterances_of_files_have_a_split() {
    assert_eq!(parse_file("utterances=true").unwrap().utt_split, Some(0.8));
    assert_eq!(parse_file("utterances=true&utt_split=1.2").unwrap().utt_split, Some(1.2));
    assert_eq!(parse_file("utt_split=1.2").unwrap().utt_split, None);
    assert!(parse_file("utterances=true&utt_split=-1").is_err());
    assert!(parse_file("utterances=true&utt_split=NaN").is_err());
}

#[test]
fn callbacks_are_checked() {
    let callback = parse_file("callback=https%3A%2F%2Fu%3Ap%40host%2Fpath&callback_method=put")
        .unwrap()
        .callback
        .unwrap();
    assert_eq!((callback.url.as_str(), callback.method), ("https://u:p@host/path", "PUT"));
    for bad in ["nonsense", "ftp://host/", "http://", "http://:80/", "http://a%20b/", "wss://host/"] {
        assert_eq!(parse_file(&format!("callback={bad}")), Err(ApiError::InvalidCallback), "{bad}");
    }
    assert!(live("callback=wss://host/").callback.is_some());
    assert!(parse_file("callback=http://h/&callback_method=PATCH").is_err());
}

#[test]
fn labels_are_kept_within_their_limits() {
    let options = live("tag=a&tag=b&extra=k:v:w&extra=k:last&extra=l:");
    assert_eq!(options.tags, ["a", "b"]);
    assert_eq!(
        options.extra.into_iter().collect::<Vec<_>>(),
        [("k".into(), "last".into()), ("l".into(), String::new())]
    );
    live(&format!("tag={}", "t".repeat(128)));
    assert!(parse_live(&format!("tag={}", "t".repeat(129))).is_err());
    live(&format!("extra=k:{}", "v".repeat(2_046)));
    assert!(parse_live(&format!("extra=k:{}", "v".repeat(2_047))).is_err());
    assert!(parse_live("extra=novalue").is_err());
}

#[test]
fn unknown_parameters_and_legacy_ones_are_ignored() {
    live("foo=bar&Interim_Results=nonsense&diarize_version=x&keyword_boost=legacy&ner=1&token=abc");
}

#[test]
fn what_cannot_be_redacted_is_refused() {
    let redact = |query: &str| live(query).changes.redact;
    assert_eq!(redact("redact=pci&redact=SSN"), ["pci", "ssn"]);
    assert_eq!(redact("redact=true"), ["numbers"]);
    assert_eq!(redact("redact=%5B%22pii%22%2C%22email_address%22%5D"), ["pii", "email_address"]);
    assert!(redact("redact=false&redact=").is_empty());
    for query in ["redact=phi", "redact=occupation", "redact=pci&redact=everything"] {
        assert_eq!(parse_file(query).unwrap_err().status(), 400, "{query}");
    }
}

#[test]
fn terms_have_weights() {
    for (query, terms) in [
        (
            "model=nova-2&keywords=Snow:2&keywords=rain&keywords=a:b:0&keywords=hail:0.5&keywords=ice:1e9",
            vec![("Snow", 1.25), ("rain", 1.0), ("a:b", 0.0), ("hail", 0.5), ("ice", 1.5)],
        ),
        (
            "model=nova-3&keyterm=Snow:2&keyterm=two+words,+three",
            vec![("Snow:2", 1.0), ("two words, three", 1.0)],
        ),
        ("model=my-own&keywords=rain:-1&keyterm=snow", vec![("rain", -0.5), ("snow", 1.0)]),
        ("model=base&keywords=rain:-1", vec![("rain", -0.5)]),
        ("keyterm=&keywords=", vec![]),
    ] {
        assert_eq!(live(query).terms().collect::<Vec<_>>(), terms, "{query}");
        assert_eq!(parse_file(query).unwrap().terms().collect::<Vec<_>>(), terms, "{query}");
    }
    assert!(refusal(parse_live("model=nova-2&keywords=rain:-1")).2.contains("base"));
}

proptest! {
    #[test]
    fn any_text_is_answered(query in "([a-z_]{1,12}=[ -~]{0,12}&){0,8}") {
        for parsed in [parse_live(&query), parse_file(&query)] {
            match parsed {
                Ok(options) => prop_assert!((1..=MAX_CHANNELS).contains(&options.audio.channels)),
                Err(error) => prop_assert_eq!(error.status(), 400),
            }
        }
    }
}
