use super::*;
use crate::wire::Seconds;
use crate::wire::changes::REDACTIONS;

/// What callers say, one form a line: `option|words`, with what must not be shown in braces.
const CASES: &str = include_str!("cases.txt");
/// The same, not looked at when rules are made.
const UNSEEN: &str = include_str!("unseen.txt");
/// What they say without anything to hide.
const HARMLESS: &str = include_str!("harmless.txt");

/// Words of a form: option, words, which of them are sensitive.
struct Form {
    option: String,
    words: Vec<String>,
    sensitive: Vec<bool>,
}

fn forms(text: &str) -> Vec<Form> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (option, said) = line.split_once('|').unwrap();
            let (mut words, mut sensitive, mut inside) = (Vec::new(), Vec::new(), false);
            for word in said.split(' ') {
                inside |= word.starts_with('{');
                words.push(word.trim_matches(['{', '}']).to_owned());
                sensitive.push(inside);
                inside &= !word.ends_with('}');
            }
            assert!(!inside, "{line}");
            Form {
                option: option.to_owned(),
                words,
                sensitive,
            }
        })
        .collect()
}

/// Words of a second each, so that their times tell which they are.
fn spoken(words: &[String]) -> Vec<Word> {
    (0_u32..)
        .zip(words)
        .map(|(n, word)| Word {
            word: word.clone(),
            start: Seconds(f64::from(n)),
            end: Seconds(f64::from(n) + 1.0),
            confidence: 0.9,
            punctuated_word: None,
        })
        .collect()
}

fn redaction(options: &[&str]) -> Redaction {
    Redaction::new(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>(), false)
}

/// Which words are still to be seen.
fn visible(shown: &[Word]) -> Vec<usize> {
    let words = shown.iter().filter(|word| !word.word.starts_with('['));
    words.map(|word| word.start.0 as usize).collect()
}

fn leaked<'a>(form: &'a Form, shown: &[Word]) -> Vec<&'a str> {
    let seen = visible(shown).into_iter().filter(|n| form.sensitive[*n]);
    seen.map(|n| form.words[n].as_str()).collect()
}

fn text(shown: &[Word]) -> String {
    shown.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ")
}

fn redacted(options: &[&str], words: &str) -> String {
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    text(&whole(&redaction(options), &words))
}

/// What is shown of words that are all there are.
fn whole(redaction: &Redaction, words: &[String]) -> Vec<Word> {
    redaction.words(spoken(words), &mut Memory::default(), Stage::Whole).words
}

/// What is shown of the first words of a stream.
fn interim(redaction: &Redaction, words: &[String]) -> Vec<Word> {
    redaction.words(spoken(words), &mut Memory::default(), Stage::Interim).words
}

#[test]
fn of_what_callers_say_at_least_98_in_100_is_redacted_and_false_alarms_are_listed() {
    let forms = forms(CASES);
    assert!(forms.len() >= 200, "{}", forms.len());
    let (mut missed, mut alarms) = (Vec::new(), Vec::new());
    for form in &forms {
        let shown = whole(&redaction(&[&form.option]), &form.words);
        let leaks = leaked(form, &shown);
        if !leaks.is_empty() {
            missed.push(format!("{}: {} [shown: {}]", form.option, form.words.join(" "), leaks.join(" ")));
        }
        let seen = visible(&shown);
        let gone: Vec<&str> = (0..form.words.len())
            .filter(|n| !form.sensitive[*n] && !seen.contains(n))
            .map(|n| form.words[n].as_str())
            .collect();
        if !gone.is_empty() {
            alarms.push(format!("{}: {} [gone: {}]", form.option, form.words.join(" "), gone.join(" ")));
        }
    }
    let recall = 1.0 - missed.len() as f64 / forms.len() as f64;
    println!("{} forms, recall {:.1} %", forms.len(), recall * 100.0);
    println!(
        "missed:\n  {}\nmore than had to be:\n  {}",
        missed.join("\n  "),
        alarms.join("\n  ")
    );
    assert!(recall >= 0.98, "{recall}: {missed:#?}");
    assert!(alarms.len() <= forms.len() / 20, "{alarms:#?}");
}

#[test]
fn of_forms_that_the_rules_were_not_made_for_19_in_20_are_redacted() {
    let forms = forms(UNSEEN);
    assert!(forms.len() >= 250, "{}", forms.len());
    let missed = |form: &&Form| !leaked(form, &whole(&redaction(&[&form.option]), &form.words)).is_empty();
    let missed = forms.iter().filter(missed).count();
    println!("{} forms, {missed} missed", forms.len());
    assert!(missed * 20 <= forms.len(), "{missed} of {}", forms.len());
}

#[test]
fn what_is_harmless_stays() {
    let mut alarms = Vec::new();
    for form in forms(HARMLESS) {
        let shown = whole(&redaction(&[&form.option]), &form.words);
        if shown.len() != form.words.len() || text(&shown).contains('[') {
            alarms.push(format!("{}: {} -> {}", form.option, form.words.join(" "), text(&shown)));
        }
    }
    println!("false alarms:\n  {}", alarms.join("\n  "));
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[test]
fn nothing_sensitive_is_in_any_interim() {
    let mut leaks = Vec::new();
    for form in forms(CASES) {
        let redaction = redaction(&[&form.option]);
        let missed = leaked(&form, &whole(&redaction, &form.words)).len();
        for heard in 1..=form.words.len() {
            let shown = interim(&redaction, &form.words[..heard]);
            if leaked(&form, &shown).len() > missed {
                leaks.push(format!("{}: {} -> {}", form.option, form.words[..heard].join(" "), text(&shown)));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn an_interim_shows_no_name_before_it_is_known_to_be_none() {
    let words: Vec<String> = "so you can reach me at john dot smith at gmail dot com any time of the day i am at home"
        .split(' ')
        .map(str::to_owned)
        .collect();
    for heard in 1..=words.len() {
        let shown = interim(&redaction(&["email_address"]), &words[..heard]);
        assert!(
            !text(&shown).contains("john") && !text(&shown).contains("smith"),
            "{}",
            text(&shown)
        );
    }
}

#[test]
fn a_number_that_goes_on_in_the_next_final_is_redacted_there_too() {
    let mut leaks = Vec::new();
    for form in forms(CASES)
        .iter()
        .filter(|form| ["pci", "ssn", "numbers"].contains(&form.option.as_str()))
    {
        let redaction = redaction(&[&form.option]);
        for cut in (1..form.words.len()).filter(|cut| form.sensitive[*cut - 1] && form.sensitive[*cut]) {
            let mut memory = Memory::default();
            let words = spoken(&form.words);
            let mut shown = redaction.words(words[..cut].to_vec(), &mut memory, Stage::Final).words;
            shown.extend(redaction.words(words[cut..].to_vec(), &mut memory, Stage::Final).words);
            // A final ends with at most two digits that nothing has said to be sensitive, and with what is said between them.
            let is_between = |word: &str| ["double", "dash", "point"].contains(&word);
            if leaked(form, &shown).iter().filter(|word| !is_between(word)).count() > 2 {
                leaks.push(format!("{} {cut}: {} -> {}", form.option, form.words.join(" "), text(&shown)));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_card_in_groups_that_nothing_announced_is_gone_from_the_final_before_too() {
    let redaction = redaction(&["pci"]);
    let mut memory = Memory::default();
    let mut say = |said: &str| {
        let words: Vec<String> = said.split(' ').map(str::to_owned).collect();
        text(&redaction.words(spoken(&words), &mut memory, Stage::Final).words)
    };
    let first = say("it's four five one seven where are my glasses today two two oh eight");
    assert_eq!(first, "it's [CREDIT_CARD_1] where are my glasses today [CREDIT_CARD_2]");
    let last = say("i can hardly read it one one four six and the end is seven oh nine three");
    assert_eq!(last, "i can hardly read it [CREDIT_CARD_3] and the end is [CREDIT_CARD_4]");
}

#[test]
fn tokens_name_and_number_what_they_stand_for() {
    for (options, said, wanted) in [
        (
            &["ssn"][..],
            "my ssn is five five five one two three four five six and his is one two three four five six seven eight nine",
            "my ssn is [SSN_1] and his is [SSN_2]",
        ),
        (
            &["pci"],
            "card four one one one one one one one one one one one one one one one expiring oh nine twenty eight security code three two one",
            "card [CREDIT_CARD_1] expiring [CREDIT_CARD_EXPIRATION_1] security code [CVV_1]",
        ),
        (
            &["numbers"],
            "code nine hundred or seven one two or nine hundred",
            "code [NUMERICAL_PII_1] or [NUMERICAL_PII_2] or [NUMERICAL_PII_1]",
        ),
        (&["aggressive_numbers"], "i have two cats", "i have [NUMERICAL_PII_1] cats"),
        (
            &["pii"],
            "i am john call four one five five five five two six seven one",
            "i am [NAME_1] call [PHONE_NUMBER_1]",
        ),
        (&["dob"], "born on march third nineteen eighty in rome", "born on [DOB_1] in rome"),
        (
            &["phone_number"],
            "card ends in four four two one",
            "card ends in four four two one",
        ),
        (
            &["location_address"],
            "i live at three hundred main street in rome",
            "i live at [LOCATION_ADDRESS_1] in rome",
        ),
        (
            &["pci", "ssn"],
            "visa ends in one two three four and my social ends in one two three four",
            "visa ends in [CREDIT_CARD_1] and my social ends in [SSN_1]",
        ),
    ] {
        assert_eq!(redacted(options, said), wanted, "{options:?}");
    }
}

#[test]
fn numerals_that_may_go_on_stand_under_a_label_that_they_can_have() {
    let words: Vec<String> = "the room is two oh five".split(' ').map(str::to_owned).collect();
    for (options, wanted) in [
        (&["name"][..], "the room is two oh five"),
        (&["name", "dob", "ssn"], "the room is [SSN_1]"),
        (&["name", "account_number"], "the room is [ACCOUNT_NUMBER_1]"),
    ] {
        let shown = redaction(options).words(spoken(&words), &mut Memory::default(), Stage::Final).words;
        assert_eq!(text(&shown), wanted, "{options:?}");
    }
}

#[test]
fn a_token_spans_its_words_and_keeps_what_ends_the_sentence() {
    let mut words = spoken(&["code".into(), "nine".into(), "hundred".into(), "okay".into()]);
    words[2].confidence = 0.4;
    for word in &mut words {
        word.punctuated_word = Some(word.word.clone());
    }
    words[2].punctuated_word = Some("hundred.".into());
    let shown = redaction(&["numbers"]).words(words, &mut Memory::default(), Stage::Whole).words;
    let token = &shown[1];
    assert_eq!((token.start.0, token.end.0), (1.0, 3.0));
    assert!((token.confidence - 0.4).abs() < 1e-6);
    assert_eq!(token.punctuated_word.as_deref(), Some("[NUMERICAL_PII_1]."));
}

#[test]
fn the_same_number_keeps_its_token_through_a_stream() {
    let redaction = redaction(&["numbers"]);
    let mut memory = Memory::default();
    let say = |memory: &mut Memory, said: &str| {
        let words: Vec<String> = said.split(' ').map(str::to_owned).collect();
        text(&redaction.words(spoken(&words), memory, Stage::Final).words)
    };
    assert_eq!(say(&mut memory, "code nine hundred okay"), "code [NUMERICAL_PII_1] okay");
    assert_eq!(say(&mut memory, "or five five five maybe"), "or [NUMERICAL_PII_2] maybe");
    assert_eq!(say(&mut memory, "no nine hundred it was"), "no [NUMERICAL_PII_1] it was");
    let interim = redaction.words(
        spoken(&["six".into(), "six".into(), "six".into()]),
        &mut memory.clone(),
        Stage::Interim,
    );
    assert_eq!(text(&interim.words), "[NUMERICAL_PII_3]");
    assert_eq!(
        say(&mut memory, "code seven seven seven okay"),
        "code [NUMERICAL_PII_3] okay",
        "interims count nothing"
    );
}

#[test]
fn whatever_a_request_may_ask_for_is_known_here() {
    for value in REDACTIONS {
        assert!(redaction(&[value]).is_on(), "{value}");
    }
    assert!(
        labels::LABELS
            .iter()
            .all(|label| REDACTIONS.contains(&label.to_ascii_lowercase().as_str()))
    );
    assert!(!redaction(&[]).is_on());
}

#[test]
fn what_is_told_alone_stays_in_every_stage() {
    let words: Vec<String> = "my number is five five five one two three four"
        .split(' ')
        .map(str::to_owned)
        .collect();
    let telling = Redaction::new(&[], true);
    for stage in [Stage::Interim, Stage::Final, Stage::Whole] {
        for heard in 1..=words.len() {
            let shown = telling.words(spoken(&words[..heard]), &mut Memory::default(), stage);
            assert_eq!(text(&shown.words), words[..heard].join(" "), "{stage:?}");
        }
    }
}

#[test]
fn hours_of_spelled_words_take_little_time() {
    let words: Vec<String> = (0..20_000).flat_map(|_| ["x", "seven"]).map(str::to_owned).collect();
    let began = std::time::Instant::now();
    let shown = redaction(&["pii"]).words(spoken(&words), &mut Memory::default(), Stage::Whole);
    assert!(!shown.words.is_empty());
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
}

#[test]
fn what_is_remembered_of_a_stream_is_bounded() {
    let redaction = redaction(&["aggressive_numbers"]);
    let mut memory = Memory::default();
    for n in 0..6_000 {
        redaction.words(spoken(&[format!("{n}"), "okay".into()]), &mut memory, Stage::Final);
    }
    assert_eq!(memory.recent.len(), RECENT);
    assert_eq!(memory.numbers.len(), DISTINCT);
}

/// What is told of words: label, first word, number of words.
fn told(redaction: &Redaction, memory: &mut Memory, said: &str) -> Vec<(&'static str, usize, usize)> {
    let words: Vec<String> = said.split(' ').map(str::to_owned).collect();
    let spans = redaction.words(spoken(&words), memory, Stage::Final).entities;
    let span = |span: &Span| (span.label, span.start.0 as usize, (span.end.0 - span.start.0) as usize);
    spans.iter().map(span).collect()
}

#[test]
fn what_is_known_by_name_is_told_without_overlap() {
    let tells = Redaction::new(&[], true);
    for (said, wanted) in [
        ("my name is john smith", &[("NAME", 3, 2)][..]),
        ("nothing to tell", &[]),
        ("i have two cats", &[]),
        ("twenty dollars in five days", &[("MONEY", 0, 2), ("DATE_INTERVAL", 3, 2)]),
        ("at three hundred main street apartment five", &[("LOCATION_ADDRESS", 1, 6)]),
        ("write to john five at gmail dot com", &[("EMAIL_ADDRESS", 2, 6)]),
        (
            "call five five five one two one two on march third",
            &[("PHONE_NUMBER", 1, 7), ("DATE", 9, 2)],
        ),
    ] {
        assert_eq!(told(&tells, &mut Memory::default(), said), wanted, "{said}");
    }
    assert!(
        told(&redaction(&["pii"]), &mut Memory::default(), "my name is john").is_empty(),
        "only if asked"
    );
}

#[test]
fn what_is_redacted_is_told_under_the_label_of_its_token() {
    let redaction = Redaction::new(&["numbers".to_owned()], true);
    let mut memory = Memory::default();
    let said = "code nine hundred and my name is john";
    assert_eq!(told(&redaction, &mut memory, said), [("NUMERICAL_PII", 1, 2), ("NAME", 7, 1)]);
}

#[test]
fn the_final_before_says_what_is_told_in_the_next() {
    let tells = Redaction::new(&[], true);
    let mut memory = Memory::default();
    assert!(told(&tells, &mut memory, "my policy number is").is_empty());
    assert_eq!(told(&tells, &mut memory, "four four one seven thanks"), [("ACCOUNT_NUMBER", 0, 4)]);
}
