//! Labels of what can be redacted. Names: contract 7.9.
//!
//! What it does not do: say how any of it is known; see [`super::phrases`]. Who calls it: all of redaction.

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
