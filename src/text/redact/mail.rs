//! E-mail and web addresses as they are spoken. English.
//!
//! What it does: finds what ends with a "dot" and a top level, and mailboxes at providers that everyone knows, with the asides in them ("with
//! a k", "no spaces"). What it does not do: check that there is such a domain. Who calls it: [`super::rules`].

use std::ops::Range;

use super::labels::{EMAIL_ADDRESS, Label, URL};
use super::lists::{FILLERS, List, NO_MAILBOX, TOP_LEVELS, list};
use super::names::{is_word, stops};
use super::people::is_known;
use super::rules::{Found, Said};

/// Words of a mailbox, and those of a host; what is spelled counts as one.
const MAILBOX: usize = 16;
const HOST: usize = 12;
/// Words between the last of a host and the "at" before it.
const SIGN: usize = 7;
/// Words over which "email" is remembered.
const MAIL: usize = 14;
/// Words behind "my email is" that may be an address.
const OPEN: usize = 20;
/// Words of a web address before its "dot".
const SITE: usize = 6;

/// Providers that are little else.
const PROVIDERS: [&str; 10] = [
    "gmail",
    "g mail",
    "googlemail",
    "google mail",
    "hotmail",
    "hot mail",
    "icloud",
    "proton mail",
    "protonmail",
    "btinternet",
];

/// Providers that are other things too.
const COMPANIES: [&str; 13] = [
    "bt internet",
    "yahoo",
    "outlook",
    "aol",
    "a o l",
    "i cloud",
    "live",
    "msn",
    "sky",
    "comcast",
    "verizon",
    "ymail",
    "b t internet",
];

/// Words within a mailbox, between others of it.
static ASIDES: List = list!("with a an and that's the then in no or not");

/// Top levels of countries, letter by letter.
const SPELLED_LEVELS: [(&str, &str); 16] = [
    ("a", "u"),
    ("c", "a"),
    ("c", "h"),
    ("d", "e"),
    ("e", "s"),
    ("e", "u"),
    ("f", "r"),
    ("i", "e"),
    ("i", "n"),
    ("i", "t"),
    ("n", "l"),
    ("n", "z"),
    ("s", "g"),
    ("u", "k"),
    ("u", "s"),
    ("z", "a"),
];

/// Words that are not between the "at" and the last word of a host.
static NO_HOST: List = list!("and but try visit go see i we you because on or to from at my");

/// Words before a web address.
static NO_SITE: List = list!(
    "a an the my our your his her their is it's was to on at from visit see with and i you we go of in for that this it slash called \
     website site page check try use us be are by or yes okay so then have has"
);

/// What parts the words of an address.
static SIGNS: List = list!("dot point period underscore dash hyphen");

/// All of them in the words.
pub(super) fn find(said: &Said<'_>) -> Vec<Found> {
    let found = (0..said.words.len()).filter_map(|at| {
        written(said.word(at))
            .map(|label| (label, at..at + 1))
            .or_else(|| mail_or_site(said, at))
            .or_else(|| at_provider(said, at))
    });
    found.map(|(label, words)| Found::of_words(label, words)).collect()
}

/// Where what follows "my email is" begins, if it goes on to the end of the words.
pub(super) fn open_from(words: &[&str]) -> Option<usize> {
    let near = words.len().saturating_sub(OPEN);
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let is_mail = |at: usize| matches!(word(at), "email" | "e-mail" | "mail" | "emails" | "email's" | "e-mail's" | "mail's");
    let mail = (near..words.len()).rev().find(|at| is_mail(*at))?;
    let is = (mail..mail + 4).find(|at| word(*at).ends_with("'s") || matches!(word(*at), "is" | "be" | "was"))?;
    let is_over = (is..words.len()).any(|at| word(at) == "dot" && TOP_LEVELS.has(word(at + 1)) && at + 3 < words.len());
    (!is_over).then_some(is + 1)
}

/// What one word is, as a model may write it: "john@example.org", "www.example.org".
fn written(word: &str) -> Option<Label> {
    let (before, level) = word.rsplit_once('.')?;
    let is_host = before.len() > 1 && TOP_LEVELS.has(level) && before.chars().any(char::is_alphabetic);
    is_host.then_some(if word.contains('@') { EMAIL_ADDRESS } else { URL })
}

/// Whether a word parts the top level from the rest.
fn is_dot(said: &Said<'_>, at: usize) -> bool {
    let is_plain = || matches!(said.word(at + 1), "com" | "co" | "org" | "net" | "edu" | "gov" | "uk");
    said.word(at) == "dot" || matches!(said.word(at), "point" | "period") && is_plain()
}

/// Where the top level ends that begins at an index: "com", "c a".
fn top_level(said: &Said<'_>, at: usize) -> Option<usize> {
    let is_spelled = SPELLED_LEVELS.contains(&(said.word(at), said.word(at + 1))) && said.word(at + 2).chars().count() != 1;
    if is_spelled {
        Some(at + 2)
    } else {
        TOP_LEVELS.has(said.word(at)).then_some(at + 1)
    }
}

/// An e-mail or web address whose last "dot" stands at an index.
fn mail_or_site(said: &Said<'_>, at: usize) -> Option<(Label, Range<usize>)> {
    let next = at + 1 + usize::from(FILLERS.has(said.word(at + 1)));
    let mut end = top_level(said, next).filter(|_| is_dot(said, at))?;
    if is_dot(said, end) && top_level(said, end + 1).is_some() {
        return None;
    }
    let start = host(said, at)?;
    if let Some(sign) = sign_before(said, start) {
        return Some((EMAIL_ADDRESS, mailbox(said, sign)..end));
    }
    // "With a dot in between".
    if start + 1 == at && stops(said.word(start)) && said.spelled_at(start).is_none() {
        return None;
    }
    loop {
        end += match (said.word(end), said.word(end + 1)) {
            ("slash", next) if !next.is_empty() => 2,
            ("forward", "slash") if end + 2 < said.words.len() => 3,
            _ => break,
        };
    }
    Some((URL, start..end))
}

/// Where the "at" or "at sign" begins that stands right before an index.
fn sign_before(said: &Said<'_>, end: usize) -> Option<usize> {
    ["at", "at sign", "at the rate"].iter().find_map(|sign| said.start_of(end, sign))
}

/// A mailbox whose "at" stands at an index, before a provider without a top level.
fn at_provider(said: &Said<'_>, at: usize) -> Option<(Label, Range<usize>)> {
    if said.word(at) != "at" {
        return None;
    }
    let start = at + 1 + usize::from(said.word(at + 1) == "sign");
    let end_of = |name: &&str| {
        let end = start + name.split(' ').count();
        said.ends_with(end, name).then_some(end)
    };
    let known = PROVIDERS.iter().find_map(end_of);
    let end = known.or_else(|| COMPANIES.iter().find_map(end_of))?;
    let first = mailbox(said, at);
    let is_coded = (first..at).any(|at| said.is_numeral(at) || SIGNS.has(said.word(at)) || is_known(said.word(at)));
    let is_mail = known.is_some() || is_coded || speaks_of_mail(said, at);
    (is_mail && first < at).then(|| (EMAIL_ADDRESS, first..end + usize::from(said.word(end) == "com")))
}

fn speaks_of_mail(said: &Said<'_>, before: usize) -> bool {
    (before.saturating_sub(MAIL)..before).any(|at| {
        matches!(
            said.word(at),
            "email" | "e-mail" | "mail" | "address" | "email's" | "e-mail's" | "mail's"
        )
    })
}

/// The beginning of the host whose last "dot" stands at an index: behind an "at", or behind "w w w", or the words that dots join.
fn host(said: &Said<'_>, dot: usize) -> Option<usize> {
    let least = dot.saturating_sub(HOST);
    let mut start = dot.checked_sub(1)?;
    let mut first = start;
    loop {
        if let Some(spelled) = said.spelled_at(start) {
            start = spelled.words.start.min(start);
        }
        first = first.min(start);
        let before = start.checked_sub(1).map_or("", |before| said.word(before));
        if !(SIGNS.has(before) || matches!(before, "uh" | "um")) || start < 2 || start <= least {
            break;
        }
        start -= if matches!(before, "uh" | "um") { 1 } else { 2 };
    }
    first = first.min(start);
    // A host of several words is known by its beginning.
    let is_mail = speaks_of_mail(said, first);
    for back in 0..SIGN {
        let Some(sign) = first.checked_sub(back) else { break };
        if sign_before(said, sign).is_some() {
            return Some(sign);
        }
        let word = sign.checked_sub(1).map_or("", |before| said.word(before));
        if NO_HOST.has(word) && !is_mail {
            break;
        }
    }
    let web = (least..first)
        .rev()
        .find(|at| said.word(*at) == "dot" && matches!(said.word(at.saturating_sub(1)), "w" | "www"));
    let web = web.map(|at| {
        if said.word(at.saturating_sub(1)) == "www" {
            at - 1
        } else {
            at.saturating_sub(3)
        }
    });
    if web.is_some() {
        return web;
    }
    let start = site(said, first);
    let scheme = said.start_of(start, "colon slash slash").and_then(|colon| colon.checked_sub(1));
    let letters = scheme.and_then(|scheme| said.spelled_at(scheme)).map(|letters| letters.words.start);
    Some(letters.or(scheme).unwrap_or(start))
}

/// The beginning of a web address of several words: "my site is green gardens dot org", "pizza palace dot com".
fn site(said: &Said<'_>, first: usize) -> usize {
    let is_site = |at: usize| matches!(said.word(at), "site" | "website" | "page" | "url" | "domain" | "address" | "web");
    let announced = (first.saturating_sub(SITE)..first)
        .rev()
        .find(|at| matches!(said.word(*at), "is" | "it's" | "was") || said.word(*at).ends_with("site's"))
        .filter(|at| (at.saturating_sub(2)..=*at).any(is_site));
    if let Some(is) = announced {
        return is + 1;
    }
    let is_part = |at: &usize| is_word(said.word(*at)) && !NO_SITE.has(said.word(*at));
    let plain = (first.saturating_sub(SITE)..first).rev().take_while(is_part).count();
    let before = (first - plain).checked_sub(1).map_or("", |before| said.word(before));
    let names_it = before.is_empty() || NO_SITE.has(before);
    if names_it && plain <= 3 { first - plain } else { first }
}

/// The beginning of what stands before the "at" of an e-mail address.
fn mailbox(said: &Said<'_>, at: usize) -> usize {
    let mut start = at;
    for _ in 0..MAILBOX {
        let Some(before) = start.checked_sub(1) else { break };
        if let Some(spelled) = said.spelled_at(before) {
            start = spelled.words.start;
            continue;
        }
        let word = said.word(before);
        let joins = SIGNS.has(said.word(before.saturating_sub(1))) && before > 0 || start < at && SIGNS.has(said.word(start));
        let is_box = start == at && matches!(word, "hello" | "hi" | "contact" | "mail") || word == "no" && said.word(start) == "reply";
        // "Mike t uh at outlook dot com".
        let hesitates = FILLERS.has(word) && before.checked_sub(1).is_some_and(|at| !NO_MAILBOX.has(said.word(at)));
        if !NO_MAILBOX.has(word) || joins || is_box || hesitates {
            start = before;
        } else if let Some(aside) = aside(said, start) {
            start = aside;
        } else {
            break;
        }
    }
    // "My email's the old mill at …".
    let the = start.checked_sub(1).filter(|the| said.word(*the) == "the");
    let is_announced = |the: &usize| {
        matches!(
            said.word(the.saturating_sub(1)),
            "is" | "it's" | "email's" | "e-mail's" | "mail's" | "address's"
        )
    };
    the.filter(is_announced).unwrap_or(start)
}

/// The beginning of an aside that ends at an index, if a part of a mailbox stands before it: "with a", "nine to five", "that's".
fn aside(said: &Said<'_>, end: usize) -> Option<usize> {
    let is_letter = |at: usize| said.word(at) == "i" && at > 0 && matches!(said.word(at - 1), "a" | "an");
    let is_aside = |at: usize| ASIDES.has(said.word(at)) || is_letter(at) || said.word(at) == "to" && at > 0 && said.is_numeral(at - 1);
    let count = (1..=end.min(3)).take_while(|back| is_aside(end - back)).count();
    let start = end - count;
    let is_box = match start.checked_sub(1) {
        Some(before) => !NO_MAILBOX.has(said.word(before)),
        None => said.word(start) == "the",
    };
    (count > 0 && is_box).then_some(start)
}
