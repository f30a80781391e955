//! Labels of what can be redacted, and the English phrases by which it is known. Names of labels: contract 7.9.
//!
//! What it does not do: look for any of them. Who calls it: [`super::rules`].

use std::ops::Range;

/// The upper-case name of what is found.
pub(super) type Label = &'static str;

pub(super) const CREDIT_CARD: Label = "CREDIT_CARD";
pub(super) const CREDIT_CARD_EXPIRATION: Label = "CREDIT_CARD_EXPIRATION";
pub(super) const CVV: Label = "CVV";
pub(super) const SSN: Label = "SSN";
pub(super) const NUMERICAL_PII: Label = "NUMERICAL_PII";
pub(super) const PHONE_NUMBER: Label = "PHONE_NUMBER";
pub(super) const ACCOUNT_NUMBER: Label = "ACCOUNT_NUMBER";
pub(super) const BANK_ACCOUNT: Label = "BANK_ACCOUNT";
pub(super) const ROUTING_NUMBER: Label = "ROUTING_NUMBER";
pub(super) const DRIVER_LICENSE: Label = "DRIVER_LICENSE";
pub(super) const PASSPORT_NUMBER: Label = "PASSPORT_NUMBER";
pub(super) const HEALTHCARE_NUMBER: Label = "HEALTHCARE_NUMBER";
pub(super) const VEHICLE_ID: Label = "VEHICLE_ID";
pub(super) const PASSWORD: Label = "PASSWORD";
pub(super) const USERNAME: Label = "USERNAME";
pub(super) const DOB: Label = "DOB";
pub(super) const DATE: Label = "DATE";
pub(super) const DATE_INTERVAL: Label = "DATE_INTERVAL";
pub(super) const TIME: Label = "TIME";
pub(super) const AGE: Label = "AGE";
pub(super) const MONEY: Label = "MONEY";
pub(super) const PERCENT: Label = "PERCENT";
pub(super) const LOCATION_ZIP: Label = "LOCATION_ZIP";
pub(super) const LOCATION_ADDRESS: Label = "LOCATION_ADDRESS";
pub(super) const IP_ADDRESS: Label = "IP_ADDRESS";
pub(super) const EMAIL_ADDRESS: Label = "EMAIL_ADDRESS";
pub(super) const URL: Label = "URL";
pub(super) const NAME: Label = "NAME";

/// All labels that the rules can find, those of words last.
pub(super) const LABELS: [Label; 28] = [
    CREDIT_CARD,
    CREDIT_CARD_EXPIRATION,
    CVV,
    SSN,
    NUMERICAL_PII,
    PHONE_NUMBER,
    ACCOUNT_NUMBER,
    BANK_ACCOUNT,
    ROUTING_NUMBER,
    DRIVER_LICENSE,
    PASSPORT_NUMBER,
    HEALTHCARE_NUMBER,
    VEHICLE_ID,
    PASSWORD,
    USERNAME,
    DOB,
    DATE,
    DATE_INTERVAL,
    TIME,
    AGE,
    MONEY,
    PERCENT,
    LOCATION_ZIP,
    LOCATION_ADDRESS,
    IP_ADDRESS,
    EMAIL_ADDRESS,
    URL,
    NAME,
];

/// The labels whose words are not numerals, so that they are known only once more has been heard.
pub(super) const OF_WORDS: [Label; 6] = [USERNAME, PASSWORD, LOCATION_ADDRESS, EMAIL_ADDRESS, URL, NAME];

/// What a number without announcement may be by its length alone, though it is only the beginning of another.
pub(super) const BY_LENGTH: [Label; 3] = [PHONE_NUMBER, SSN, CREDIT_CARD];

/// What `pii` takes out beside cards and social security numbers.
pub(super) const PERSONAL: [Label; 19] = [
    PHONE_NUMBER,
    ACCOUNT_NUMBER,
    BANK_ACCOUNT,
    ROUTING_NUMBER,
    DRIVER_LICENSE,
    PASSPORT_NUMBER,
    HEALTHCARE_NUMBER,
    VEHICLE_ID,
    PASSWORD,
    USERNAME,
    DOB,
    AGE,
    LOCATION_ZIP,
    LOCATION_ADDRESS,
    IP_ADDRESS,
    EMAIL_ADDRESS,
    URL,
    NAME,
    NUMERICAL_PII,
];

/// A kind of number and the phrases that announce it.
pub(super) struct Trigger {
    pub(super) label: Label,
    /// Digits that it may have.
    pub(super) digits: Range<usize>,
    /// Letters may be part of it.
    pub(super) letters: bool,
    pub(super) phrases: &'static [&'static str],
}

pub(super) const TRIGGERS: [Trigger; 15] = [
    Trigger {
        label: CVV,
        digits: 3..5,
        letters: false,
        phrases: &[
            "cvv",
            "c v v",
            "cvv2",
            "cvc",
            "c v c",
            "security code",
            "security number",
            "verification code",
            "verification number",
            "verification value",
            "three digit code",
            "four digit code",
            "digit code",
            "three digits",
            "three numbers",
            "digits on the back",
            "numbers on the back",
            "number on the back",
            "code on the back",
            "back of the card",
            "back of it",
            "on the back",
        ],
    },
    Trigger {
        label: CREDIT_CARD_EXPIRATION,
        digits: 2..9,
        letters: false,
        phrases: &[
            "expires",
            "expire",
            "expiring",
            "expiration",
            "expiration date",
            "expiry",
            "expiry date",
            "exp",
            "exp date",
            "valid through",
            "valid thru",
            "valid until",
            "valid till",
            "valid to",
            "good through",
            "good thru",
            "good until",
            "good till",
        ],
    },
    Trigger {
        label: CREDIT_CARD,
        digits: 2..20,
        letters: false,
        phrases: &[
            "card",
            "card number",
            "cards",
            "credit card",
            "debit card",
            "credit",
            "debit",
            "visa",
            "mastercard",
            "master card",
            "amex",
            "american express",
            "discover",
            "card ending in",
            "number on the front",
            "sixteen digits",
            "sixteen digit number",
            "long number",
        ],
    },
    Trigger {
        label: SSN,
        digits: 3..10,
        letters: false,
        phrases: &[
            "ssn",
            "s s n",
            "social",
            "social security",
            "social security number",
            "social number",
            "socials",
            "tax id",
            "tax i d",
            "taxpayer id",
            "taxpayer identification number",
            "itin",
        ],
    },
    Trigger {
        label: ROUTING_NUMBER,
        digits: 3..10,
        letters: false,
        phrases: &["routing", "routing number", "aba", "a b a", "sort code", "transit number"],
    },
    Trigger {
        label: BANK_ACCOUNT,
        digits: 3..35,
        letters: true,
        phrases: &[
            "bank account",
            "bank account number",
            "checking account",
            "checking account number",
            "checking",
            "savings",
            "savings account",
            "savings account number",
            "iban",
            "i b a n",
        ],
    },
    Trigger {
        label: DRIVER_LICENSE,
        digits: 2..20,
        letters: true,
        phrases: &[
            "license",
            "licence",
            "license number",
            "licence number",
            "driver's license",
            "drivers license",
            "driving licence",
            "driver's license number",
            "drivers license number",
            "license is",
        ],
    },
    Trigger {
        label: PASSPORT_NUMBER,
        digits: 2..12,
        letters: true,
        phrases: &["passport", "passport number"],
    },
    Trigger {
        label: HEALTHCARE_NUMBER,
        digits: 2..16,
        letters: true,
        phrases: &[
            "medicare",
            "medicare number",
            "medicaid",
            "medicaid number",
            "medical record",
            "medical record number",
            "m r n",
            "mrn",
            "health plan",
            "health plan number",
            "insurance number",
            "insurance id",
            "insurance i d",
            "nhs number",
            "group number",
            "prescription number",
        ],
    },
    Trigger {
        label: VEHICLE_ID,
        digits: 1..18,
        letters: true,
        phrases: &[
            "vin",
            "vin number",
            "v i n",
            "vehicle identification number",
            "license plate",
            "licence plate",
            "plate number",
            "plate",
            "number plate",
            "registration number",
            "tag number",
        ],
    },
    Trigger {
        label: ACCOUNT_NUMBER,
        digits: 3..35,
        letters: true,
        phrases: &[
            "account",
            "account number",
            "acct",
            "member number",
            "member id",
            "member i d",
            "membership",
            "membership number",
            "customer number",
            "customer id",
            "policy",
            "policy number",
            "order number",
            "confirmation number",
            "confirmation code",
            "confirmation",
            "reference number",
            "reference",
            "tracking number",
            "tracking",
            "case number",
            "claim number",
            "claim",
            "invoice number",
            "ticket number",
            "loan number",
            "id number",
            "i d number",
            "employee id",
            "employee number",
            "student id",
            "reservation number",
            "booking number",
            "booking reference",
            "serial number",
        ],
    },
    Trigger {
        label: PASSWORD,
        digits: 1..33,
        letters: true,
        phrases: &[
            "password",
            "pass word",
            "passcode",
            "pass code",
            "pin",
            "pin number",
            "pin code",
            "access code",
            "one time code",
        ],
    },
    Trigger {
        label: PHONE_NUMBER,
        digits: 3..16,
        letters: false,
        phrases: &[
            "phone",
            "phone number",
            "cell",
            "cell phone",
            "cell number",
            "mobile",
            "mobile number",
            "telephone",
            "telephone number",
            "call me at",
            "call me on",
            "call me back at",
            "call back number",
            "callback number",
            "reach me at",
            "reached at",
            "text me at",
            "fax",
            "fax number",
            "dial",
            "extension",
            "area code",
            "contact number",
            "home number",
            "work number",
            "my number is",
        ],
    },
    Trigger {
        label: DOB,
        digits: 1..9,
        letters: false,
        phrases: &[
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "dob",
            "d o b",
            "born",
            "born on",
            "born in",
            "year of birth",
        ],
    },
    Trigger {
        label: LOCATION_ZIP,
        digits: 3..10,
        letters: true,
        phrases: &["zip", "zip code", "postal code", "postcode", "post code", "zipcode"],
    },
];

/// Words right behind a number that say what it counts.
pub(super) const UNITS: [(&[&str], Option<Label>); 13] = [
    (
        &["dollars", "dollar", "cents", "bucks", "euros", "euro", "pounds", "quid"],
        Some(MONEY),
    ),
    (&["percent", "per cent"], Some(PERCENT)),
    (&["years old", "year old", "years of age"], Some(AGE)),
    (
        &["am", "pm", "a m", "p m", "o'clock", "oclock", "in the morning", "in the evening"],
        Some(TIME),
    ),
    (&["in the afternoon", "at night"], Some(TIME)),
    (
        &["seconds", "minutes", "minute", "hours", "hour", "days", "day", "weeks"],
        Some(DATE_INTERVAL),
    ),
    (&["week", "months", "month", "years", "year", "business days"], Some(DATE_INTERVAL)),
    (
        &["items", "item", "times", "people", "persons", "cards", "accounts", "calls", "kids"],
        None,
    ),
    (
        &["children", "boxes", "orders", "tickets", "charges", "payments", "miles", "pieces"],
        None,
    ),
    (
        &["bedrooms", "bedroom", "copies", "units", "nights", "guests", "passengers", "bags"],
        None,
    ),
    (&["digits", "digit", "numbers", "letters", "degrees", "feet", "inches"], None),
    (
        &["percentage points", "megabytes", "gigabytes", "minutes ago", "star", "stars"],
        None,
    ),
    (&["of them", "of us", "of those", "of these", "more", "other", "others"], None),
];

pub(super) const STREETS: [&str; 27] = [
    "alley",
    "avenue",
    "ave",
    "boulevard",
    "blvd",
    "circle",
    "close",
    "court",
    "crescent",
    "drive",
    "highway",
    "hill",
    "lane",
    "loop",
    "parkway",
    "pike",
    "place",
    "plaza",
    "road",
    "route",
    "square",
    "street",
    "terrace",
    "trail",
    "walk",
    "way",
    "broadway",
];

/// What may follow an address and belongs to it, before a number.
pub(super) const SUITES: [&str; 7] = ["apartment", "apt", "suite", "unit", "floor", "room", "flat"];

pub(super) const TOP_LEVELS: [&str; 15] = [
    "com", "org", "net", "edu", "gov", "co", "io", "uk", "us", "info", "biz", "me", "de", "ca", "ai",
];

/// Phrases behind which a name comes.
pub(super) const NAME_PHRASES: [&str; 24] = [
    "my name is",
    "name's",
    "name is",
    "my name's",
    "first name is",
    "last name is",
    "surname is",
    "middle name is",
    "maiden name is",
    "maiden name",
    "under the name",
    "under the name of",
    "speaking with",
    "speaking to",
    "i am called",
    "they call me",
    "you can call me",
    "on behalf of",
    "mister",
    "mr",
    "mrs",
    "ms",
    "miss",
    "doctor",
];

/// Words that are no names, though a phrase of [`NAME_PHRASES`] stands before.
pub(super) const NO_NAMES: [&str; 65] = [
    "a", "about", "an", "and", "any", "are", "as", "at", "because", "but", "can", "correct", "could", "did", "do", "first", "for", "from",
    "had", "has", "have", "he", "how", "i", "i'm", "in", "is", "it", "it's", "last", "me", "middle", "my", "name", "no", "not", "of",
    "okay", "on", "or", "our", "please", "said", "says", "she", "so", "spelled", "that", "the", "there", "they", "this", "to", "today",
    "told", "us", "was", "we", "what", "will", "with", "would", "yes", "you", "your",
];

/// Names after [`NAME_PHRASES`] have at most this many words.
pub(super) const NAME_WORDS: usize = 3;

/// Words that cannot be part of the left side of an e-mail address.
pub(super) const NO_MAILBOX: [&str; 24] = [
    "a", "address", "an", "and", "at", "email", "e-mail", "for", "gmail", "is", "it", "it's", "its", "mail", "me", "my", "on", "or",
    "reach", "the", "that's", "to", "was", "write",
];
