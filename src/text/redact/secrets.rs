//! Passwords, answers to security questions, user names: words behind what announces them. English.
//!
//! What it does not do: find those of digits alone; see [`super::phrases`]. Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::{Label, PASSWORD, USERNAME};
use super::lists::{ALPHABET, FILLERS, List, NO_SECRETS, Phrases, SIGNS, list, phrases};
use super::names::{is_unusual, is_word, stops};
use super::ordinary::is_ordinary;
use super::rules::{ARMED, Found, Said};

/// Words of a password or user name.
const SECRET: usize = 12;
/// Words between "password" and "is": "the password i use is".
const SECRET_IS: usize = 6;

/// Words that nothing but a secret follows, and those that much else does.
static ANSWERS: Phrases = phrases!(
    "security word;memorable word;secret word;security answer;secret answer;security question answer;answer to my security question;\
     answer to the security question;passphrase;pass phrase;code word;safe word;memorable place;memorable answer;memorable name;\
     memorable date;first pet;first school;primary school;first car;favourite teacher;favorite teacher;verbal password;\
     childhood nickname;childhood friend;first teacher;street i grew up on;town i grew up in;city i grew up in;mother's middle name;\
     father's middle name"
);
static PASSWORDS: Phrases =
    phrases!("password;passcode;pass word;pass code;memorable information;wifi password;security question;wi-fi password;wpa key;wifi key");
static USERS: Phrases = phrases!(
    "username;user name;user id;user i d;login;log in;login name;screen name;login id;login i d;handle;gamertag;gamer tag;\
     account name;display name;skype name;sign in name;sign in"
);

/// What takes a user name only if it looks like one.
static SIGNS_IN: Phrases = phrases!(
    "log in as;logged in as;sign in as;signed in as;log on as;log in with;sign in with;log on with;login with;login as;log in under;\
     instagram is;insta is;twitter is;snapchat is;tiktok is;telegram is;discord is;skype is;twitch is;steam is;facebook is;\
     on instagram;on twitter;on snapchat;on tiktok;on telegram;on discord;on skype;on twitch"
);

/// What sets a password of which was spoken before.
static SETS: Phrases = phrases!(
    "set the password to;set my password to;set a password of;changed the password to;changed my password to;reset my password to;\
     password set to;password's set to;set it to;changed it to;change it to;reset it to;set it as;made it"
);

/// What stands between a phrase and what it announces, the longest first.
const COPULAS: [&str; 16] = [
    "used to be",
    "is it's",
    "will be",
    "would be",
    "should be",
    "to be",
    "is just",
    "is actually",
    "is still",
    "is now",
    "is called",
    "was called",
    "is",
    "was",
    "it's",
    "that's",
];

/// How a password is written, before it is said.
static WRITTEN: List = list!("all lower lowercase upper uppercase capitals caps one word small letters simply together joined up");

/// What may stand behind "password" and is none.
static NO_PASSWORD: List = list!(
    "reset manager managers protected protection hint hints field fields box screen page policy policies change changed link form \
     email rules recovery security please prompt requirements expiry sharing request error issue issues problem problems"
);

/// All of them in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let secrets = (0..said.words.len()).filter_map(|at| secret(said, at));
    secrets.map(|(label, words)| Found::of_words(label, words)).collect()
}

/// How much a secret that is announced must look like one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    /// "Answer is": whole sentences are.
    Sentence,
    /// "Password is": any words are.
    Certain,
    /// "I log in as": what is no ordinary word.
    Unusual,
    /// "Password": what is spelled, and what is no ordinary word.
    Bare,
}

/// A password or user name right behind what announces it.
fn secret(said: &Said<'_>, at: usize) -> Option<(Label, Range<usize>)> {
    let (label, announced) = announced(said, at)?;
    // "At silver surfer".
    let from = (at..at + 2).find(|at| !FILLERS.has(said.word(*at)) && (label != USERNAME || said.word(*at) != "at"))?;
    if matches!(said.word(from), "is" | "was" | "it's" | "that's" | "name" | "id" | "number") {
        return None;
    }
    let is_written = |at: &usize| WRITTEN.has(said.word(*at)) || *at > from && said.word(*at) == "case";
    let written = (from..from + SECRET).take_while(is_written).count();
    let with = if said.word(from + written) == "with" {
        aside(said, from + written)
    } else {
        0
    };
    let first = from + written + with;
    let is_phrase = is_plain(said, first + 1) && is_plain(said, first + 2);
    let word = said.word(first);
    let is_spelled = said.spelled_at(first).is_some();
    let is_sentence = announced == Announced::Sentence && matches!(word, "my" | "a" | "an" | "the" | "our" | "his" | "her");
    let is_form = (word.ends_with("ing") || word.len() > 6 && word.ends_with("ed")) && is_ordinary(word);
    let is_other = NO_SECRETS.has(word) && !is_phrase && !is_sentence && said.word(first + 1) != "for" || is_form;
    if word.is_empty() || is_other && !is_spelled {
        return None;
    }
    let (end, coded) = ends(said, first, is_phrase, announced == Announced::Sentence);
    let looks_so = (first..end.min(first + 2)).any(|at| is_unusual(said.word(at)));
    let end = match announced {
        Announced::Sentence | Announced::Certain => end,
        // "Password with a capital s".
        _ if with > 0 => end,
        Announced::Unusual if looks_so || coded > first => end,
        Announced::Unusual => first,
        Announced::Bare if looks_so || coded > first && end - coded < 2 => end,
        Announced::Bare if label == PASSWORD && is_said_alone(said, at, first..end) => end,
        Announced::Bare => coded,
    };
    let start = if said.word(at) == "at" { at } else { from };
    (end > first).then_some((label, start..end))
}

/// "My password zebra crossing", and not "a password …".
fn is_said_alone(said: &Said<'_>, at: usize, words: Range<usize>) -> bool {
    let before = at.checked_sub(2).map_or("", |before| said.word(before));
    let is_part = |at: usize| is_plain(said, at) && !NO_PASSWORD.has(said.word(at));
    words.end == said.words.len()
        && words.len() <= 3
        && words.clone().all(is_part)
        && matches!(before, "" | "my" | "and" | "is" | "account" | "verbal" | "okay" | "yes" | "wifi")
}

/// What is announced right before an index, and how.
fn announced(said: &Said<'_>, at: usize) -> Option<(Label, Announced)> {
    let is = COPULAS.iter().find_map(|copula| said.start_of(at, copula));
    let ends = |phrases: &Phrases| match is {
        Some(is) => phrases.end_at(said, is) || phrases.end_with_is_at(said, is),
        None => phrases.end_with_is_at(said, at),
    };
    let near = |words: &[&str]| is.is_some_and(|is| (is.saturating_sub(SECRET_IS)..is).any(|at| words.contains(&said.word(at))));
    let has_password = || {
        let first = said.hits.partition_point(|hit| hit.words.end + ARMED < at);
        let mut near = said
            .hits
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(|hit| hit.words.end <= at + ARMED);
        near.any(|hit| hit.trigger.label == Some(PASSWORD))
    };
    if ends(&ANSWERS) {
        Some((PASSWORD, Announced::Sentence))
    } else if ends(&PASSWORDS) || near(&["password", "passcode", "memorable"]) || SETS.end_at(said, at) && has_password() {
        Some((PASSWORD, Announced::Certain))
    } else if ends(&USERS) {
        Some((USERNAME, Announced::Certain))
    } else if ANSWERS.end_at(said, at) {
        Some((PASSWORD, Announced::Certain))
    } else if PASSWORDS.end_at(said, at) {
        Some((PASSWORD, Announced::Bare))
    } else if USERS.end_at(said, at) {
        Some((USERNAME, Announced::Bare))
    } else {
        let is_user = SIGNS_IN.end_at(said, at) || near(&["username", "login"]);
        is_user.then_some((USERNAME, Announced::Unusual))
    }
}

/// Whether a word may be one of a secret.
fn is_plain(said: &Said<'_>, at: usize) -> bool {
    let word = said.word(at);
    is_word(word) && !stops(word) && !NO_SECRETS.has(word)
}

/// Where a secret that begins at an index ends, and where the last of it that is spelled does.
fn ends(said: &Said<'_>, first: usize, is_phrase: bool, is_sentence: bool) -> (usize, usize) {
    let next = said.word(first + 1);
    let is_plain_next = is_word(next) && (!stops(next) || said.is_numeral(first + 1)) && !NO_SECRETS.has(said.word(first));
    let (mut end, mut coded) = (first, first);
    while end < first + SECRET {
        let word = said.word(end);
        let is_part = |word: &str| matches!(word, "double" | "dot" | "underscore" | "dash" | "hyphen" | "all" | "big");
        let aside = if end > first { aside(said, end) } else { 0 };
        if let Some(spelled) = said.spelled_at(end).filter(|_| word != "i") {
            end = spelled.words.end.min(first + 64).max(end + 1);
            coded = end;
        } else if said.is_numeral(end) || matches!(word, "capital" | "uppercase" | "lowercase") || ALPHABET.has(word) || is_sign(said, end)
        {
            end += 1;
            coded = end;
        } else if end > first && matches!(word, "the" | "and" | "of") && is_plain(said, end - 1) && is_plain(said, end + 1) {
            end += 1;
        } else if aside > 0 {
            end += aside;
        } else if is_word(word)
            && (!stops(word) || is_sentence && end < first + 5 || end == first && (is_phrase || is_plain_next) || is_part(word))
            && !matches!(word, "reset" | "change" | "please" | "thanks" | "thank" | "okay")
        {
            end += 1;
        } else {
            break;
        }
    }
    (end, coded)
}

/// Words of what is said of a secret while it is said: "with a capital s", "at the end".
fn aside(said: &Said<'_>, at: usize) -> usize {
    let word = |n: usize| said.word(at + n);
    match (word(0), word(1), word(2)) {
        ("with", "a" | "an" | "the", "capital" | "big" | "small") => 4,
        ("with", "a" | "an" | "the", _) => 3,
        ("at" | "on", "the", "end" | "start" | "beginning" | "front") => 3,
        _ => 0,
    }
}

/// A sign of a password, said in words: "exclamation mark".
fn is_sign(said: &Said<'_>, at: usize) -> bool {
    let word = said.word(at);
    SIGNS.has(word) && !matches!(word, "at" | "question" | "stop" | "sign" | "mark")
        || matches!((word, said.word(at + 1)), ("question", "mark") | ("at", "sign") | ("full", "stop"))
        || at > 0
            && matches!(
                (said.word(at - 1), word),
                ("exclamation" | "question", "mark") | ("at" | "dollar" | "percent" | "pound" | "hash", "sign") | ("full", "stop")
            )
}
