//! The parameters by which a client names words to favour: `keywords` and `keyterm`.
//!
//! What it does: reads and limits them, and says which models take which. What it does not do: favour anything (see `terms`).
//! Who calls it: [`super::query`]; `stream`, where keyterms come in a message.

use super::models;
use super::pairs::{Pairs, invalid};
use crate::error::ApiError;

/// Weight of a term where the client gives none.
pub const USUAL_WEIGHT: f32 = 1.0;

const MAX_KEYWORDS: usize = 100;
const MAX_KEYTERM_TOKENS: usize = 500;
const MAX_KEYTERM_BYTES: usize = 64 << 10;

/// The terms to favour and their weights. Keywords belong to the models before nova-3, keyterms to nova-3 and later; a custom model
/// may have either.
pub(super) fn read(pairs: &Pairs, model: Option<&str>) -> Result<Vec<(String, f32)>, ApiError> {
    let family = model.and_then(models::family);
    let keywords = pairs.list("keywords");
    if !keywords.is_empty() && family == Some("nova-3") {
        return Err(ApiError::Conflict("keywords is not supported by model nova-3; use keyterm."));
    }
    if keywords.len() > MAX_KEYWORDS {
        return Err(ApiError::InvalidQuery("keywords: at most 100 are allowed".into()));
    }
    let shuns = family.is_none_or(|family| family == "base");
    let mut favoured = Vec::new();
    for keyword in &keywords {
        let (word, weight) = match keyword.rsplit_once(':') {
            Some((word, weight)) => (word, weight.trim().parse().ok()),
            None => (keyword.as_str(), Some(USUAL_WEIGHT)),
        };
        match weight.filter(|weight: &f32| weight.is_finite()) {
            None => return Err(invalid("keywords", keyword, "word or word:weight")),
            Some(weight) if weight < 0.0 && !shuns => {
                return Err(invalid("keywords", keyword, "a weight of at least 0; base models alone take less"));
            }
            Some(weight) => favoured.push((word.to_owned(), weight_of(weight))),
        }
    }
    let keyterms = pairs.list("keyterm");
    if !keyterms.is_empty() && !takes_keyterms(model) {
        return Err(ApiError::Conflict("keyterm is not supported by this model; use keywords."));
    }
    check_keyterms(&keyterms)?;
    favoured.extend(keyterms.into_iter().map(|term| (term, USUAL_WEIGHT)));
    Ok(favoured)
}

/// What a weight counts as. Up to the usual one as it is, beyond less and less: with more than half as much again a term would be found
/// where nobody says it. Below 0 it is halved: a term that is shunned too much leaves a gap of letters that nobody said.
fn weight_of(given: f32) -> f32 {
    let beyond = given.abs().max(USUAL_WEIGHT);
    let weight = given.clamp(-USUAL_WEIGHT, USUAL_WEIGHT) * (1.5 - 0.5 * USUAL_WEIGHT / beyond);
    if weight < 0.0 { 0.5 * weight } else { weight }
}

/// True if requests for this model may carry keyterms.
pub fn takes_keyterms(model: Option<&str>) -> bool {
    let family = model.and_then(models::family);
    family.is_none_or(|family| matches!(family, "nova-3" | "flux"))
}

/// Refuses too many keyterms. Words stand for tokens; as many bytes as a query may have bound them where they come in a message.
pub fn check_keyterms(keyterms: &[String]) -> Result<(), ApiError> {
    let words: usize = keyterms.iter().map(|term| term.split_whitespace().count()).sum();
    let bytes: usize = keyterms.iter().map(String::len).sum();
    if words > MAX_KEYTERM_TOKENS || bytes > MAX_KEYTERM_BYTES {
        return Err(ApiError::KeytermLimit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyterms_are_limited_by_words_and_bytes() {
        for (term, times, fits) in [
            ("a b".to_owned(), 250, true),
            ("a b c".to_owned(), 167, false),
            ("a".repeat(64 << 10), 1, true),
            ("a".repeat(64 << 10), 2, false),
        ] {
            assert_eq!(check_keyterms(&vec![term; times]).is_ok(), fits);
        }
    }
}
