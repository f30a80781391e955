# SPDX-License-Identifier: Apache-2.0
"""Training sentences: published texts plus a generator of what callers say.

    python text.py --text TEXT --out sentences.txt --count 60000
    python text.py --text TEXT --out lm.txt --language-model --count 60000

TEXT is a folder of *.txt files, one sentence a line. Files named callers-* and books-* are drawn from in fixed
shares; the rest comes from the generator. Sentences of held-out-sentences.txt (and of --exclude) never come out.
"""
import argparse
import glob
import os
import random
import re

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_WORDS, MAX_LETTERS = 22, 16

DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = ("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
MONTHS = ("january february march april may june july august september october november december").split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday today tomorrow tonight".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
ORDINALS += ["twenty " + o for o in ORDINALS[:9]] + ["thirtieth", "thirty first"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
COMMANDS = (
    "yes no up down left right on off stop go forward backward follow learn bed bird cat dog happy house marvin "
    "sheila tree visual wow zero one two three four five six seven eight nine ten okay hello goodbye start pause "
    "play resume next previous back louder quieter open close cancel help repeat again enter erase delete undo "
    "copy paste save send call answer hang mute ring lights lamp door window kitchen bedroom volume music timer "
    "alarm weather news"
).split()
ACTIONS = [
    "turn on the", "turn off the", "turn up the", "turn down the", "open the", "close the", "switch on the",
    "switch off the", "dim the", "start the", "stop the", "play the", "please turn on the", "go to the",
    "show me the", "set the",
]
OBJECTS = [
    "light", "lights", "lamp", "fan", "heater", "door", "window", "garage door", "television", "radio", "music",
    "alarm", "timer", "kitchen light", "hall lamp", "bedroom lights", "volume", "thermostat", "camera", "map",
    "next page", "calendar", "weather", "news", "browser", "computer", "printer", "phone",
]
FIRST_NAMES = (
    "james mary john patricia robert jennifer michael linda william elizabeth david barbara richard susan joseph "
    "jessica thomas sarah charles karen christopher nancy daniel lisa matthew betty anthony helen mark sandra "
    "donald donna steven carol paul ruth andrew sharon joshua michelle kenneth laura kevin emily brian kimberly "
    "george deborah edward amanda peter alice henry anna jack grace oliver emma samuel sophia lucas olivia noah "
    "ava liam mia ethan chloe maria carlos juan ahmed wei priya fatima ivan olga hans pierre"
).split()
LAST_NAMES = (
    "smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson "
    "anderson thomas taylor moore jackson martin lee perez thompson white harris sanchez clark ramirez lewis "
    "robinson walker young allen king wright scott torres nguyen hill flores green adams nelson baker hall rivera "
    "campbell mitchell carter roberts phillips evans turner parker collins edwards stewart morris murphy cook "
    "rogers morgan cooper peterson reed bailey bell kelly howard ward cox richardson wood watson brooks bennett "
    "gray james hughes price myers long foster sanders ross"
).split()
STREETS = (
    "main oak pine maple cedar elm washington lake hill walnut spring north south park church river lincoln "
    "madison broad market center union prospect highland forest jackson jefferson chestnut franklin green mill "
    "bridge school king queen victoria"
).split()
STREET_KINDS = "street avenue road drive lane court place boulevard way circle".split()
CITIES = [
    "new york", "boston", "chicago", "houston", "phoenix", "philadelphia", "san antonio", "dallas", "austin",
    "denver", "seattle", "portland", "atlanta", "miami", "pittsburgh", "london", "manchester", "toronto", "paris",
    "berlin", "san francisco", "los angeles", "detroit", "memphis", "nashville", "baltimore", "cleveland",
    "springfield",
]
DOMAINS = [
    "gmail dot com", "yahoo dot com", "hotmail dot com", "outlook dot com", "example dot com", "company dot org",
    "school dot edu", "mail dot net",
]
PHRASES = [
    "yes please", "no thanks", "correct", "that is right", "okay", "thank you", "operator", "representative",
    "agent please", "goodbye", "hang up", "speak to an agent", "play some music", "what time is it", "good morning",
    "good evening", "how are you", "listen to me", "turn around",
]
ASK = [
    "i want", "i'd like", "can i get", "could i have", "give me", "make me", "get me", "may i have", "i'll have",
    "i will take", "please make me", "let me have",
]
DRINKS = "coffee latte cappuccino mocha espresso americano macchiato tea".split()
SIZES = ["", "small", "medium", "large", "twelve ounce", "sixteen ounce", "eight ounce", "twenty ounce"]
ROASTS = ["", "", "light roast", "dark roast", "medium roast", "house", "decaf", "iced", "hot"]
SHOTS = ["", "", "single shot", "double shot", "triple shot", "quadruple shot"]
ADDITIONS = [
    "milk", "whole milk", "skim milk", "soy milk", "almond milk", "cream", "half and half", "sugar", "brown sugar",
    "honey", "syrup", "cinnamon", "foam",
]
FOOD = [
    "pizza", "burger", "cheeseburger", "sandwich", "salad", "order of fries", "chicken wings", "soup", "steak",
    "taco", "burrito", "milkshake", "lemonade", "soda", "orange juice", "bagel", "muffin", "sushi roll", "pasta",
    "ice cream",
]


def normalize(sentence):
    """Lower-case words of a-z and apostrophes, or None where the line has digits, symbols or very long words."""
    if re.search(r"[0-9$%&@#/\\<>{}\[\]=+*_|]", sentence):
        return None
    text = re.sub(r"[^a-z' ]", " ", sentence.replace("\u2019", "'").lower())
    text = re.sub(r"\s+'|'\s+|^'|'$", " ", text)
    words = text.split()
    if not words or any(len(w) > MAX_LETTERS for w in words):
        return None
    return " ".join(words)


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return {line.strip() for line in f if line.strip()}


def phrases(sentence, rng):
    """A sentence too long to speak in one go, cut at its punctuation into pieces of about 5 to 20 words."""
    current = ""
    for piece in re.split(r"[,;:.!?\"()]|--", sentence):
        piece = normalize(piece) if piece.strip() else None
        if not piece:
            continue
        if len((current + " " + piece).split()) > 20:
            yield current
            current = piece
        else:
            current = (current + " " + piece).strip()
        if len(current.split()) >= 5 and rng.random() < 0.6:
            yield current
            current = ""
    yield current


class Sentences:
    """Draws sentences: 38 % callers, 38 % books, 24 % generated. Held-out sentences are never drawn."""

    def __init__(self, folder, seed=0, exclude=None):
        self.rng = random.Random(seed)
        self.excluded = read_lines(os.path.join(HERE, "held-out-sentences.txt"))
        if exclude:
            self.excluded |= read_lines(exclude)
        self.folder = folder
        self.callers = self._load("callers-*.txt", split=False)
        self.books = self._load("books-*.txt", split=True)
        if not self.callers or not self.books:
            raise SystemExit(f"{folder} needs files named callers-*.txt and books-*.txt")
        words = {w for t in self.callers + self.books for w in t.split()}
        self.vocabulary = sorted(w for w in words if re.fullmatch(r"[a-z]{2,}('[a-z]+)?", w) and re.search("[aeiouy]", w))

    def _files(self, pattern):
        return sorted(glob.glob(os.path.join(self.folder, pattern)))

    def _load(self, pattern, split):
        found = []
        for path in self._files(pattern):
            for line in open(path, encoding="utf-8"):
                text = normalize(line.strip())
                if not text or text in self.excluded:
                    continue
                if len(text.split()) <= MAX_WORDS:
                    found.append(text)
                elif split:
                    found += [p for p in phrases(line.strip(), self.rng) if 2 <= len(p.split()) <= MAX_WORDS]
        return [t for t in found if t not in self.excluded]

    def whole_sentences(self, longest=60):
        """Every sentence once, long ones too: language-model text."""
        for path in self._files("callers-*.txt") + self._files("books-*.txt"):
            for line in open(path, encoding="utf-8"):
                text = normalize(line.strip())
                if text and text not in self.excluded and len(text.split()) <= longest:
                    yield text

    def draw(self):
        while True:
            r = self.rng.random()
            if r < 0.38:
                text = self.rng.choice(self.callers)
            elif r < 0.76:
                text = self.rng.choice(self.books)
            else:
                text = self.generate()
            if text and text not in self.excluded:
                return text

    # ---- the generator -------------------------------------------------------------------------------------

    def generate(self):
        kinds = [
            (36, self.random_words), (18, self.command), (10, lambda: self.digits(3, 12)), (4, self.my_number),
            (5, self.spelling), (4, self.name), (4, self.date), (4, self.money), (3, self.time), (3, self.address),
            (2, self.email), (2, lambda: self.pick("", "about ", "number ") + self.number()), (5, self.order),
        ]
        kind = self.rng.choices([k for _, k in kinds], weights=[w for w, _ in kinds])[0]
        return " ".join(kind().split())

    def pick(self, *options):
        return self.rng.choice(options)

    def any(self, options):
        return self.rng.choice(options)

    def chance(self, p):
        return self.rng.random() < p

    def random_words(self):
        return " ".join(self.any(self.vocabulary) for _ in range(self.pick(1, 1, 2, 2, 3, 4)))

    def digits(self, low, high):
        def one():
            if self.chance(0.05):
                return self.pick("double ", "triple ") + self.any(DIGITS)
            return self.any(DIGITS[1:] + ["oh", "zero"])

        return " ".join(one() for _ in range(self.rng.randint(low, high)))

    def my_number(self):
        what = self.pick(
            "phone number", "account number", "zip code", "member id", "order number", "card number", "social",
            "confirmation code",
        )
        return f"my {what} is {self.digits(4, 12)}"

    def two_digits(self):
        r = self.rng.random()
        if r < 0.2:
            return self.any(DIGITS[1:])
        if r < 0.4:
            return self.any(TEENS)
        return self.any(TENS) + (" " + self.any(DIGITS[1:]) if self.chance(0.7) else "")

    def number(self):
        r = self.rng.random()
        if r < 0.2:
            return self.any(DIGITS)
        if r < 0.6:
            return self.two_digits()
        if r < 0.8:
            rest = self.pick(" and ", " ") + self.two_digits() if self.chance(0.7) else ""
            return self.any(DIGITS[1:]) + " hundred" + rest
        if r < 0.95:
            hundreds = " " + self.any(DIGITS[1:]) + " hundred" if self.chance(0.5) else ""
            return self.two_digits() + " thousand" + hundreds + (" " + self.two_digits() if self.chance(0.5) else "")
        return self.two_digits() + self.pick(" million", " billion")

    def time_of_day(self):
        hour, r = self.any(DIGITS[1:] + TEENS[:3]), self.rng.random()
        if r < 0.4:
            clock = f"{hour} {self.pick('thirty', 'fifteen', 'forty five', 'oh five', 'ten', 'twenty', 'fifty')}"
        elif r < 0.55:
            clock = f"{hour} o'clock"
        elif r < 0.7:
            clock = f"{self.pick('half past', 'quarter past', 'quarter to')} {hour}"
        else:
            clock = hour
        return clock + self.pick("", " a m", " p m", " in the morning", " tonight", " in the afternoon")

    def time(self):
        return self.pick("", "at ", "let's meet at ", "around ", "before ") + self.time_of_day()

    def date(self):
        day, month, nth = self.any(DAYS), self.any(MONTHS), self.any(ORDINALS)
        return self.pick(
            f"{day} {month} {nth}", f"{month} {nth} {self.pick('nineteen', 'twenty')} {self.two_digits()}",
            f"the {nth} of {month}", f"{day} at {self.time_of_day()}",
            f"i was born on {month} {nth} nineteen {self.two_digits()}",
        )

    def money(self):
        amount = self.pick(
            f"{self.number()} dollars", f"{self.number()} dollars and {self.two_digits()} cents",
            f"{self.two_digits()} ninety nine", f"{self.number()} pounds", f"{self.number()} euros",
            f"{self.two_digits()} percent",
        )
        return self.pick("", "it costs ", "the total is ", "pay ", "transfer ", "i owe ") + amount

    def spell(self, word):
        return " ".join(c for c in word if c.isalpha())

    def spelling(self):
        last = self.any(LAST_NAMES)
        return self.pick(
            " ".join(self.any(LETTERS) for _ in range(self.rng.randint(3, 9))), self.spell(self.any(self.vocabulary)),
            self.spell(last), last + " " + self.spell(last),
        )

    def name(self):
        first, last = self.any(FIRST_NAMES), self.any(LAST_NAMES)
        return self.pick(
            f"{first} {last}", f"my name is {first} {last}", f"this is {first} {last}",
            f"{last} that's {self.spell(last)}", f"{first} {self.spell(first)} {last} {self.spell(last)}",
            f"may i speak to {first} {last} please", f"mister {last}", f"doctor {first} {last}",
        )

    def email(self):
        first, last = self.any(FIRST_NAMES), self.any(LAST_NAMES)
        who = self.pick(
            first, last, f"{first} dot {last}", f"{first} underscore {last}", f"{first} {self.digits(2, 3)}",
            self.spell(first), f"{first[0]} {last}",
        )
        return f"{self.pick('', 'my email is ', 'email ', 'send it to ')}{who} at {self.any(DOMAINS)}"

    def address(self):
        number = self.pick(self.digits(2, 4), self.number(), self.two_digits() + " " + self.two_digits())
        city = self.any(CITIES)
        rest = self.pick("", " apartment " + self.two_digits(), " " + city, f" {city} {self.digits(5, 5)}")
        lead = self.pick("", "", "i live at ", "my address is ", "ship it to ")
        return f"{lead}{number} {self.any(STREETS)} {self.any(STREET_KINDS)}{rest}"

    def command(self):
        r = self.rng.random()
        if r < 0.35:
            return self.any(COMMANDS)
        if r < 0.55:
            return " ".join(self.any(COMMANDS) for _ in range(self.rng.randint(2, 5)))
        if r < 0.75:
            return self.any(ACTIONS) + " " + self.any(OBJECTS)
        if r < 0.85:
            way = self.pick("forward", "backward", "back", "left", "right", "up", "down")
            unit = self.pick("meters", "meter", "steps", "feet", "miles", "inches", "yards", "centimeters")
            return f"go {way} {self.any(DIGITS[1:] + TEENS)} {unit}"
        first, last = self.any(FIRST_NAMES), self.any(LAST_NAMES)
        return self.any(PHRASES + [
            f"call {first}", f"call {first} {last}", f"set a timer for {self.two_digits()} minutes",
            f"wake me up at {self.time_of_day()}", f"rubout {self.digits(2, 4)}", f"erase {self.digits(2, 4)}",
        ])

    def order(self):
        start = f"{self.any(ASK)} {self.pick('a', 'a', 'one', 'two', 'three')}"
        if self.chance(0.6):
            drink = f"{start} {self.any(SIZES)} {self.any(ROASTS)} {self.any(SHOTS)} {self.any(DRINKS)}"
            if self.chance(0.6):
                how = self.pick("with", "with some", "with a lot of", "with no", "with extra", "without")
                drink += f" {how} {self.any(ADDITIONS)}"
                if self.chance(0.4):
                    more = self.pick("sugar", "cream", "milk", "vanilla", "caramel")
                    drink += f" {self.pick('and', 'and some', 'and a little bit of')} {more}"
            return drink
        end = self.pick(
            "", "with cheese", "with mushrooms", "with no onions", "with extra bacon", "to go", "please",
            "for delivery", "and a glass of water",
        )
        return f"{start} {self.pick('large', 'small', 'medium', 'extra large', '')} {self.any(FOOD)} {end}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="folder with callers-*.txt and books-*.txt")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=60000, help="sentences to draw, or to generate with --language-model")
    parser.add_argument("--exclude", help="file of further sentences that must not come out, one a line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--language-model", action="store_true", help="every published sentence once, and COUNT generated ones")
    args = parser.parse_args()
    source = Sentences(args.text, args.seed, args.exclude)
    if args.language_model:
        generated = (source.generate() for _ in range(args.count))
        lines = list(source.whole_sentences()) + [t for t in generated if t not in source.excluded]
    else:
        lines = [source.draw() for _ in range(args.count)]
    with open(args.out, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    print(f"{len(lines)} sentences, vocabulary {len(source.vocabulary)}")


if __name__ == "__main__":
    main()
