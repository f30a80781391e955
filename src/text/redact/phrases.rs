//! The English phrases by which a number is known.
//!
//! What it does not do: look for any of them; see [`super::announced`].

use std::ops::Range;

use super::labels::{
    ACCOUNT_NUMBER, BANK_ACCOUNT, CREDIT_CARD, CREDIT_CARD_EXPIRATION, CVV, DOB, DRIVER_LICENSE, HEALTHCARE_NUMBER, IP_ADDRESS,
    LOCATION_ADDRESS, LOCATION_ZIP, Label, NUMERICAL_PII, PASSPORT_NUMBER, PASSWORD, PHONE_NUMBER, ROUTING_NUMBER, SSN, VEHICLE_ID,
};

/// A kind of number and the phrases that announce it. "Number" may follow each of them.
pub(super) struct Trigger {
    /// `None`: nothing that is redacted, though its last word may be such a phrase too.
    pub(super) label: Option<Label>,
    /// Digits that it may have; with letters, digits and letters.
    pub(super) digits: Range<usize>,
    /// Letters may be part of it.
    pub(super) letters: bool,
    /// Parted by semicolons.
    pub(super) phrases: &'static str,
}

const fn digits(label: Label, digits: Range<usize>, phrases: &'static str) -> Trigger {
    Trigger {
        label: Some(label),
        digits,
        letters: false,
        phrases,
    }
}

const fn letters(label: Label, digits: Range<usize>, phrases: &'static str) -> Trigger {
    Trigger {
        label: Some(label),
        digits,
        letters: true,
        phrases,
    }
}

/// What says that a code is meant, but not which.
pub(super) const CODE: &str = "code";

pub(super) static TRIGGERS: [Trigger; 26] = [
    digits(
        CVV,
        3..5,
        "cvv;c v v;cvv2;cvv code;c v v code;cvc code;c v c code;c v c two;cvc two;cvv two;cv2;c v two;c v 2;c v v two;cvc;c v c;cvn;\
         c v n;csc;c s c;cid;c i d;security code;security number;security digits;verification code;verification number;\
         verification value;card code;card verification;card security;three digit code;four digit code;digit code;three digit;\
         three digit number;four digit number;three digits;three numbers;three on the back;four on the front;last three;\
         last three digits;digits on the back;numbers on the back;number on the back;code on the back;digits on the front;\
         code on the front;back of the card;back of my card;back of it;on the back;signature strip;by the signature;\
         near the signature;next to the signature;little number;small digits;small numbers;small number;on the reverse;on the rear;\
         rear of the card;verification digits;verification numbers;reverse of the card;reverse side;from the back;off the back;\
         back three;last three on the back;code off the back;the three on the back;the four on the front",
    ),
    digits(
        CREDIT_CARD_EXPIRATION,
        1..9,
        "expires;expire;expiring;expiration;expiration date;expiry;expiry date;expiry month;expiry year;expires end;exp;exp date;\
         expired;valid;valid through;valid thru;valid until;valid till;valid to;valid from;good through;good thru;good until;\
         good till;good to;good up to;valid up to;runs out;card run out;card running out;runs until;runs till;runs to;runs through;lasts until;lasts till;up in;\
         thru date;not expired;expires next;month and year;date's;card date;end date;start date;issue date;date on the card;\
         date on the front;date on it",
    ),
    digits(CREDIT_CARD, 2..20, "card number;long number"),
    digits(
        CREDIT_CARD,
        3..20,
        "card;cards;credit card;debit card;bank card;payment card;charge card;credit;debit;visa;visa debit;visa electron;mastercard;\
         master card;amex;american express;discover;diners;diners club;maestro;barclaycard;barclay card;capital one;j c b;jcb;\
         unionpay;union pay;card ending in;card details;number on the front;across the front;sixteen digits;sixteen digit;\
         fifteen digits;fifteen digit;long number;one that ends in;which ends in;one ending in;one ending;another ending in;another ending;other ending;other ends in;other one ends in;one that ends with;\
         long card number;p a n;sixteen numbers;first six digits;first four digits;first eight digits",
    ),
    digits(
        CREDIT_CARD,
        4..5,
        "last four digits please;last four please;last four numbers please",
    ),
    digits(
        SSN,
        3..10,
        "ssn;s s n;s s;soc sec;tin;t i n;tax payer;taxpayer;employer id;employer i d;employer identification;social;social security;\
     social security card;soc;social sec;full social;tax id;tax i d;taxpayer id;taxpayer i d;taxpayer identification;\
     tax identification;itin;i t i n;ein;e i n;social insurance;s i n;tax file;t f n",
    ),
    digits(SSN, 3..19, "socials;ssns;social security numbers"),
    letters(
        SSN,
        2..12,
        "pan card;pan number;my pan;aadhaar;aadhaar card;aadhar;aadhar card;national insurance;nat insurance;nat ins;n i number;ni number;n i;nino;national id;national i d;national identity;\
     national identification;personal identity;unique taxpayer reference;u t r",
    ),
    digits(
        ROUTING_NUMBER,
        3..10,
        "routing;aba;a b a;sort code;sort;transit;institution;b s b;bsb;routing and transit;bank code;branch code",
    ),
    letters(
        BANK_ACCOUNT,
        3..35,
        "bank account;i ban;checking account;checking;current account;savings;savings account;iban;i b a n;swift;swift code;bic;b i c;\
         direct debit",
    ),
    letters(
        DRIVER_LICENSE,
        4..20,
        "license;licence;driver's license;drivers license;driver license;driver's licence;drivers licence;driver licence;driving licence;\
         driving license;d l;state id;state i d",
    ),
    letters(
        PASSPORT_NUMBER,
        4..12,
        "passport;passport card;travel document;green card;alien registration;alien",
    ),
    letters(
        HEALTHCARE_NUMBER,
        3..16,
        "medicare;medicare card;medicaid;medicaid card;medical record;medical records;medical id;medical i d;m r n;mrn;health plan;\
         health card;health insurance;health care;healthcare;insurance;insurance card;insurance id;insurance i d;nhs;n h s;\
         group number;group no;group id;group i d;prescription;prescription id;patient id;patient i d;patient;chart;r x;rx;bin;\
         hospital;subscriber;subscriber id;subscriber i d;beneficiary",
    ),
    letters(
        VEHICLE_ID,
        1..18,
        "vin;v i n;vehicle identification;chassis;license plate;licence plate;plate;number plate;registration;registration plate;reg;tag;\
         car registration;car reg;vehicle registration;my plates;plates",
    ),
    letters(
        ACCOUNT_NUMBER,
        3..35,
        "account;acct;a c;account id;account i d;account ending;member;member id;member i d;membership;membership id;membership card;\
         customer;customer id;customer i d;client;client id;policy;policy id;policy i d;order;order id;confirmation;\
         confirmation code;reference;reference code;ref;my ref;tracking;case;case id;claim;claim id;invoice;ticket;loan;mortgage;id;\
         i d;id card;i d card;identity card;employee id;employee i d;employee;staff;staff id;badge;badge id;student id;student i d;\
         student;reservation;reservation code;booking;booking reference;booking code;serial;record locator;locator;p n r;imei;\
         i m e i;meter;library card;loyalty card;loyalty;rewards;rewards card;frequent flyer;frequent flier;flyer;gift card;sim;\
         sim card;contract;agreement;docket;incident;crime reference;application;applicant;user number;payroll;pension;investor;\
         portfolio;transaction;transaction id;wallet;device id;service tag;receipt;delivery;parcel;consignment;permit;enrollment;\
         enrolment;file",
    ),
    letters(
        PASSWORD,
        1..33,
        "password;pass word;passcode;pass code;pass phrase;passphrase;pin;pin code;p i n;access code;one time code;one time passcode;\
         one time password;one time pin;o t p;otp;authentication code;authenticator code;authentication;login code;security pin;\
         telephone pin;security word;memorable word;memorable information;secret word;secret;unlock code;alarm code;entry code;\
         door code;gate code;safe code;lock code;puk;p u k;puk code;keypad code;combination;backup code;recovery code;code word;\
         two factor code;two factor;text code;code you texted me;code you sent me;code you sent;code you texted;activation code",
    ),
    letters(
        PASSWORD,
        5..10,
        "verification code;security code;digit code;verification;six digit code;six digit",
    ),
    letters(NUMERICAL_PII, 3..13, CODE),
    digits(
        PHONE_NUMBER,
        3..16,
        "phone;cell;cell phone;cellphone;mobile;mobile phone;telephone;tel;call me at;call me on;call me back at;call me back on;\
         call back;callback;call back at;call back on;call him on;call her on;call him at;call her at;call us at;call us on;\
         ring me on;ring me at;ring me back on;reach me at;reach me on;reach him at;reach her at;reached at;reached on;get me on;\
         get me at;text me at;text me on;text;fax;dial;area code;contact;home number;work number;daytime number;evening number;\
         office number;landline;land line;home phone;work phone;whatsapp;my number is;his number is;her number is;our number is;\
         best number;other number;new number;toll free;hotline;pager;emergency contact;next of kin",
    ),
    digits(PHONE_NUMBER, 1..7, "extension;ext"),
    digits(
        DOB,
        1..9,
        "date of birth;dates of birth;birth date;birthdate;birthday;birth day;dob;d o b;d o b's;born;born on;born in;year of birth;\
         month of birth;day of birth;birth year",
    ),
    letters(
        LOCATION_ZIP,
        3..10,
        "zip;zip code;zipcode;zip plus four;postal code;post code;postcode;postal;eircode;pin code of",
    ),
    letters(
        LOCATION_ADDRESS,
        1..8,
        "p o box;po box;p.o box;post office box;box number;flat;unit number;unit;suite number;suite;apt;apartment number;\
         flat number;house number;apartment;rural route;lot number",
    ),
    letters(IP_ADDRESS, 2..40, "ip address;i p address;mac address"),
    Trigger {
        label: None,
        digits: 1..65,
        letters: false,
        phrases: "birthday card;business card;greeting card;report card;card game;score card;sd card;memory card;graphics card;credit score;\
     credit limit;credit rating;credit check;error code;error;promo code;promotion code;discount code;voucher code;coupon code;\
     dress code;country code;product code;bar code;barcode;qr code;colour code;color code;social media;social life;social event;\
     social club;social housing;social distancing;social worker;social workers;social services;social care;phone bill;phone plan;\
     social security office;social security check;social security payment;social security benefits;in order;in case;just in case;\
     in that case;card machine;card reader;cards on;account manager;accounts payable;customer service;insurance company;\
     insurance premium;text message;text messages;password reset;ticket price;file size;pin badge",
    },
    letters(ACCOUNT_NUMBER, 4..35, "u p s;fedex;tracking code;parcel number;waybill"),
];
