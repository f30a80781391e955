#!/usr/bin/env python3
"""What a language model of a domain does to the word error there: taxi bookings with street names, numbers and times.

    scripts/domain.py --hark target/release/hark [--model models/hark-starter-en] [--sentences 4000] [--held-out 80] [--weight W]
                      [--order N] [--keep DIR]
    scripts/domain.py --self-test

Makes sentences by a grammar, some for the language model and others, held out, that flite (voices kal16, awb, rms, slt) and eSpeak NG
speak; builds the language model with `hark models lm build`, and prints with `hark models lm eval` the word error with and without it,
its memory, and the time that a step takes. No held-out sentence is among those that the language model was made from; choose a weight
with another --seed. Both programs are in Debian's packages `flite` and `espeak-ng`. Standard library only, besides boost.py.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from boost import VOICES, Clip, speak

NAME = "taxi"

SENTENCES = """
i need a taxi from {address} to {place} {when}
can you send a cab to {address} {when} please
please pick me up at {address} and take me to {place}
i would like to book a car for {people} people from {place} to {address}
my booking for {when} is under the name {name}
the driver should wait in front of {address}
how much is a ride from {place} to {place}
there are {people} of us and we have {people} suitcases
could i change my booking from {clock} to {clock}
{name} is waiting at the corner of {street} and {street}
i left my phone in the cab that took me from {street} to {place}
do you have a van with a wheelchair ramp for {when}
cancel the taxi to {place} {when} please
we are {people} people going from {address} to {address}
the flight lands {when} so the driver should be at {place} by {clock}
""".strip().splitlines()

SLOTS = {
    "street": """ashgrove lane
belvedere road
bramley avenue
cavendish square
chestnut hill
copperfield street
dunmore crescent
elmhurst drive
fennimore street
galloway terrace
hawthorne avenue
kingsbury road
larkspur court
mulberry street
northgate boulevard
old quarry road
parnell square
queensferry street
ravenswood drive
saltmarket lane
tanglewood close
wellington parade
willowbrook way
yarrow street""".splitlines(),
    "place": """the airport
the central station
the general hospital
the harbour ferry terminal
the botanical garden
the convention centre
the old town hall
the university library
the grand hotel
the opera house
the bus depot
the shopping mall""".splitlines(),
    "name": "abernathy delacroix fitzgibbon halvorsen kowalczyk lindqvist nakamura okonkwo petrakis rasmussen thibodeaux zielinski".split(),
    "people": "two three four five six seven".split(),
    "when": """right now
as soon as possible
tonight at {clock}
tomorrow at {clock}
on friday at {clock}
on sunday morning
in {minutes} minutes""".splitlines(),
    "clock": """{hour} o'clock
half past {hour}
a quarter past {hour}
a quarter to {hour}
{hour} {minutes}""".splitlines(),
    "hour": "one two three four five six seven eight nine ten eleven twelve".split(),
    "minutes": "ten fifteen twenty thirty forty five fifty".split(),
    "address": ["{number} {street}"],
    "number": "seven twelve nineteen twenty two thirty one forty eight fifty six sixty three eighty four ninety nine".split(),
}


def fill(pattern: str, draw: random.Random) -> str:
    """The pattern with every slot filled, slots of slots too."""
    while "{" in pattern:
        before, _, rest = pattern.partition("{")
        slot, _, after = rest.partition("}")
        pattern = before + draw.choice(SLOTS[slot]) + after
    return pattern


def sentences(count: int, held_out: int, seed: int) -> tuple[list[str], list[str]]:
    """So many different sentences to learn from, and so many others."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count + held_out:
        found[fill(draw.choice(SENTENCES), draw)] = None
    listed = list(found)
    return listed[held_out:], listed[:held_out]


def run(command: list[object]) -> None:
    print("$", *command, flush=True)
    done = subprocess.run([str(part) for part in command], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def self_test() -> None:
    learnt, held_out = sentences(2000, 50, 1)
    assert (len(set(learnt)), len(set(held_out))) == (2000, 50) and not set(learnt) & set(held_out)
    assert (learnt, held_out) == sentences(2000, 50, 1) and learnt != sentences(2000, 50, 2)[0]
    for sentence in learnt + held_out:
        assert all(letter.isalpha() or letter in " '" for letter in sentence) and sentence == sentence.lower(), sentence
    words = {word for sentence in learnt for word in sentence.split()}
    missing = {word for sentence in held_out for word in sentence.split()} - words
    assert not missing, f"held-out words that nobody could know: {missing}"
    print("self-test passed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hark", help="the hark binary")
    parser.add_argument("--model", type=Path, default=Path("models/hark-starter-en"), help="the model's folder")
    parser.add_argument("--sentences", type=int, default=4000, help="sentences that the language model is made from")
    parser.add_argument("--held-out", type=int, default=80, help="sentences that are spoken")
    parser.add_argument("--weight", type=float, help="weight of the language model; its usual one if none")
    parser.add_argument("--order", type=int, default=3, help="words that are looked at together")
    parser.add_argument("--seed", type=int, default=1, help="which sentences")
    parser.add_argument("--keep", type=Path, help="keeps sentences and recordings there, or takes the recordings that are there")
    parser.add_argument("--self-test", action="store_true", help="tests the grammar and ends")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    missing = [tool for tool in (options.hark or "--hark", "flite", "espeak-ng") if not shutil.which(tool)]
    if missing:
        parser.error("not found: " + ", ".join(missing))
    learnt, held_out = sentences(options.sentences, options.held_out, options.seed)
    with tempfile.TemporaryDirectory(prefix="hark-domain-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, text in enumerate(held_out):
            path = folder / f"{options.seed}-{number}.wav"
            if not path.exists():
                speak(Clip(text, VOICES[number % len(VOICES)], None), path)
            lines.append(f"{path.name}\t{text}")
        files = {"learnt.txt": learnt, "held-out.txt": held_out, "recordings.tsv": lines}
        for name, content in files.items():
            (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
        lm = [options.hark, "models", "lm"]
        place = ["--models-dir", folder]
        build = ["--order", options.order, "--held-out", folder / "held-out.txt"]
        run([*lm, "build", NAME, folder / "learnt.txt", *build, *place])
        weight = [] if options.weight is None else ["--weight", options.weight]
        run([*lm, "eval", NAME, folder / "recordings.tsv", "--model", options.model, *weight, *place])


if __name__ == "__main__":
    main()
