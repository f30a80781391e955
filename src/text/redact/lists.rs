//! English words that decide what stands beside them.
//!
//! What it does not do: decide; see the rules that use them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::labels::{AGE, DATE_INTERVAL, Label, MONEY, PERCENT, TIME};
use super::rules::Said;

/// Words in lower case.
pub(super) struct List(pub(super) LazyLock<HashSet<&'static str>>);

impl List {
    /// Whether it has the word.
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

macro_rules! list {
    ($words:expr) => {
        $crate::text::redact::lists::List(std::sync::LazyLock::new(|| $words.split_whitespace().collect()))
    };
}
pub(super) use list;

/// Phrases by their last word.
pub(super) struct Phrases(pub(super) LazyLock<HashMap<&'static str, Vec<&'static str>>>);

impl Phrases {
    /// Parted by semicolons.
    pub(super) fn by_last(phrases: &'static str) -> HashMap<&'static str, Vec<&'static str>> {
        let mut by_last: HashMap<&'static str, Vec<&'static str>> = HashMap::new();
        for phrase in phrases.split(';') {
            let last = phrase.rsplit(' ').next().unwrap_or(phrase);
            by_last.entry(last).or_default().push(phrase);
        }
        by_last
    }

    /// Whether one of them stands right before an index.
    pub(super) fn end_at(&self, said: &Said<'_>, end: usize) -> bool {
        let last = end.checked_sub(1).map_or("", |last| said.word(last));
        let known = self.0.get(last).into_iter().flatten();
        known.into_iter().any(|phrase| said.ends_with(end, phrase))
    }

    /// The same, where the last word may have "'s".
    pub(super) fn end_with_is_at(&self, said: &Said<'_>, end: usize) -> bool {
        let Some(last) = end.checked_sub(1) else { return false };
        let is = said.word(last).strip_suffix("'s");
        let known = is.and_then(|word| self.0.get(word)).into_iter().flatten();
        let mut before = known.map(|phrase| phrase.rsplit_once(' ').map(|(before, _)| before));
        before.any(|before| before.is_none_or(|before| said.ends_with(last, before)))
    }
}

macro_rules! phrases {
    ($phrases:expr) => {
        $crate::text::redact::lists::Phrases(std::sync::LazyLock::new(|| $crate::text::redact::lists::Phrases::by_last($phrases)))
    };
}
pub(super) use phrases;

/// Words right behind a number that say what it counts.
pub(super) const UNITS: [(&[&str], Option<Label>); 13] = [
    (
        &[
            "dollars", "dollar", "cents", "cent", "bucks", "euros", "euro", "pounds", "pound", "quid", "pence", "grand",
        ],
        Some(MONEY),
    ),
    (&["percent", "per cent"], Some(PERCENT)),
    (&["years old", "year old", "years young", "years of age", "months old"], Some(AGE)),
    (
        &[
            "am",
            "pm",
            "a.m",
            "p.m",
            "a m",
            "p m",
            "o'clock",
            "oclock",
            "in the morning",
            "in the evening",
        ],
        Some(TIME),
    ),
    (&["in the afternoon", "at night", "tonight", "this morning"], Some(TIME)),
    (
        &[
            "seconds", "minutes", "minute", "hours", "hour", "days", "day", "weeks", "second", "moment", "moments", "sec", "mins",
        ],
        Some(DATE_INTERVAL),
    ),
    (
        &[
            "week",
            "months",
            "month",
            "years",
            "year",
            "business days",
            "working days",
            "decades",
            "fortnights",
        ],
        Some(DATE_INTERVAL),
    ),
    (
        &[
            "items",
            "item",
            "times",
            "people",
            "persons",
            "cards",
            "accounts",
            "calls",
            "kids",
            "questions",
            "things",
            "friends",
            "apps",
        ],
        None,
    ),
    (
        &[
            "children",
            "boxes",
            "orders",
            "tickets",
            "charges",
            "payments",
            "miles",
            "mile",
            "pieces",
            "points",
            "customers",
            "phones",
        ],
        None,
    ),
    (
        &[
            "bedrooms",
            "bedroom",
            "copies",
            "units",
            "nights",
            "guests",
            "passengers",
            "bags",
            "lines",
            "pages",
            "steps",
            "devices",
            "stops",
        ],
        None,
    ),
    (
        &[
            "digits",
            "digit",
            "numbers",
            "letters",
            "degrees",
            "feet",
            "foot",
            "inches",
            "inch",
            "stone",
            "kilos",
            "kilometers",
            "metres",
        ],
        None,
    ),
    (
        &[
            "in cash",
            "in total",
            "in change",
            "a month",
            "a week",
            "a year",
            "an hour",
            "each",
            "percentage points",
            "megabytes",
            "gigabytes",
            "gigs",
            "minutes ago",
            "star",
            "stars",
            "characters",
            "words",
            "bars",
            "channels",
        ],
        None,
    ),
    (
        &[
            "of them",
            "of us",
            "of those",
            "of these",
            "more",
            "other",
            "others",
            "different",
            "new",
            "old",
            "separate",
            "missed",
        ],
        None,
    ),
];

/// What is said between the parts of a number, and what takes one back.
pub(super) static REMARKS: List = list!(
    "yes yeah yep yup yah okay ok k right alright sure correct perfect great good fine uh um er erm ah eh oh hm hmm mm mmm mhm huh \
     hang hold on wait pause go ahead next then and so got that that's it it's this take down moment please sorry no nope not \
     actually rather i i'm mean meant should be make scratch is was the a let me see start again over ready carry continue keep \
     going done there thank thanks you followed by comma dash hyphen space slash dot point well like just second sec bear with try \
     once more say repeat still here year month day uh-huh mm-hmm have did get are were what which digits numbers number group set \
     blah check rest ends end starts said say oops whoops cool lovely brilliant excellent now read reading last first part finally \
     lastly listening typing writing noted gotcha understood heard pardon"
);

/// Words behind a phrase that say that an amount or a time follows, not a number of the thing.
pub(super) static AMOUNTS: List = list!(
    "charged charge charges paid pay paying cost costs fee fees limit balance owe owed owes spent spend refund refunded total rate \
     interest worth price amount score payment payments bill billed took taken since around about between within every another over \
     under nearly almost roughly approximately least most until till before after blocked by budget expected income salary savings"
);

/// Things that expire, but are no cards.
pub(super) static PERISHABLE: List = list!(
    "offer offers contract coupon voucher warranty guarantee subscription deal sale trial ticket tickets lease milk policy insurance \
     passport licence license membership plan permit domain certificate quote promotion discount code reservation booking medicine"
);

pub(super) static STREETS: List = list!(
    "alley nagar marg colony enclave vihar avenue ave boulevard blvd circle close court crescent drive highway hill lane loop parkway pike place plaza road route square \
     street terrace trail walk way broadway mews grove gardens turnpike"
);

/// Kinds of streets that are mostly other words: only where an address was announced.
pub(super) static RARE_STREETS: List = list!(
    "row green park view views rise crossing point ridge garden expressway freeway quay quays wharf yard run bend heights meadow \
     meadows house st approach arcade bank moor marsh barn brewery centre center dock docks exchange precinct works bluff \
     bottom brow buildings \
     canyon causeway copse cottage cottages cove croft dale dell dene down downs drove embankment end esplanade estate estates \
     fairway farm field fields fold gate gates glade glen grange hall hollow island keep knoll landing lodge manor mansions maltings \
     mead mill mount oaks orchard orchards paddock paddocks parade park parks passage path pines promenade ranch reach rectory \
     ridings shore spinney stables strand tower towers towpath trace vale valley vicarage villa villas village vista warren \
     waterside wood woods wynd"
);

/// Words that go on over the name of a street, though over no other name.
pub(super) static OF_STREETS: List = list!("the old new little county state city long line post office family large small high");

/// What may stand before or behind a street, before a number or letter.
pub(super) static SUITES: List = list!("apartment apt suite unit floor room flat building block house plot lot");

/// Places that may follow a street.
pub(super) static PLACES: List = list!(
    "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho illinois indiana iowa \
     kansas kentucky louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada ohio \
     oklahoma oregon pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming london manchester birmingham \
     leeds glasgow edinburgh liverpool bristol sheffield cardiff belfast dublin nottingham leicester oxford cambridge brighton york \
     chicago houston phoenix philadelphia dallas austin boston seattle denver detroit memphis portland atlanta miami oakland \
     minneapolis cleveland tampa pittsburgh cincinnati orlando toronto montreal vancouver ottawa calgary sydney melbourne brisbane \
     perth adelaide auckland brooklyn queens manhattan bath reading swindon plymouth exeter norwich ipswich derby coventry bradford \
     hull leeds sunderland newcastle swansea aberdeen dundee galway cork limerick croydon bolton luton watford guildford cheltenham \
     gloucester worcester lincoln durham sacramento omaha tulsa tucson albuquerque milwaukee baltimore raleigh louisville denver \
     springfield england scotland wales ireland canada australia jersey carolina dakota hampshire mexico york diego francisco \
     antonio angeles vegas"
);

/// The first words of places with two.
pub(super) static PLACES_BEFORE: List = list!("new north south west san los las st saint fort");

pub(super) static TOP_LEVELS: List = list!(
    "com org net edu gov co io uk us info biz me de ca ai app au dev es eu fr ie nz tv nl in it design shop store online site tech \
     xyz club blog cloud digital agency ch be se dk pl jp cn za mx br ly gg gl fm"
);

/// Words that cannot be part of the left side of an e-mail address.
pub(super) static NO_MAILBOX: List = list!(
    "a address addresses an and at but by email emails email's emailed e-mail e-mail's for from gmail he her him his i i'm in is it \
     it's its mail me my of on or our please reach reached she so that that's the their then there they this to try use using was we \
     well were which will with would write yes yeah yep you your send sent sending contact okay ok sure no not sorry wait now be \
     actually uh um er it'll here again says said like hello hi message forward copy cc login username mail's e-mail's account have \
     has got get"
);

/// Hesitations.
pub(super) static FILLERS: List = list!("uh um er erm ah eh hmm hm mm well");

/// The alphabet by words.
pub(super) static ALPHABET: List = list!(
    "alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar papa quebec romeo \
     sierra tango uniform victor whiskey whisky x-ray xray yankee zulu"
);

/// Signs that a password may have.
pub(super) static SIGNS: List = list!(
    "exclamation mark point hash hashtag dollar sign percent ampersand asterisk star underscore dash hyphen plus equals question at \
     dot full stop slash caps caret"
);

/// Words behind "password is" that are none.
pub(super) static NO_SECRETS: List = list!(
    "a about again all already always an and any asking at because being blocked broken but changed correct different does doesn't \
     expired fine for forgotten gone good i i'm if in incorrect invalid it it's just locked lost missing my never no not of okay old \
     on or please rejected required reset right so still strong stuck supposed that that's the there to today too very was we weak \
     what when working wrong yes you your needed kept stored something really probably case on longer short long expiring"
);
