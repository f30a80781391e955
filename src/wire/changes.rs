//! The parameters by which a client has words changed before they are shown, and something found in them.
//!
//! What it does: reads and limits them. What it does not do: change or find anything (see `text`). Who calls it: [`super::query`].

use super::pairs::{Pairs, invalid};
use crate::error::ApiError;

const MAX_REPLACE: usize = 200;
const MAX_REPLACE_LENGTH: usize = 512;
const MAX_SEARCH: usize = 50;
/// Most characters of what is looked for.
pub const MAX_SEARCH_LENGTH: usize = 64;

/// What `redact` may name: groups, and the labels of single entities that the rules find.
pub const REDACTIONS: [&str; 32] = [
    "pci",
    "pii",
    "numbers",
    "aggressive_numbers",
    "account_number",
    "age",
    "bank_account",
    "credit_card",
    "credit_card_expiration",
    "cvv",
    "date",
    "date_interval",
    "dob",
    "driver_license",
    "email_address",
    "healthcare_number",
    "ip_address",
    "location_address",
    "location_zip",
    "money",
    "name",
    "numerical_pii",
    "passport_number",
    "password",
    "percent",
    "phone_number",
    "routing_number",
    "ssn",
    "time",
    "url",
    "username",
    "vehicle_id",
];

/// What a client wants changed in the words, and found in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordChanges {
    /// Keep "uh" and "um".
    pub filler_words: bool,
    /// How numbers and the like are written.
    pub format: Format,
    /// Mask profanity.
    pub profanity_filter: bool,
    /// What is redacted, as [`REDACTIONS`] writes it.
    pub redact: Vec<String>,
    /// Asterisks stand in its place, one for each word, and no tokens. Not the request says so, but the server's configuration.
    pub asterisks: bool,
    /// Phrases and what stands in their place, perhaps nothing.
    pub replace: Vec<(String, String)>,
    /// What is looked for, each of at most [`MAX_SEARCH_LENGTH`] characters.
    pub search: Vec<String>,
    /// Report what the words are about.
    pub entities: bool,
}

/// What is written in another form than it is spoken in; `text::format` does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Numbers in digits.
    pub numerals: bool,
    /// Numbers, and dates, times, money, numbers of phones and accounts, addresses as they are usually written.
    pub smart: bool,
    /// Units of measurement after a number as their signs.
    pub measurements: bool,
    /// Spoken punctuation as marks; only with punctuation.
    pub dictation: bool,
}

impl WordChanges {
    /// What the query says; `punctuate`: the words have punctuation.
    pub(super) fn read(pairs: &Pairs, punctuate: bool) -> Result<Self, ApiError> {
        let rules = pairs.list("replace");
        if rules.len() > MAX_REPLACE || rules.iter().any(|rule| rule.len() > MAX_REPLACE_LENGTH) {
            return Err(ApiError::InvalidQuery(format!(
                "replace: at most {MAX_REPLACE} of at most {MAX_REPLACE_LENGTH} bytes are allowed"
            )));
        }
        let replace = rules.iter().map(|rule| {
            // Without anything to put there, what is found is left out.
            let (find, with) = rule.split_once(':').unwrap_or((rule, ""));
            if find.trim().is_empty() {
                return Err(invalid("replace", rule, "find:with"));
            }
            Ok((find.to_owned(), with.to_owned()))
        });
        Ok(WordChanges {
            filler_words: pairs.boolean("filler_words")?,
            format: Format {
                numerals: pairs.boolean("numerals")?,
                smart: pairs.boolean("smart_format")?,
                measurements: pairs.boolean("measurements")?,
                dictation: pairs.boolean("dictation")? && punctuate,
            },
            profanity_filter: pairs.boolean("profanity_filter")?,
            redact: redact(pairs)?,
            asterisks: false,
            replace: replace.collect::<Result<_, _>>()?,
            search: search(pairs)?,
            entities: pairs.boolean("detect_entities")?,
        })
    }

    /// Something is done with entities: a result that ends within one shows less than it could.
    pub fn has_entities(&self) -> bool {
        self.format.smart || self.entities || !self.redact.is_empty()
    }

    /// Formatting knows English only: without `english` the words stay as the model wrote them. Returns the parameters that were given
    /// and have little or no effect for that reason.
    pub fn format_if(&mut self, english: bool) -> Vec<&'static str> {
        if english {
            return Vec::new();
        }
        let format = std::mem::take(&mut self.format);
        let asked = [
            ("numerals", format.numerals),
            ("smart_format", format.smart),
            ("measurements", format.measurements),
            ("dictation", format.dictation),
            ("profanity_filter", self.profanity_filter),
            ("redact", !self.redact.is_empty()),
            ("detect_entities", self.entities),
        ];
        asked.into_iter().filter_map(|(name, asked)| asked.then_some(name)).collect()
    }
}

fn search(pairs: &Pairs) -> Result<Vec<String>, ApiError> {
    let search = pairs.list("search");
    if search.len() > MAX_SEARCH || search.iter().any(|query| query.chars().count() > MAX_SEARCH_LENGTH) {
        return Err(ApiError::InvalidQuery(format!(
            "search: at most {MAX_SEARCH} of at most {MAX_SEARCH_LENGTH} characters are allowed"
        )));
    }
    Ok(search)
}

/// What cannot be redacted is refused: nobody must believe that it was.
fn redact(pairs: &Pairs) -> Result<Vec<String>, ApiError> {
    let mut redact = Vec::new();
    for value in pairs.list("redact") {
        let name = match value.trim().to_ascii_lowercase() {
            name if name == "true" => "numbers".to_owned(),
            name => name,
        };
        if REDACTIONS.contains(&name.as_str()) {
            redact.push(name);
        } else if name != "false" {
            return Err(invalid("redact", &value, &REDACTIONS.join(", ")));
        }
    }
    Ok(redact)
}
