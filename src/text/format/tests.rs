use proptest::prelude::*;

use super::*;
use crate::text::words;
use crate::units::Samples;

const NONE: Format = Format {
    numerals: false,
    smart: false,
    measurements: false,
    dictation: false,
};
const NUMERALS: Format = Format { numerals: true, ..NONE };
const SMART: Format = Format { smart: true, ..NONE };
const MEASUREMENTS: Format = Format {
    measurements: true,
    ..NONE
};
const DICTATION: Format = Format { dictation: true, ..NONE };

/// Words of a second each, without pauses, ever less certain.
fn said(text: &str, punctuate: bool) -> Vec<Word> {
    let word = |(n, text): (usize, &str)| {
        let word = words::Word {
            text: text.to_owned(),
            start: Samples(n as u64 * 16_000),
            end: Samples((n as u64 + 1) * 16_000),
            confidence: 0.9 - n as f32 * 0.001,
            first: n,
        };
        word.to_wire(punctuate)
    };
    text.split_whitespace().enumerate().map(word).collect()
}

fn shown(format: Format, text: &str, punctuate: bool) -> String {
    let words = format.words(said(text, punctuate));
    let one = |word: Word| word.punctuated_word.unwrap_or(word.word);
    words.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Cases of what is said and what is written; without the latter nothing may change.
fn check(format: Format, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (text, written) in cases {
        let wanted = if written.is_empty() { text } else { written };
        let found = shown(format, text, true);
        if found != *wanted {
            wrong += &format!("{text:?} is written {found:?} and not {wanted:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn numerals_are_digits() {
    check(
        NUMERALS,
        &[
            ("nine two eight", "9 2 8"),
            ("nine hundred", "900"),
            ("i have two dogs.", "i have 2 dogs."),
            ("Seven people, eleven dogs", "7 people, 11 dogs"),
            ("zero calls", "0 calls"),
            ("ninety nine", "99"),
            ("twenty-five", "25"),
            ("twenty five thousand three hundred", "25300"),
            ("two thousand and five people", "2005 people"),
            ("a hundred and five", "105"),
            ("a thousand thanks", "1000 thanks"),
            ("two million five hundred thousand", "2500000"),
            ("between one hundred and two hundred", "between 100 and 200"),
            ("between one hundred and five", "between 100 and 5"),
            ("five twenty", "5 20"),
            ("two point five", "2.5"),
            ("zero point zero zero", "0.00"),
            ("three point one four one five nine", "3.14159"),
            ("two point five million", "2.5 million"),
            ("minus five", "-5"),
            ("it is negative twenty two point five outside", "it is -22.5 outside"),
            ("ten minus five", "10 minus 5"),
            ("the twenty first century", "the 21st century"),
            ("my fifth call", "my 5th call"),
            ("the one hundred and third time", "the 103rd time"),
            ("the twenty second floor", "the 22nd floor"),
            ("a twenty second delay", "a 20 second delay"),
            ("wait five seconds", "wait 5 seconds"),
            ("in nineteen ninety four", "in 1994"),
            ("since twenty twenty two.", "since 2022."),
            ("in nineteen oh five", "in 1905"),
            ("in two thousand nineteen", "in 2019"),
            ("twenty twenty two thirty", "20 22 30"),
            ("five oh five", "5 0 5"),
            ("double five", "55"),
            ("triple oh seven", "000 7"),
            ("oh one two", "0 1 2"),
            ("five five five one two three four", "5 5 5 1 2 3 4"),
            ("fifty percent", "50 percent"),
            ("one percent", "1 percent"),
            ("press one", "press 1"),
            ("option one or two", "option 1 or 2"),
            ("one or two", "1 or 2"),
            ("two or one", "2 or 1"),
            ("one hour", "1 hour"),
            ("one hundred", "100"),
            ("one one two", "1 1 2"),
            ("one, two, three.", "1, 2, 3."),
            ("twenty, five", "20, 5"),
            ("two hundred five hundred", "200 500"),
            ("eight thirty seven pm", "8 37 pm"),
            ("twenty dollars", "20 dollars"),
            ("ten o'clock", "10 o'clock"),
        ],
    );
}

#[test]
fn words_that_are_no_numbers_stay() {
    check(
        NUMERALS,
        &[
            ("one of them", ""),
            ("no one knows", ""),
            ("this one and that one", ""),
            ("which one do you want?", ""),
            ("One should not", ""),
            ("the other one", ""),
            ("one day", ""),
            ("wait a second", ""),
            ("just a second please", ""),
            ("on second thought", ""),
            ("the second charge", ""),
            ("first of all", ""),
            ("a third party", ""),
            ("one third of it", ""),
            ("two thirds", ""),
            ("three quarters", ""),
            ("one fifth", ""),
            ("one and a half", ""),
            ("oh no", ""),
            ("oh one moment", ""),
            ("a few hundred people", ""),
            ("hundreds of thousands", ""),
            ("a million times", ""),
            ("in the nineteen eighties", ""),
            ("double check the triple bond", ""),
            ("at this point", ""),
            ("a point of contact", ""),
            ("to and for", ""),
            ("someone won", ""),
            ("once or twice", ""),
            ("minus the fee", ""),
            ("the test was negative", ""),
            ("word1 5 2nd $20 8:30", ""),
            ("freight tens weight", ""),
            ("", ""),
        ],
    );
    check(NONE, &[("nine hundred period five milligrams", ""), ("fifty percent", "")]);
}

#[test]
fn references_of_the_contract() {
    check(
        SMART,
        &[
            ("eight thirty seven pm", "8:37 PM"),
            ("november second twenty twenty two", "November 2 2022"),
            ("three hundred main street", "300 Main Street"),
            ("one two three southeast", "123 Southeast"),
            ("one z five seven a two b", "1Z57A2B"),
            ("zero point zero zero percent", "0.00%"),
            ("Testing. One two three.", "Testing. 123."),
        ],
    );
}

#[test]
fn dates_and_times() {
    check(
        SMART,
        &[
            ("on november second", "on November 2"),
            ("on November second, twenty twenty two, we met", "on November 2, 2022, we met"),
            ("december twenty fifth nineteen ninety nine", "December 25 1999"),
            ("july four", "July 4"),
            ("november twenty two", "November 22"),
            ("november twenty twenty two", "November 2022"),
            ("november twenty twenty twenty two", "November 20 2022"),
            ("october two thousand five", "October 2005"),
            ("june fifth two thousand and five", "June 5 2005"),
            ("may fifth", "May 5"),
            ("on may first", "on May 1"),
            ("may first twenty twenty", "May 1 2020"),
            ("the second of november", "the 2nd of November"),
            ("the twenty first of june nineteen eighty", "the 21st of June 1980"),
            ("you may first want to", ""),
            ("may five people come", "may 5 people come"),
            ("in june one of them left", ""),
            ("a march on the city", ""),
            ("in november", ""),
            ("eight pm", "8 PM"),
            ("Eight p.m. tomorrow", "8 PM tomorrow"),
            ("eight oh five a m", "8:05 AM"),
            ("at twelve fifteen p m.", "at 12:15 PM."),
            ("one am", "1 AM"),
            ("at eight thirty", "at 8:30"),
            ("by five oh five", "by 5:05"),
            ("ten o'clock", "10 o'clock"),
            ("at one o'clock", "at 1 o'clock"),
            ("eight thirty", "8 30"),
            ("at five fifty percent", "at 5 50%"),
            ("thirteen pm", "13 pm"),
            ("i am here", ""),
        ],
    );
}

#[test]
fn money_and_shares() {
    check(
        SMART,
        &[
            ("twenty dollars", "$20"),
            ("twenty dollars and fifty cents", "$20.50"),
            ("twenty dollars five cents", "$20.05"),
            ("one dollar", "$1"),
            ("a hundred dollars.", "$100."),
            ("two hundred and fifty pounds", "\u{a3}250"),
            ("twenty pounds sterling and five pence", "\u{a3}20.05"),
            ("five euros and twenty cents", "\u{20ac}5.20"),
            ("two point five million dollars", "$2.5 million"),
            ("two million dollars", "$2000000"),
            ("three and a half million dollars", "$3.5 million"),
            ("forty two pounds ten", "\u{a3}42.10"),
            ("twenty dollars fifty people", "$20 50 people"),
            ("seventeen and a half percent", "17.5%"),
            ("point one percent", "0.1%"),
            ("20 dollars", "$20"),
            ("fifty cents", "50 cents"),
            ("five pounds of flour", "5 pounds of flour"),
            ("i weigh two hundred pounds", "i weigh 200 pounds"),
            ("dollars and cents", ""),
            ("fifty percent", "50%"),
            ("two point five per cent, or so", "2.5%, or so"),
            ("minus one percent", "-1%"),
            ("twenty, dollars", "20, dollars"),
        ],
    );
}

#[test]
fn numbers_of_phones_and_codes() {
    check(
        SMART,
        &[
            ("five five five one two three four five six seven", "555-123-4567"),
            ("five five five one two three four", "555-1234"),
            ("Five five five, one two three, four five six seven.", "555-123-4567."),
            ("one eight hundred five five five one two three four", "1-800-555-1234"),
            ("eight hundred five five five oh one double two", "800-555-0122"),
            ("plus one five five five one two three four five six seven", "+1-555-123-4567"),
            ("plus four four two oh seven nine four six oh nine five eight", "+442079460958"),
            ("one, two, three, four, five, six, seven", "1, 2, 3, 4, 5, 6, 7"),
            ("account one two three four five", "account 12345"),
            ("nine one one", "911"),
            ("four two", "4 2"),
            ("two plus two", "2 plus 2"),
            ("a b one two", "AB12"),
            ("gate b two", "gate b 2"),
            ("a five six seven", "a 567"),
            ("one two three a day", "123 a day"),
            ("one two three four i think", "1234 i think"),
            ("a b c d", ""),
            ("five o five", "505"),
            ("w c two n five", "WC2N5"),
        ],
    );
}

#[test]
fn addresses_of_places_and_of_the_internet() {
    check(
        SMART,
        &[
            ("two twenty west forty second street", "220 West 42nd Street"),
            ("at one twenty five main street", "at 125 Main Street"),
            ("twelve fifty north oak park avenue.", "1250 North Oak Park Avenue."),
            ("on fifth avenue", "on 5th Avenue"),
            ("second street", "2nd Street"),
            ("ten minute drive", "10 minute drive"),
            ("two people on the road", "2 people on the road"),
            ("five north", "5 north"),
            ("one main road", ""),
            ("john dot smith at gmail dot com", "john.smith@gmail.com"),
            ("John at gmail dot com.", "john@gmail.com."),
            (
                "my email is john one two three at example dot co dot uk",
                "my email is john123@example.co.uk",
            ),
            ("it is j o h n underscore five at example dot com", "it is john_5@example.com"),
            ("a b c at example dot com", "abc@example.com"),
            ("write to support at example dot org", "write to support@example.org"),
            ("smith at yahoo.com", "smith@yahoo.com"),
            ("available at example dot com", "available at example.com"),
            ("look at example dot com", "look at example.com"),
            ("w w w dot example dot com", "www.example.com"),
            (
                "Go to example dot com slash help slash me dash too",
                "Go to example.com/help/me-too",
            ),
            ("https colon slash slash example dot com five times", "https://example.com 5 times"),
            ("i b m dot com", "ibm.com"),
            ("the dot com boom", ""),
            ("connect the dot here", ""),
            ("me at home", ""),
            ("john dot, smith at gmail dot com", "john dot, smith@gmail.com"),
        ],
    );
}

#[test]
fn units_of_measurement_follow_a_number() {
    check(
        MEASUREMENTS,
        &[
            ("five milligrams", "5 mg"),
            ("one centigram", "1 cg"),
            ("ten grams of it", "10 g of it"),
            ("a hundred kilograms", "100 kg"),
            ("two point five milliliters.", "2.5 ml."),
            ("twenty-five centiliters", "25 cl"),
            ("one liter", "1 l"),
            ("three kiloliters", "3 kl"),
            ("two millimetres", "2 mm"),
            ("minus five centimeters", "-5 cm"),
            ("1,000 meters", "1,000 m"),
            ("eight kilometers and two dogs", "8 km and two dogs"),
            ("a meter", ""),
            ("many liters", ""),
            ("two thirds", ""),
            ("five, grams", ""),
        ],
    );
    check(SMART, &[("five milligrams", "5 milligrams")]);
    check(
        Format {
            measurements: true,
            ..SMART
        },
        &[("five milligrams for ten dollars", "5 mg for $10")],
    );
}

#[test]
fn dictated_marks() {
    check(
        DICTATION,
        &[
            ("hello comma how are you question mark", "hello, how are you?"),
            ("stop period go exclamation mark yes exclamation point", "stop. Go! Yes!"),
            ("as follows colon one", "as follows: one"),
            (
                "dear sir new line thank you new paragraph yours",
                "dear sir <\n> Thank you <\n\n> Yours",
            ),
            ("Hello, period. next", "Hello. Next"),
            ("period", "."),
            ("comma then", ", then"),
            ("done new line period", "done <\n> ."),
            ("a long period", "a long."),
            ("a period of time", ""),
            ("the new line", ""),
            ("the question, mark", ""),
            ("new lines and commas", ""),
            ("fifty percent", ""),
        ],
    );
    check(
        Format { dictation: true, ..SMART },
        &[(
            "fifty percent period call five five five one two three four comma please",
            "50%. Call 555-1234, please",
        )],
    );
}

#[test]
fn one_word_has_the_time_and_the_least_confidence_of_all_and_keeps_the_marks_around() {
    let words = SMART.words(said("at \u{201c}Eight thirty seven pm!\u{201d} sharp", true));
    let [at, time, sharp] = words.as_slice() else { panic!("{words:?}") };
    assert_eq!(time.word, "8:37 pm");
    assert_eq!(time.punctuated_word.as_deref(), Some("\u{201c}8:37 PM!\u{201d}"));
    assert_eq!((time.start.0, time.end.0), (1.0, 5.0));
    assert!((time.confidence - 0.896).abs() < 1e-6, "{}", time.confidence);
    assert_eq!((at.end.0, sharp.start.0), (1.0, 5.0));

    let plain = NUMERALS.words(said("Twenty five dollars.", false));
    let seen: Vec<(&str, f64, f64)> = plain.iter().map(|word| (word.word.as_str(), word.start.0, word.end.0)).collect();
    assert_eq!(seen, [("25", 0.0, 2.0), ("dollars", 2.0, 3.0)]);
    assert!(plain.iter().all(|word| word.punctuated_word.is_none()));

    let dictated = DICTATION.words(said("hello question mark", true));
    assert_eq!(dictated.len(), 1);
    assert_eq!(
        (dictated[0].word.as_str(), dictated[0].start.0, dictated[0].end.0),
        ("hello", 0.0, 3.0)
    );
}

#[test]
fn long_runs_take_no_long_time() {
    for word in [
        "five ",
        "a ",
        "b ",
        "five, ",
        "dot ",
        "oh ",
        "hundred ",
        "twenty ",
        "john dot ",
        "a hundred ",
        "plus five ",
        "minus ",
    ] {
        let text = word.repeat(20_000);
        let began = std::time::Instant::now();
        let count = text.split_whitespace().count();
        let found = Format { dictation: true, ..SMART }.words(said(&text, true));
        assert!(!found.is_empty() && found.len() <= count);
        assert!(began.elapsed().as_secs() < 5, "{word}: {:?}", began.elapsed());
    }
}

/// Words that one rule or another looks for, and others.
const HEARD: &[&str] = &[
    "one",
    "two",
    "five",
    "eight",
    "ten",
    "nineteen",
    "twenty",
    "thirty",
    "ninety",
    "twenty-five",
    "hundred",
    "thousand",
    "million",
    "and",
    "a",
    "oh",
    "o",
    "double",
    "triple",
    "point",
    "minus",
    "first",
    "second",
    "fifth",
    "third",
    "thirds",
    "percent",
    "per",
    "cent",
    "dollars",
    "cents",
    "pounds",
    "milligrams",
    "meter",
    "november",
    "may",
    "of",
    "am",
    "p",
    "m",
    "p.m",
    "at",
    "o'clock",
    "main",
    "street",
    "southeast",
    "dot",
    "com",
    "gmail",
    "gmail.com",
    "slash",
    "www",
    "plus",
    "z",
    "b",
    "john",
    "period",
    "comma",
    "question",
    "mark",
    "new",
    "line",
    "the",
    "between",
    "5",
    "2.5",
    "\u{e9}t\u{e9}",
    "\u{130}x",
];

proptest! {
    /// Each word is the whole of some words in a row, none is left over, and none is empty.
    #[test]
    fn nothing_is_lost_but_by_joining(
        spoken in prop::collection::vec((0..HEARD.len(), prop::sample::select(vec!["", "", "", "", ",", ".", "?"])), 0..40),
        punctuate in any::<bool>(),
        numerals in any::<bool>(),
        smart in any::<bool>(),
        measurements in any::<bool>(),
        dictation in any::<bool>(),
    ) {
        let text: Vec<String> = spoken.iter().map(|(word, mark)| format!("{}{mark}", HEARD[*word])).collect();
        let words = said(&text.join(" "), punctuate);
        let format = Format { numerals, smart, measurements, dictation };
        let found = format.words(words.clone());
        let mut next = 0.0;
        for word in &found {
            prop_assert_eq!(word.start.0, next);
            prop_assert!(word.end.0 > word.start.0 && word.end.0.fract() == 0.0);
            prop_assert!(!word.word.is_empty() && word.punctuated_word.is_some() == punctuate);
            let (from, to) = (word.start.0 as usize, word.end.0 as usize);
            let least = words[from..to].iter().map(|word| word.confidence).fold(1.0, f32::min);
            prop_assert_eq!(word.confidence, least);
            next = word.end.0;
        }
        prop_assert_eq!(next, words.len() as f64);
        if format == NONE {
            prop_assert_eq!(found, words);
        }
    }
}
