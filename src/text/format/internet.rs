//! E-mail and web addresses that were spelled out.

use super::{Text, rest, word};
use crate::text::spoken::{self, Written};

/// Length of a label in a domain name (RFC 1035).
const MAX_LABEL: usize = 63;
/// Length of a name that no more is added to (RFC 1035).
const MAX_NAME: usize = 253;

/// Words of an address that may still be going on, and those behind its last sign: "dot smith at gmail".
const MAX_OPEN: usize = 12;
const MAX_AFTER_SIGN: usize = 3;

/// Names at the end of an address that are understood (a part of IANA's list of top-level domains, without those that are common words).
const TOP_LEVEL: &[&str] = &[
    "ai", "app", "au", "biz", "ca", "co", "com", "de", "dev", "edu", "es", "eu", "fr", "gov", "ie", "info", "io", "jp", "mil", "net", "nl",
    "nz", "org", "tv", "uk", "us",
];

/// A plain word before "at" is somebody's name at these hosts,
const MAIL_HOSTS: &[&str] = &[
    "aol",
    "gmail",
    "gmx",
    "hotmail",
    "icloud",
    "live",
    "mail",
    "msn",
    "outlook",
    "proton",
    "protonmail",
    "yahoo",
];

/// if it is one of these,
const MAILBOXES: &[&str] = &[
    "admin", "billing", "contact", "feedback", "hello", "help", "info", "jobs", "office", "orders", "press", "sales", "service", "support",
];

/// or if one of these was said a few words before.
const MAIL_WORDS: &[&str] = &["address", "e-mail", "email", "mail", "write"];
const MAIL_WORDS_BEFORE: usize = 6;

/// Words that do not begin an address.
const NOT_NAMES: &[&str] = &[
    "a", "address", "am", "an", "and", "are", "at", "by", "e-mail", "email", "every", "for", "from", "her", "his", "i", "in", "is", "it",
    "it's", "look", "mail", "me", "my", "number", "of", "on", "or", "our", "that", "that's", "the", "their", "this", "to", "us", "was",
    "with", "you", "your",
];

/// Words that have a sign between the parts of a name.
fn sign_of(word: &str) -> Option<char> {
    match word {
        "dot" => Some('.'),
        "dash" | "hyphen" => Some('-'),
        "underscore" => Some('_'),
        "plus" => Some('+'),
        _ => None,
    }
}

/// "john dot smith at gmail dot com": `john.smith@gmail.com`.
pub(super) fn email(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let name = name(words, &['.', '-', '_', '+'])?;
    let ["at", host @ ..] = rest(words, name.words) else { return None };
    let host = domain(host)?;
    if !may_begin(words) {
        return None;
    }
    let before = text.words.get(at.saturating_sub(MAIL_WORDS_BEFORE)..at).unwrap_or_default();
    let meant = MAILBOXES.contains(&name.text.as_str())
        || MAIL_HOSTS.iter().any(|known| host.text.split('.').next() == Some(*known))
        || before.iter().any(|word| MAIL_WORDS.contains(word));
    (meant || name.words > 1).then(|| vec![Written::new(name.words + 1 + host.words, format!("{}@{}", name.text, host.text))])
}

/// "example dot com slash help": `example.com/help`.
pub(super) fn web(text: &Text<'_>, at: usize) -> Option<Vec<Written>> {
    let words = text.run(at);
    let (scheme_words, scheme) = match words {
        ["http", "colon", "slash", "slash", ..] => (4, "http://"),
        ["https", "colon", "slash", "slash", ..] => (4, "https://"),
        _ => (0, ""),
    };
    let host = domain(rest(words, scheme_words)).filter(|host| host.words > 1)?;
    if !may_begin(rest(words, scheme_words)) {
        return None;
    }
    let (mut taken, mut written) = (scheme_words + host.words, format!("{scheme}{}", host.text));
    while let ["slash", path @ ..] = rest(words, taken)
        && let Some(name) = name(path, &['.', '-', '_'])
    {
        written.push('/');
        written.push_str(&name.text);
        taken += 1 + name.words;
    }
    Some(vec![Written::new(taken, written)])
}

/// How many of the words at the end belong to an address that is not complete yet: "john dot smith at", "w w w dot example", "john at gmail".
pub(in crate::text) fn open_address(words: &[&str]) -> usize {
    let near = words.get(words.len().saturating_sub(MAX_OPEN)..).unwrap_or_default();
    let is_sign = |word: &&str| matches!(*word, "dot" | "underscore");
    let ends_with_host = matches!(near, [.., "at", host] if MAIL_HOSTS.contains(host) && !matches!(*host, "live" | "mail"));
    let Some(last) = near.iter().rposition(is_sign) else {
        return if ends_with_host { near.len().min(3) } else { 0 };
    };
    let after = rest(near, last + 1);
    let complete = TOP_LEVEL.contains(&word(after, 0));
    if complete || after.len() > MAX_AFTER_SIGN {
        return 0;
    }
    let first = near.iter().position(is_sign).unwrap_or(last);
    near.len() - first.saturating_sub(1)
}

/// "a b c dot com" is an address, "a dot com" is none.
fn may_begin(words: &[&str]) -> bool {
    let spelled = word(words, 0).len() == 1 && word(words, 1).len() == 1;
    spelled || !NOT_NAMES.contains(&word(words, 0))
}

/// Labels with dots between, the last of which is a known name: "example dot co dot uk"; or one word that is such a thing already.
fn domain(words: &[&str]) -> Option<Written> {
    let whole = word(words, 0);
    if let Some((_, top)) = whole.rsplit_once('.') {
        return TOP_LEVEL.contains(&top).then(|| Written::new(1, whole));
    }
    let mut name = name(words, &['-'])?;
    let mut found = None;
    while let ["dot", after @ ..] = rest(words, name.words)
        && name.text.len() < MAX_NAME
    {
        // "com five" is no label.
        let top = Some(word(after, 0))
            .filter(|word| TOP_LEVEL.contains(word))
            .map(|word| Written::new(1, word));
        let Some(next) = top.or_else(|| label(after)) else { break };
        name.words += 1 + next.words;
        name.text.push('.');
        name.text.push_str(&next.text);
        if TOP_LEVEL.contains(&next.text.as_str()) {
            found = Some(name.clone());
        }
    }
    found
}

/// Labels with one of these signs between.
fn name(words: &[&str], signs: &[char]) -> Option<Written> {
    let mut name = label(words)?;
    while name.text.len() < MAX_NAME
        && let Some(sign) = sign_of(word(words, name.words)).filter(|sign| signs.contains(sign))
        && let Some(next) = label(rest(words, name.words + 1))
    {
        name.words += 1 + next.words;
        name.text.push(sign);
        name.text.push_str(&next.text);
    }
    Some(name)
}

/// Letters and digits spelled one by one, or a word and perhaps digits after it.
fn label(words: &[&str]) -> Option<Written> {
    let first = word(words, 0);
    let mut label = Written::new(0, "");
    let is_word = first.len() > 1 && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_word && !matches!(first, "at" | "slash" | "colon" | "double" | "triple") && sign_of(first).is_none() && !spoken::counts(first) {
        label = Written::new(1, first);
    }
    let letters = label.words == 0;
    loop {
        let next = word(words, label.words);
        let letter = letters && next.len() == 1 && next.bytes().all(|b| b.is_ascii_alphabetic());
        let part = if letter {
            Some(Written::new(1, next))
        } else {
            let rest = rest(words, label.words);
            let is_number = || label.words > 0 && spoken::counts(next);
            let number = || spoken::year(rest).or_else(|| spoken::number(rest)).filter(|number| !number.ordinal);
            let written = || number().map(|number| Written::new(number.words, number.value.to_string()));
            spoken::digit(rest).or_else(|| is_number().then(written).flatten())
        };
        let Some(part) = part.filter(|_| label.text.len() < MAX_LABEL) else {
            break;
        };
        label.words += part.words;
        label.text.push_str(&part.text);
    }
    (label.words > 0).then_some(label)
}
