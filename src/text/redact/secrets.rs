//! Passwords, answers to security questions, user names: words behind what announces them. English.
//!
//! What it does not do: find those of digits alone; see [`super::phrases`]. Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::{Label, PASSWORD, USERNAME};
use super::lists::{ALPHABET, FILLERS, NO_SECRETS, SIGNS};
use super::names::{is_word, stops};
use super::rules::{Found, Said};

/// Words of a password or user name.
const SECRET: usize = 12;
/// Words between "password" and "is": "the password i use is".
const SECRET_IS: usize = 6;

/// All of them in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let secrets = (0..said.words.len()).filter_map(|at| secret(said, at));
    secrets.map(|(label, words)| Found::of_words(label, words)).collect()
}

/// A password or user name right behind what announces it.
fn secret(said: &Said<'_>, at: usize) -> Option<(Label, Range<usize>)> {
    let word = at.checked_sub(1).map_or("", |last| said.word(last));
    let is_known = word.ends_with("'s")
        || matches!(
            word,
            "is" | "was"
                | "be"
                | "password"
                | "passcode"
                | "passphrase"
                | "word"
                | "name"
                | "username"
                | "login"
                | "pin"
                | "it's"
                | "to"
                | "answer"
                | "information"
        );
    if !is_known {
        return None;
    }
    let ends = |phrase: &&str| said.ends_with(at, phrase);
    let whose = |end: usize, phrase: &str| said.ends_with(end, phrase) || said.ends_with(end, &format!("{phrase}'s"));
    let secrets = [
        "password",
        "passcode",
        "passphrase",
        "pass phrase",
        "pass word",
        "security word",
        "memorable word",
        "secret word",
        "security answer",
        "memorable information",
        "security question answer",
        "pass code",
        "code word",
        "safe word",
        "wifi password",
        "answer to my security question",
        "answer to the security question",
        "security question",
    ];
    let users = [
        "username",
        "user name",
        "user id",
        "user i d",
        "login",
        "log in",
        "login name",
        "screen name",
        "login id",
        "handle",
    ];
    let is = |phrases: &[&str]| {
        let ends_so = |more: &str| {
            phrases.iter().any(|phrase| {
                more.is_empty() && whose(at, phrase)
                    || !more.is_empty() && said.start_of(at, more).is_some_and(|end| said.ends_with(end, phrase))
            })
        };
        let said_so = ["is", "was", "will be", "should be", "to be", "used to be", "is it's", "it's"]
            .iter()
            .any(|more| ends_so(more))
            || word.ends_with("'s") && ends_so("");
        (said_so, ends_so(""))
    };
    let found = match (is(&secrets), is(&users)) {
        (found @ (_, true) | found @ (true, _), _) => Some((PASSWORD, found)),
        (_, found @ (_, true) | found @ (true, _)) => Some((USERNAME, found)),
        _ => None,
    };
    let is_of =
        matches!(word, "is" | "was") && (at.saturating_sub(SECRET_IS)..at).any(|near| matches!(said.word(near), "password" | "passcode"));
    let (label, (certain, bare)) = found.or(is_of.then_some((PASSWORD, (true, false))))?;
    let answer = ["answer is", "answer was"].iter().any(ends);
    let from = (at..at + 2).find(|at| !FILLERS.has(said.word(*at)))?;
    if matches!(said.word(from), "is" | "was") {
        return None;
    }
    let certain = certain || matches!(word, "word" | "answer") && label == PASSWORD && !said.ends_with(at, "pass word");
    let is_plain = |at: usize| is_word(said.word(at)) && !stops(said.word(at)) && !NO_SECRETS.has(said.word(at));
    let is_phrase = is_plain(from + 1) && is_plain(from + 2);
    let is_sentence = answer || ["passphrase is", "pass phrase is"].iter().any(ends);
    if NO_SECRETS.has(said.word(from)) && !is_phrase && said.word(from + 1) != "for" && said.spelled_at(from).is_none() {
        return None;
    }
    let (mut end, mut coded) = (from, from);
    while end < from + SECRET {
        let word = said.word(end);
        if let Some(spelled) = said.spelled_at(end).filter(|_| word != "i") {
            end = spelled.words.end.min(from + 64).max(end + 1);
            coded = end;
        } else if said.is_numeral(end) || matches!(word, "capital" | "uppercase" | "lowercase") || ALPHABET.has(word) || is_sign(said, end)
        {
            end += 1;
            coded = end;
        } else if is_word(word)
            && (!stops(word)
                || is_sentence && end < from + 5
                || end == from && is_phrase
                || matches!(word, "double" | "dot" | "underscore" | "dash" | "hyphen" | "all" | "big"))
            && !matches!(word, "reset" | "change" | "please")
        {
            end += 1;
        } else {
            break;
        }
    }
    let end = if certain || answer {
        end
    } else if bare {
        coded
    } else {
        from
    };
    (end > from).then_some((label, from..end))
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
