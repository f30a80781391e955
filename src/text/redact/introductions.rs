//! What announces a name: phrases, titles, relations, greetings. English.
//!
//! What it does not do: say what a name is, or where it ends. Who calls it: [`super::names`].

use super::lists::{List, Phrases, REMARKS, list, phrases};
use super::rules::Said;

/// Words between "name" and "is": "the name on the account is".
const NAME_IS: usize = 8;
/// Words between "name" and "card": "name as it appears on the card".
const NAME_ON: usize = 6;

/// Phrases behind which nothing but a name comes.
static CERTAIN: Phrases = phrases!(
    "my name is;my name's;name from;changed my name to;changed her name to;changed his name to;name is;name's;name was;name's is;first name;first name is;first name's;last name;last name is;last name's;\
     surname;surname is;surname's;second name;second name is;second name's;middle name;middle name is;middle name's;full name;\
     full name is;family name;family name is;given name;given name is;forename;forename is;middle initial;middle initial is;\
     maiden name;maiden name is;maiden name was;married name;married name is;birth name;birth name is;nickname is;nickname's;\
     under the name;under the name of;in the name;in the name of;by the name of;goes by the name of;name of the account holder;\
     name of the cardholder;cardholder name;card holder name;card holder's name;cardholder's name;account holder name;\
     account holder's name;account is under;account's under;booked under;reservation under;reservation's under;booking under;\
     registered under;registered to;listed under;booking is under;reservation is under;policy is under;order is under;made out to;\
     make it out to;making it out to;payable to;name please;calls me;belongs to;i am called;he's called;she's called;they call me;\
     calls him;calls her;you can call me;people call me;friends call me;goes by;i go by;known as;knows me as;formerly;mister;mr;mrs;\
     ms;miss"
);

/// Phrases behind which a name comes if it is no ordinary word.
static POSSIBLE: Phrases = phrases!(
    "speaking with;speaking to;speak to;speak with;spoke to;spoke with;spoken to;spoken with;talk to;talk with;talking to;\
     talking with;talked to;talked with;chatting with;chatting to;dealing with;dealt with;through to;on behalf of;calling for;\
     put it under;put down;put me down;put that down;down as;registered as;me as;you as;him as;her as;system as;file as;saved as;\
     listed as;ask for;asked for;asking for;asking after;looking for;appointment with;meeting with;called;named;call me;call him;\
     call her;this is;let;it's me;only me;married to;engaged to;related to;daughter of;son of;wife of;mother of;father of;widow of;\
     friend of;we're the;we are the;i'm;i am;it's;it is;that's;that is;that'll be;that will be;that would be;it'll be;it will be;\
     it would be;you have;it's under;under;contact;contact is;it was;with;reservation for;booking for;appointment for;table for;\
     order for;ticket for;parcel for;package for;message for;prescription for;attention of;attention;attn;care of;c o;addressed to;\
     sign it;signed;signed by;sincerely;regards;and you are;you must be;you're;is this;is that;are you;was that;you mean;thank you;\
     thanks;thank you very much;hi;hello;hey;hi there;hello there;hey there;morning;afternoon;evening;welcome;welcome back;dear;\
     who is;who's;name;names;made by;signed by;seen by;told by;served by;handled by;sent by;opened by;ask;tell;told;add;remove;put;met;\
     try;invite;include;his is;hers is;mine is;theirs is;it's for;this is for;reach;ring;phone;me and;is calling;'s calling;\
     should be;must be;would be;might be;could be;may be;will be;says;said;officer;captain;sergeant;judge;inspector;detective;nurse;\
     reverend;madam;sir;uncle;auntie;aunt;constable;corporal;lieutenant;major;colonel;pastor;rabbi;imam;bishop;councillor;lady;lord;\
     dame;barrelled;patient is;passenger is;guest is;tenant is;policyholder is;account holder is;claimant is;driver is"
);

/// What one says before the name of whom one speaks with.
static POLITE: List =
    list!("okay ok alright right perfect great lovely brilliant sorry cheers bye goodbye excellent fantastic wonderful super yes yeah");

/// What goes on after that name.
static GOES_ON: List =
    list!("i i'll i'm i've let bear can could and thank thanks just so what may do if that's you we we'll we've your please");

/// Last names that are the words of any sentence.
static SURNAMES: List = list!("long small day early good little large fine kind late near case bill rich last past sick state just");

/// Whom people speak of by name.
static RELATIONS: List = list!(
    "husband wife son daughter mother father mum mom dad partner brother sister boss manager landlord landlady neighbour neighbor \
     colleague friend cousin grandmother grandfather nan gran grandson granddaughter nephew niece fiance fiancee boyfriend \
     girlfriend solicitor lawyer accountant dentist teacher assistant secretary supervisor carer executor executrix beneficiary \
     tenant driver passenger recipient guardian guarantor patient client holder cardholder policyholder owner director advisor \
     adviser representative buyer seller plumber electrician coach stepson stepdaughter stepfather stepmother housemate flatmate \
     roommate witness kin midwife therapist consultant surgeon gp nominee trustee attorney contact applicant claimant insured"
);

/// Whether nothing but a name comes at an index.
pub(super) fn is_certain(said: &Said<'_>, end: usize) -> bool {
    end > 0 && (CERTAIN.end_at(said, end) || name_is(said, end) || whose_name(said, end) || is_title(said, end))
}

/// Whether a last name stands behind a title, even if it is hardly one: "mr long".
pub(super) fn is_titled(said: &Said<'_>, at: usize) -> bool {
    let title = at.checked_sub(1).map_or("", |title| said.word(title));
    matches!(title, "mister" | "mr" | "mrs" | "ms" | "dr") && SURNAMES.has(said.word(at))
}

/// Whether a name may come at an index.
pub(super) fn is_possible(said: &Said<'_>, end: usize) -> bool {
    let last = end.checked_sub(1).map_or("", |last| said.word(last));
    // "Does imelda still work there".
    let asks = end == 1
        && matches!(
            last,
            "does" | "did" | "has" | "is" | "was" | "will" | "can" | "could" | "would" | "where's" | "how's"
        );
    asks || POSSIBLE.end_at(said, end) || name_on(said, end) || relation(said, end) || matches!(last, "doctor" | "dr" | "professor")
}

/// Whether an index is behind "okay", and what stands at another goes on as one does behind a name.
pub(super) fn is_polite(said: &Said<'_>, from: usize, end: usize) -> bool {
    let next = said.word(end);
    let before = from.checked_sub(1).map_or("", |before| said.word(before));
    POLITE.has(before) && (next.is_empty() || GOES_ON.has(next)) || has(said, from, end)
}

/// "Is … available", "… with an i e".
pub(super) fn is_asked_for(said: &Said<'_>, from: usize, end: usize) -> bool {
    let asks = said.ends_with(from, "is") && matches!(said.word(end), "available" | "there" | "around" | "home" | "free" | "in");
    let acts = matches!(said.word(end), "called" | "rang" | "phoned" | "emailed") && said.word(end + 1).is_empty();
    let letter = said.word(end + 2).chars().count() == 1;
    let calls = from == 0 && matches!(said.word(end), "you're" | "you" | "your" | "can" | "could" | "please" | "are");
    asks || acts || calls || said.word(end) == "with" && matches!(said.word(end + 1), "a" | "an") && letter
}

/// "… is my landlord".
pub(super) fn is_related(said: &Said<'_>, is: usize) -> bool {
    matches!(said.word(is), "is" | "was" | "are") && RELATIONS.has(said.word(is + 2))
}

/// "I've got … here as".
fn has(said: &Said<'_>, from: usize, end: usize) -> bool {
    let is_listed = matches!(said.word(end), "here" | "down" | "listed" | "registered" | "as");
    is_listed
        && ["i have", "i've got", "we have", "we've got", "you have"]
            .iter()
            .any(|phrase| said.ends_with(from, phrase))
}

/// Whether one introduces oneself, or is greeted, by what stands between two indices, even if it is mostly another word.
pub(super) fn is_introduced(said: &Said<'_>, from: usize, end: usize) -> bool {
    let next = said.word(end);
    let is_self = ["this is", "it's", "i'm"].iter().any(|phrase| said.ends_with(from, phrase));
    let is_with = [
        "speaking with",
        "speaking to",
        "spoke to",
        "spoke with",
        "speak to",
        "ask for",
        "called",
    ];
    let is_with = is_with.iter().any(|phrase| said.ends_with(from, phrase));
    let is_here = next == "here" && said.word(end + 1).is_empty();
    is_self && (matches!(next, "from" | "calling" | "speaking" | "again") || is_here)
        || is_with
            && matches!(
                next,
                "" | "please" | "from" | "in" | "on" | "at" | "yesterday" | "earlier" | "about"
            )
        || greets(said, from) && (next.is_empty() || GOES_ON.has(next) || next == "it's" || next == "how")
        || begins(said, from) && matches!(next, "speaking" | "here")
}

/// "Hi", "thanks".
pub(super) fn greets(said: &Said<'_>, end: usize) -> bool {
    let greets = |word: &str| matches!(word, "hi" | "hello" | "hey" | "thanks" | "morning" | "afternoon" | "evening");
    let at = |back: usize| end.checked_sub(back).map_or("", |at| said.word(at));
    greets(at(1)) || at(1) == "there" && greets(at(2))
}

/// Nothing, or a greeting or answer, stands before.
pub(super) fn begins(said: &Said<'_>, at: usize) -> bool {
    let before = at.checked_sub(1).map_or("", |before| said.word(before));
    before.is_empty() || greets(said, at) || matches!(before, "yes" | "yeah" | "support" | "service")
}

/// "Doctor green", and not "my doctor".
fn is_title(said: &Said<'_>, end: usize) -> bool {
    let at = |back: usize| end.checked_sub(back).map_or("", |at| said.word(at));
    let is_whose = matches!(
        at(2),
        "the" | "my" | "your" | "his" | "her" | "our" | "their" | "a" | "another" | "this" | "that"
    );
    let next = said.word(end);
    let is_said = matches!(said.word(end + 1), "" | "is" | "was" | "said" | "has" | "will" | "and" | "told");
    let is_verb = ["ed", "ing", "s"].iter().any(|ending| next.ends_with(ending)) && !is_said;
    matches!(at(1), "doctor" | "dr" | "professor") && !is_whose && !is_verb && !REMARKS.has(next)
}

/// "My son", "the main driver is", "next of kin".
fn relation(said: &Said<'_>, end: usize) -> bool {
    let at = |back: usize| end.checked_sub(back).map_or("", |at| said.word(at));
    let is_said = matches!(at(1), "is" | "was" | "called" | "named");
    let whom = if is_said && at(2) == "is" {
        at(3)
    } else {
        at(1 + usize::from(is_said))
    };
    let one = whom.strip_suffix('s').filter(|one| one.len() > 2).unwrap_or(whom);
    RELATIONS.has(whom) || RELATIONS.has(one) || !is_said && at(1) == "law" && at(2) == "in"
}

/// "The name on the account is", "name for the booking was".
fn name_is(said: &Said<'_>, end: usize) -> bool {
    let Some(is) = end.checked_sub(1) else { return false };
    if !matches!(said.word(is), "is" | "was" | "says" | "reads" | "it's" | "be") {
        return false;
    }
    let name = (is.saturating_sub(NAME_IS)..is).rev().find(|at| said.word(*at) == "name");
    name.is_some_and(|name| {
        matches!(
            said.word(name + 1),
            "on" | "for" | "under" | "in" | "it" | "as" | "should" | "would" | "you" | "we" | "that" | "i"
        )
    })
}

/// "The name on the card", "name as shown on card".
fn name_on(said: &Said<'_>, end: usize) -> bool {
    let Some(last) = end.checked_sub(1) else { return false };
    let is_thing = matches!(
        said.word(last),
        "card" | "account" | "booking" | "policy" | "order" | "reservation" | "file" | "passport" | "license" | "licence" | "ticket"
    );
    let name = (last.saturating_sub(NAME_ON)..last).rev().find(|at| said.word(*at) == "name");
    is_thing && name.is_some_and(|name| matches!(said.word(name + 1), "on" | "for" | "as" | "in"))
}

/// "Under my wife's name", "her husband's name is", "my pet's name was".
fn whose_name(said: &Said<'_>, end: usize) -> bool {
    let name = ["name", "name is", "name was"].iter().find_map(|phrase| said.start_of(end, phrase));
    let whose = name.and_then(|name| name.checked_sub(1)).map_or("", |whose| said.word(whose));
    whose.ends_with("'s")
        && !matches!(
            whose,
            "what's" | "that's" | "it's" | "there's" | "company's" | "product's" | "here's"
        )
}
