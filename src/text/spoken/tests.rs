use super::*;

fn split(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn numbers_go_as_far_as_they_can() {
    for (text, words, value) in [
        ("zero", 1, 0),
        ("one of them", 1, 1),
        ("nineteen", 1, 19),
        ("ninety", 1, 90),
        ("twenty five", 2, 25),
        ("twenty-five dogs", 1, 25),
        ("twenty zero", 1, 20),
        ("twenty twenty", 1, 20),
        ("five twenty", 1, 5),
        ("nine hundred", 2, 900),
        ("twenty five hundred", 3, 2_500),
        ("nineteen hundred and five", 4, 1_905),
        ("a hundred and five people", 4, 105),
        ("a hundred and people", 2, 100),
        ("a thousand one", 3, 1_001),
        ("one hundred two hundred", 2, 100),
        ("one hundred and two hundred", 2, 100),
        ("one hundred and two thousand", 5, 102_000),
        ("one thousand and two hundred", 2, 1_000),
        ("one thousand and two", 4, 1_002),
        ("two thousand three thousand", 2, 2_000),
        ("two thousand nineteen hundred", 2, 2_000),
        ("two thousand five hundred and sixty three", 7, 2_563),
        ("twenty five thousand three hundred", 5, 25_300),
        ("one million two hundred thousand and six", 7, 1_200_006),
        ("nine hundred ninety nine trillion", 5, 999_000_000_000_000),
        ("two million billion", 2, 2_000_000),
        ("zero hundred", 1, 0),
    ] {
        let wanted = Number {
            words,
            value,
            ordinal: false,
        };
        assert_eq!(number(&split(text)), Some(wanted), "{text}");
    }
    for text in [
        "",
        "hundred",
        "thousand people",
        "a",
        "a dog",
        "a million",
        "and five",
        "dog",
        "-",
        "twenty-",
        "five-five",
        "oh",
    ] {
        assert_eq!(number(&split(text)), None, "{text}");
    }
}

#[test]
fn ordinals_end_a_number() {
    for (text, words, wanted) in [
        ("first", 1, "1st"),
        ("twenty second street", 2, "22nd"),
        ("twenty-third", 1, "23rd"),
        ("eleventh", 1, "11th"),
        ("one hundred and twelfth", 4, "112th"),
        ("two hundred first", 3, "201st"),
        ("hundredth", 0, ""),
        ("three hundredth", 2, "300th"),
        ("two thousandth", 2, "2000th"),
        ("fortieth fifth", 1, "40th"),
    ] {
        let found = number(&split(text)).filter(|number| number.ordinal);
        let found = found.map_or((0, String::new()), |number| (number.words, ordinal(number.value)));
        assert_eq!(found, (words, wanted.to_owned()), "{text}");
    }
    assert!(!number(&split("one fifth")).unwrap().ordinal);
}

#[test]
fn years_are_pairs() {
    for (text, wanted) in [
        ("nineteen ninety four", Some((3, 1994))),
        ("twenty twenty two", Some((3, 2022))),
        ("twenty twenty", Some((2, 2020))),
        ("twenty ten", Some((2, 2010))),
        ("nineteen oh five", Some((3, 1905))),
        ("nineteen five", None),
        ("sixteen ninety", None),
        ("twenty two twenty", None),
        ("nineteen ninetieth", None),
        ("nineteen", None),
    ] {
        let found = year(&split(text)).map(|number| (number.words, number.value));
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn fractions_keep_their_zeros() {
    for (text, wanted) in [
        ("two point five", Some((3, "2.5"))),
        ("zero point zero zero", Some((4, "0.00"))),
        ("oh point seven five percent", Some((4, "0.75"))),
        ("three point one four one five nine", Some((7, "3.14159"))),
        ("ninety nine point ninety nine", Some((5, "99.99"))),
        ("one point twenty five", Some((4, "1.25"))),
        ("two point oh", Some((3, "2.0"))),
        ("two point five million", Some((3, "2.5"))),
        ("two point", None),
        ("two point first", None),
        ("point five", None),
        ("second point five", None),
    ] {
        let found = decimal(&split(text));
        assert_eq!(found, wanted.map(|(words, text)| Written::new(words, text)), "{text}");
    }
}

#[test]
fn digits_stand_for_themselves() {
    for (text, wanted) in [
        ("nine two eight", "9 2 8"),
        ("five oh five", "5 0 5"),
        ("five o five", "5 0 5"),
        ("oh one two", "0 1 2"),
        ("one two oh", "1 2 0"),
        ("oh one", ""),
        ("five oh", "5"),
        ("double five", "55"),
        ("triple oh seven", "000 7"),
        ("double oh seven", "00 7"),
        ("double", ""),
        ("double check", ""),
        ("one two hundred", "1"),
        ("one two point five", "1"),
        ("one two point", "1 2"),
        ("one 2 three", "1 2 3"),
        ("five twenty", "5"),
        ("twenty", ""),
        ("second", ""),
        ("oh", ""),
    ] {
        let found: Vec<String> = digits(&split(text)).into_iter().map(|digit| digit.text).collect();
        assert_eq!(found.join(" "), wanted, "{text}");
    }
    assert_eq!(digits(&["one"; 100]).len(), MAX_DIGITS);
}

#[test]
fn a_quantity_may_be_in_digits_already() {
    for (text, wanted) in [
        ("five", Some("5")),
        ("5", Some("5")),
        ("2.5", Some("2.5")),
        ("1,000", Some("1,000")),
        ("2nd", None),
        ("fifth", None),
        (".5", None),
        ("", None),
    ] {
        let found = quantity(&split(text)).map(|written| written.text);
        assert_eq!(found.as_deref(), wanted, "{text}");
    }
    assert!(counts("twenty-five") && counts("hundred") && counts("7"));
    assert!(!counts("second") && !counts("oh") && !counts("7th"));
}
