//! Reads n-gram models in the ARPA text format (as SRILM and KenLM write it).
//!
//! What it does: parses, checks that counts agree, gives sorted n-grams by word id. What it does not do: numbers in other than
//! base 10, class models, interpolation of several models.

use std::collections::HashMap;
use std::io::BufRead;

use super::text::Lines;
use super::{LmError, MAX_NGRAMS, MAX_ORDER, MAX_WORD_BYTES, MAX_WORDS};

/// Longest accepted line in bytes: five words of the longest kind and two numbers.
const MAX_LINE: u64 = 2048;

/// One n-gram of some order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ngram {
    /// Word ids, oldest first; entries beyond the order are 0.
    pub words: [u32; MAX_ORDER],
    /// ln of the probability of the last word after the others.
    pub probability: f32,
    /// ln of the backoff weight.
    pub backoff: f32,
}

/// A model as it is read or built. Word ids are ranks in byte order of the words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arpa {
    /// Words in byte order, without duplicates.
    pub words: Vec<String>,
    /// For each order from 1: n-grams sorted by their words, without duplicates.
    pub orders: Vec<Vec<Ngram>>,
}

/// Parses ARPA text.
///
/// # Errors
/// [`LmError::Line`], [`LmError::Model`] for contradictions found at the end, [`LmError::Read`].
pub fn parse(reader: impl BufRead) -> Result<Arpa, LmError> {
    let mut lines = Lines::new(reader, MAX_LINE);
    let counts = header(&mut lines)?;
    let mut ids = HashMap::new();
    let mut names = Vec::new();
    let mut orders = Vec::with_capacity(counts.len());
    for (index, &count) in counts.iter().enumerate() {
        let order = index + 1;
        let title = format!("\\{order}-grams:");
        if lines.text != title {
            return Err(lines.wrong(format!("expected {title}")));
        }
        let mut ngrams = Vec::new();
        while lines.next()? && !lines.text.starts_with('\\') {
            if ngrams.len() == count {
                return Err(lines.wrong(format!("more than the announced {count} {order}-grams")));
            }
            let (ngram, name) = entry(&lines, order, &ids)?;
            if let Some(name) = name {
                let id = id_after(names.len(), &lines)?;
                if ids.insert(name.clone(), id).is_some() {
                    return Err(lines.wrong(format!("word {name} twice")));
                }
                names.push(name);
            }
            ngrams.push(ngram);
        }
        if ngrams.len() != count {
            return Err(lines.wrong(format!("{} {order}-grams where {count} were announced", ngrams.len())));
        }
        orders.push(ngrams);
    }
    if lines.text != "\\end\\" {
        return Err(lines.wrong("expected \\end\\".to_owned()));
    }
    sorted(names, orders)
}

fn header<R: BufRead>(lines: &mut Lines<R>) -> Result<Vec<usize>, LmError> {
    if !lines.next()? || lines.text != "\\data\\" {
        return Err(lines.wrong("expected \\data\\".to_owned()));
    }
    let mut counts = Vec::new();
    while lines.next()? && !lines.text.starts_with('\\') {
        let limit = if counts.is_empty() { MAX_WORDS } else { MAX_NGRAMS };
        let count = lines
            .text
            .strip_prefix("ngram ")
            .and_then(|rest| rest.split_once('='))
            .filter(|(order, _)| order.trim().parse() == Ok(counts.len() + 1))
            .and_then(|(_, count)| count.trim().parse::<usize>().ok())
            .filter(|&count| count > 0 && count < limit)
            .ok_or_else(|| lines.wrong(format!("expected 'ngram {}=' and a count below {limit}", counts.len() + 1)))?;
        counts.push(count);
        if counts.len() > MAX_ORDER {
            return Err(lines.wrong(format!("order above {MAX_ORDER}")));
        }
    }
    if counts.is_empty() {
        return Err(lines.wrong("no n-gram counts".to_owned()));
    }
    Ok(counts)
}

/// One line `probability words [backoff]`; for order 1 the new word comes along.
fn entry<R: BufRead>(lines: &Lines<R>, order: usize, ids: &HashMap<String, u32>) -> Result<(Ngram, Option<String>), LmError> {
    let mut fields = lines.text.split_whitespace();
    let number = |field: Option<&str>, what: &str| -> Result<f32, LmError> {
        let value = field.and_then(|text| text.parse::<f32>().ok()).filter(|value| value.is_finite());
        value
            .map(|base10| base10 * std::f32::consts::LN_10)
            .ok_or_else(|| lines.wrong(format!("{what} is no number")))
    };
    let probability = number(fields.next(), "probability")?;
    if probability > 1e-3 {
        return Err(lines.wrong("probability above 1".to_owned()));
    }
    let mut words = [0; MAX_ORDER];
    let mut name = None;
    for slot in words.iter_mut().take(order) {
        let word = fields.next().ok_or_else(|| lines.wrong(format!("fewer than {order} words")))?;
        if word.len() > MAX_WORD_BYTES {
            return Err(lines.wrong(format!("word longer than {MAX_WORD_BYTES} bytes")));
        }
        if order == 1 {
            *slot = id_after(ids.len(), lines)?;
            name = Some(word.to_owned());
        } else {
            *slot = *ids.get(word).ok_or_else(|| lines.wrong(format!("{word} is not among the words")))?;
        }
    }
    let backoff = match fields.next() {
        Some(field) => number(Some(field), "backoff")?,
        None => 0.0,
    };
    if fields.next().is_some() {
        return Err(lines.wrong("too many fields".to_owned()));
    }
    Ok((
        Ngram {
            words,
            probability: probability.min(0.0),
            backoff,
        },
        name,
    ))
}

fn id_after<R: BufRead>(count: usize, lines: &Lines<R>) -> Result<u32, LmError> {
    u32::try_from(count).map_err(|_| lines.wrong("too many words".to_owned()))
}

/// Renumbers the words by byte order and sorts every order.
pub(super) fn sorted(names: Vec<String>, mut orders: Vec<Vec<Ngram>>) -> Result<Arpa, LmError> {
    let mut ranked: Vec<(String, u32)> = names.into_iter().zip(0_u32..).collect();
    ranked.sort_unstable();
    let mut rank = vec![0_u32; ranked.len()];
    for (new, (_, old)) in (0_u32..).zip(&ranked) {
        if let Some(slot) = usize::try_from(*old).ok().and_then(|old| rank.get_mut(old)) {
            *slot = new;
        }
    }
    for (index, ngrams) in orders.iter_mut().enumerate() {
        for ngram in ngrams.iter_mut() {
            for word in ngram.words.iter_mut().take(index + 1) {
                *word = usize::try_from(*word)
                    .ok()
                    .and_then(|old| rank.get(old))
                    .copied()
                    .unwrap_or_default();
            }
        }
        ngrams.sort_unstable_by_key(|ngram| ngram.words);
        if ngrams.windows(2).any(|pair| matches!(pair, [a, b] if a.words == b.words)) {
            return Err(LmError::Model(format!("a {}-gram occurs twice", index + 1)));
        }
    }
    Ok(Arpa {
        words: ranked.into_iter().map(|(name, _)| name).collect(),
        orders,
    })
}
