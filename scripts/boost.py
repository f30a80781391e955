#!/usr/bin/env python3
"""What `keyterm` does to the word error: callers with rare names, with and without the names as terms.

    scripts/boost.py --hark target/release/hark [--set test|dev] [--live] [--context 68,3] [--json F] [--keep DIR]
    scripts/boost.py --self-test

Speaks with flite (voices kal16, awb, rms, slt) and eSpeak NG: every name of the set in two sentences, in two voices, and as many
sentences without any name. All names of the set are terms of every call. Choose a bonus on the set dev, report on test.
Both programs are in Debian's packages `flite` and `espeak-ng`. Standard library only, besides wer.py.

A word of a term is wrong if it is replaced or left out, or if words are put in beside it. Everything else counts as elsewhere.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass, field
from pathlib import Path

from wer import normalise

VOICES = ("kal16", "awb", "rms", "slt", "espeak")

# Surnames and given names of callers, product and place names; every second one belongs to dev.
NAMES = """
Abernathy Kowalczyk Okonkwo Thibodeaux Szymanski Featherstone Vasquez Ivanovich Nakamura Oyelaran Lindqvist Papadakis Krishnamurthy
Achterberg Bellweather Delacroix Mbeki Guadalupe Halvorsen Takahashi Zielinski Wojcik Rasmussen Quintero Osterman Petrakis Adeyemi
Fitzgibbon Kaczmarek Villanueva Trevelyan Bronkowski Castellano Dombrowski Esposito Farnsworth Grabowski Hathaway Iglesias Jablonski
Kavanaugh Lombardi Montenegro Nowakowski Ostrander Pellegrino Radcliffe Santangelo Tavernier Underhill Vandermeer Whitcombe Xanthos
Yamamoto Zimmerman Amaranta Bartholomew Calliope Desdemona Evangeline Florentina Giovanna Hermione Isadora Jocasta Kalinda Leocadia
Mirabel Nadezhda Ottoline Persephone Rosalind Seraphina Theodora Valentina Zenobia
""".split()

WITH = """
my name is {} and i am calling about my order
can you please put me through to {} in the sales department
i would like to leave a message for {}
the account is under the name {}
hello this is {} speaking
please send the invoice to {} by friday
i spoke with {} yesterday afternoon
is {} in the office today
""".strip().splitlines()

WITHOUT = """
i would like to change my appointment to next tuesday
can you tell me the balance of my account please
my card was declined at the grocery store this morning
what time do you open on saturday
i need to speak to someone about a refund
the package never arrived and i want my money back
please cancel the second item on my order
how long does it take to transfer money to another bank
i forgot my password and can not log in
there is a charge on my statement that i do not recognize
could you repeat the last four digits please
i want to book a table for six people at eight o'clock
the number is five five five zero one two seven
do you have anything cheaper than that
my flight was delayed and i missed the connection
thank you very much for your help
please hold the line while i look for it
yes that is correct
no i have never received the letter
i am calling because the internet is down again
""".strip().splitlines()


@dataclass
class Clip:
    text: str
    voice: str
    term: str | None
    path: Path = field(default=Path())


@dataclass
class Score:
    words: int = 0
    errors: int = 0

    def percent(self) -> float:
        return 100.0 * self.errors / max(1, self.words)


def clips(names: list[str]) -> list[Clip]:
    """Every name in two sentences, each in another voice; then the sentences without names, so many times that they are as many."""
    spoken = []
    for number, name in enumerate(names):
        for turn in range(2):
            sentence = WITH[(number + turn * 3) % len(WITH)].format(name)
            spoken.append(Clip(sentence, VOICES[(number + turn * 2) % len(VOICES)], name))
    for number in range(len(spoken)):
        turn, sentence = divmod(number, len(WITHOUT))
        spoken.append(Clip(WITHOUT[sentence], VOICES[(sentence + turn) % len(VOICES)], None))
    return spoken


def speak(clip: Clip, path: Path) -> None:
    if clip.voice == "espeak":
        command = ["espeak-ng", "-v", "en-us", "-s", "150", "-w", path, clip.text]
    else:
        command = ["flite", "-voice", clip.voice, "-t", clip.text, "-o", path]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    with wave.open(str(path)) as file:
        assert file.getnframes() > 0, clip
    clip.path = path


def align(reference: list[str], got: list[str]) -> list[tuple[int, int]]:
    """For each word of the reference, and for the end: 1 if it is wrong; words put in before it (Levenshtein)."""
    rows = [list(range(len(got) + 1))]
    for i, word in enumerate(reference, 1):
        row = [i]
        for j, other in enumerate(got, 1):
            row.append(min(rows[-1][j - 1] + (word != other), rows[-1][j] + 1, row[j - 1] + 1))
        rows.append(row)
    i, j = len(reference), len(got)
    found = [[0, 0] for _ in range(i + 1)]
    while i or j:
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (reference[i - 1] != got[j - 1]):
            i, j = i - 1, j - 1
            found[i][0] = int(reference[i] != got[j])
        elif i and rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
            found[i][0] = 1
        else:
            j -= 1
            found[i][1] += 1
    return [(wrong, put_in) for wrong, put_in in found]


def score(clip: Clip, got: list[str], terms: Score, elsewhere: Score) -> None:
    reference = normalise(clip.text)
    term = set(normalise(clip.term)) if clip.term else set()
    found = align(reference, got)
    wrong_term = [word in term and bool(found[at][0]) for at, word in enumerate(reference)]
    for at, (wrong, put_in) in enumerate(found):
        if at < len(reference):
            into = terms if reference[at] in term else elsewhere
            into.words += 1
            into.errors += wrong
        beside = any(wrong_term[max(0, at - 1) : at + 1])
        (terms if beside else elsewhere).errors += put_in


def transcribe(hark: str, paths: list[Path], terms: list[str], extra: list[str]) -> dict[str, str]:
    command = [hark, "transcribe", "--format", "json", *extra]
    for term in terms:
        command += ["--keyterm", term]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"hark transcribe: {done.stderr.strip()[-1000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    return {line["file"]: line["transcript"] for line in lines}


def self_test() -> None:
    assert align("a b c".split(), "a b c".split()) == [(0, 0), (0, 0), (0, 0), (0, 0)]
    assert align("a b c".split(), "x a y c d".split()) == [(0, 1), (1, 0), (0, 0), (0, 1)]
    terms, elsewhere = Score(), Score()
    score(Clip("hello bo here", "", "Bo"), "hello bow wow here there".split(), terms, elsewhere)
    assert (terms.words, terms.errors, elsewhere.words, elsewhere.errors) == (1, 2, 2, 1), (terms, elsewhere)
    assert len(NAMES) == len(set(NAMES)) and len(NAMES) >= 60
    for names in (NAMES[::2], NAMES[1::2]):
        assert len(names) >= 30 and {clip.term for clip in clips(names)} == {None, *names}
    print("self-test passed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hark", help="the hark binary")
    parser.add_argument("--set", choices=("dev", "test"), default="test")
    parser.add_argument("--live", action="store_true", help="through the live path")
    parser.add_argument("--context", help="chunk context in encoder frames")
    parser.add_argument("--model", help="the model's name")
    parser.add_argument("--json", type=Path, help="writes every transcript to this file")
    parser.add_argument("--keep", type=Path, help="keeps the recordings there, or takes those that are there")
    parser.add_argument("--self-test", action="store_true", help="tests the scoring and ends")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    missing = [tool for tool in (options.hark or "--hark", "flite", "espeak-ng") if not shutil.which(tool)]
    if missing:
        parser.error("not found: " + ", ".join(missing))
    names = NAMES[::2] if options.set == "dev" else NAMES[1::2]
    extra = ["--live"] * options.live
    extra += ["--context", options.context] if options.context else []
    extra += ["--model", options.model] if options.model else []
    with tempfile.TemporaryDirectory(prefix="hark-boost-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        spoken = clips(names)
        for number, clip in enumerate(spoken):
            path = folder / f"{options.set}-{number}.wav"
            if path.exists():
                clip.path = path
            else:
                speak(clip, path)
        report = []
        print(f"{options.set}: {len(names)} names, {len(spoken)} clips; word error in %")
        print(f"{'':16}{'terms':>16}{'elsewhere':>18}")
        for told, terms in (("without terms", []), ("with terms", names)):
            found = transcribe(options.hark, [clip.path for clip in spoken], terms, extra)
            of_terms, elsewhere = Score(), Score()
            for clip in spoken:
                got = found[str(clip.path)]
                score(clip, normalise(got), of_terms, elsewhere)
                report.append({"terms": bool(terms), "voice": clip.voice, "term": clip.term, "text": clip.text, "transcript": got})
            cells = [f"{part.percent():.1f} ({part.errors}/{part.words})" for part in (of_terms, elsewhere)]
            print(f"{told:16}{cells[0]:>16}{cells[1]:>18}")
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
