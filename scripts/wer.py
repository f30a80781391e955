#!/usr/bin/env python3
"""Word error rates of `hark transcribe` on a set of recordings, by data set, context and bandwidth.

    scripts/wer.py --hark target/release/hark MANIFEST.tsv AUDIO_DIR [--contexts 70,1 70,13] [--json F]
    scripts/wer.py --self-test

MANIFEST.tsv is tab-separated with a header line. Columns `file` (under AUDIO_DIR) and `transcript`; optional `set`, and for
headerless files `encoding`, `sample_rate` and `channels`. A transcript `-` is not scored; an empty one means that no word is said;
` || ` parts the transcripts of the channels of a file, which are then scored one by one.

Each file is transcribed as it is ("16 kHz": hark resamples) and as 8 kHz mu-law. ffmpeg, else sox, makes the mu-law copies and
converts what is no plain WAV file; without either, such files are skipped and counted. Standard library only.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

BANDS = ("16 kHz", "8 kHz mu-law")
CONTEXTS = ["70,1", "68,3", "70,6", "70,13"]
# Files in one call of hark.
BATCH = 64

# Word error rates in percent that others had on the evaluation recordings of this project, by (set, band).
# PocketSphinx 5.1 with the model that comes with it.
PEER = {("human", BANDS[0]): 39.0, ("human", BANDS[1]): 59.0}
# The project's first checkpoint (4.2 M parameters, two hours of human speech), by (set, band, context), measured in the framework
# that it was trained with, before Hark could run it.
FIRST_CHECKPOINT = {
    ("human", BANDS[0], "70,1"): 83.9,
    ("human", BANDS[0], "70,6"): 82.1,
    ("human", BANDS[0], "70,13"): 81.7,
    ("telephony", BANDS[1], "70,1"): 85.8,
    ("telephony", BANDS[1], "70,6"): 82.9,
    ("telephony", BANDS[1], "70,13"): 83.3,
}

FILLERS = {"um", "uh", "umm", "uhm", "er", "erm", "hmm"}
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth"}


def cardinal(number: int) -> list[str]:
    """A number below 10^12 in words, without "and"."""
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10]] + ([ONES[number % 10]] if number % 10 else [])
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            return cardinal(number // size) + [name] + (cardinal(number % size) if number % size else [])
    raise ValueError(number)


def ordinal(number: int) -> list[str]:
    *head, last = cardinal(number)
    if last.endswith("y"):
        return head + [last[:-1] + "ieth"]
    return head + [ORDINALS.get(last, last + "th")]


def numeral(match: re.Match) -> str:
    """Words for one numeral; long ones and those that begin with 0 are read digit by digit."""
    money, whole, fraction, ending = match.groups()
    digits = whole.replace(",", "")
    if len(digits) > 12 or (len(digits) > 1 and digits[0] == "0"):
        words = [ONES[int(digit)] for digit in digits]
    elif ending in ("st", "nd", "rd", "th"):
        words = ordinal(int(digits))
    else:
        words = cardinal(int(digits))
    if fraction:
        words += ["point"] + [ONES[int(digit)] for digit in fraction[1:]]
    if ending == "%":
        words.append("percent")
    if money:
        words.append("dollar" if words == ["one"] else "dollars")
    return " " + " ".join(words) + " "


NUMERAL = re.compile(r"(\$)?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(st\b|nd\b|rd\b|th\b|%)?", re.ASCII)


def normalise(text: str) -> list[str]:
    """The words that are scored: lower case, numerals as words, no fillers, no punctuation but apostrophes within a word."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    text = NUMERAL.sub(numeral, text)
    words = (word.strip("'") for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*|'[^\W_]+", text))
    return [word for word in words if word and word not in FILLERS]


def edit_distance(reference: list[str], got: list[str]) -> int:
    """Fewest words to put in, take out or replace (Levenshtein), in memory proportional to the shorter side's row."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            diagonal, row[j] = row[j], min(diagonal + (word != other), row[j - 1] + 1, row[j] + 1)
    return row[-1]


@dataclass
class Clip:
    """One channel of one file, with the copy that each band transcribes."""

    name: str
    set: str
    words: list[str]
    paths: dict[str, Path] = field(default_factory=dict)


@dataclass
class Score:
    clips: int = 0
    words: int = 0
    errors: int = 0

    def add(self, words: int, errors: int) -> None:
        self.clips, self.words, self.errors = self.clips + 1, self.words + words, self.errors + errors

    def percent(self) -> float | None:
        return 100.0 * self.errors / self.words if self.words else None

    def __str__(self) -> str:
        percent = self.percent()
        return f"{self.errors} words" if percent is None else f"{percent:.1f}"


class Converter:
    """ffmpeg or sox, whichever is there."""

    def __init__(self) -> None:
        self.tool = next((tool for tool in ("ffmpeg", "sox") if shutil.which(tool)), None)

    def convert(self, source: Path, target: Path, row: dict, channel: int | None, mulaw: bool) -> bool:
        """Writes one channel (or the mean of all) of `source` as a WAV file; false if it cannot be done."""
        raw = re.fullmatch(r"(s16le|mulaw|alaw) headerless", row.get("encoding") or "")
        rate, channels = row.get("sample_rate") or "8000", row.get("channels") or "1"
        if self.tool == "ffmpeg":
            given = ["-f", raw[1], "-ar", rate, "-ac", channels] if raw else []
            pick = ["-ac", "1"] if channel is None else ["-af", f"pan=mono|c0=c{channel}"]
            form = ["-ar", "8000", "-c:a", "pcm_mulaw"] if mulaw else ["-c:a", "pcm_s16le"]
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *given, "-i", source, *pick, *form, target]
        elif self.tool == "sox":
            codec = {"s16le": ["-e", "signed", "-b", "16"], "mulaw": ["-e", "mu-law"], "alaw": ["-e", "a-law"]}
            given = ["-t", "raw", *codec[raw[1]], "-r", rate, "-c", channels] if raw else []
            form = ["-r", "8000", "-e", "mu-law"] if mulaw else ["-e", "signed", "-b", "16"]
            command = ["sox", "-V1", *given, source, *form, target, "remix", "-" if channel is None else str(channel + 1)]
        else:
            return False
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{source}: {self.tool}: {done.stderr.strip()[-200:]}", file=sys.stderr)
        return done.returncode == 0 and target.exists()


def plain_wav(path: Path, row: dict) -> bool:
    """Whether hark can be given the file as it is: WAV, one channel, and no codec beyond PCM and G.711 (as far as the manifest says)."""
    encoding = row.get("encoding") or "pcm"
    return path.suffix.lower() == ".wav" and (row.get("channels") or "1") == "1" and encoding.startswith("pcm")


def prepare(manifest: Path, audio: Path, sets: list[str] | None, folder: Path) -> tuple[list[Clip], list[str]]:
    """The clips to score (of all sets, or of those named), and the names of those for which a copy could not be made."""
    converter = Converter()
    clips, skipped = [], []
    with open(manifest, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if rows and not {"file", "transcript"} <= rows[0].keys():
        sys.exit(f"{manifest}: no columns file and transcript")
    for number, row in enumerate(rows):
        transcript = (row["transcript"] or "").strip()
        group = row.get("set") or "all"
        if transcript == "-" or (sets and group not in sets):
            continue
        source = audio / row["file"]
        parts = transcript.split(" || ")
        for channel, part in enumerate(parts):
            one = channel if len(parts) > 1 else None
            clip = Clip(row["file"] + (f" channel {channel}" if len(parts) > 1 else ""), group, normalise(part))
            for band in BANDS:
                target = folder / f"{number}-{channel}-{BANDS.index(band)}.wav"
                if band == BANDS[0] and one is None and plain_wav(source, row):
                    clip.paths[band] = source
                elif converter.convert(source, target, row, one, mulaw=band == BANDS[1]):
                    clip.paths[band] = target
                else:
                    skipped.append(f"{clip.name} ({band})")
            clips.append(clip)
    return clips, skipped


def transcribe(hark: str, model: str | None, context: str, paths: list[Path]) -> dict[str, str]:
    """Transcripts by path; a file that fails is absent."""
    found = {}
    for start in range(0, len(paths), BATCH):
        batch = [str(path) for path in paths[start : start + BATCH]]
        command = [hark, "transcribe", "--format", "json", "--context", context, *(["--model", model] if model else []), *batch]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        for line in lines:
            result = json.loads(line)
            found[result["file"]] = result["transcript"]
        if done.returncode != 0:
            print(f"hark: {done.stderr.strip()[-1000:]}", file=sys.stderr)
            if not lines:
                sys.exit(f"hark transcribe gave nothing, exit code {done.returncode}")
    return found


def self_test() -> None:
    assert edit_distance([], []) == 0
    assert edit_distance("a b c".split(), []) == 3 and edit_distance([], "a b".split()) == 2
    assert edit_distance("a b c d".split(), "a x c d e".split()) == 2
    assert edit_distance("a b c".split(), "b c".split()) == 1
    assert edit_distance("k i t t e n".split(), "s i t t i n g".split()) == 3
    for text, words in {
        "Um, what\u2019s THE well-known 'time'?": "what's the well known time",
        "go forward 10 meters": "go forward ten meters",
        "$1,200.50 and 7%": "one thousand two hundred point five zero dollars and seven percent",
        "the 21st, 12th, 3rd and 40th": "the twenty first twelfth third and fortieth",
        "007 90210": "zero zero seven ninety thousand two hundred ten",
        "uh-huh": "huh",
        "": "",
    }.items():
        assert normalise(text) == words.split(), (text, normalise(text))
    score = Score()
    score.add(4, 1)
    score.add(0, 2)
    assert (score.clips, score.words, score.errors, str(score)) == (2, 4, 3, "75.0")
    assert str(Score(1, 0, 2)) == "2 words"
    print("self-test passed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("audio", type=Path, nargs="?")
    parser.add_argument("--hark", help="the hark binary")
    parser.add_argument("--model", help="the model's name")
    parser.add_argument("--contexts", nargs="+", default=CONTEXTS, metavar="L,R", help="chunk contexts in encoder frames")
    parser.add_argument("--sets", nargs="+", help="only these data sets")
    parser.add_argument("--json", type=Path, help="writes every transcript and figure to this file")
    parser.add_argument("--self-test", action="store_true", help="tests the scoring and ends")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    if not (options.manifest and options.audio and options.hark):
        parser.error("--hark, MANIFEST and AUDIO_DIR are needed")
    if not shutil.which(options.hark):
        parser.error(f"{options.hark} is no program")

    with tempfile.TemporaryDirectory(prefix="hark-wer-") as folder:
        clips, skipped = prepare(options.manifest, options.audio, options.sets, Path(folder))
        scores, failed, transcripts = defaultdict(Score), [], []
        for context in options.contexts:
            for band in BANDS:
                present = [clip for clip in clips if band in clip.paths]
                found = transcribe(options.hark, options.model, context, [clip.paths[band] for clip in present])
                for clip in present:
                    text = found.get(str(clip.paths[band]))
                    if text is None:
                        failed.append(f"{clip.name} ({band}, {context})")
                    errors = edit_distance(clip.words, normalise(text or ""))
                    scores[clip.set, band, context].add(len(clip.words), errors)
                    transcripts.append(
                        {"file": clip.name, "set": clip.set, "band": band, "context": context, "transcript": text, "errors": errors, "words": len(clip.words)}
                    )

    show(scores, options.contexts)
    if skipped:
        print(f"\n{len(skipped)} skipped, they could not be converted (ffmpeg or sox?):\n  " + "\n  ".join(skipped))
    if failed:
        print(f"\n{len(failed)} failed in hark and count as if nothing had been said in return:\n  " + "\n  ".join(failed))
    if options.json:
        figures = [
            {"set": name, "band": band, "context": context, **vars(score), "percent": score.percent()}
            for (name, band, context), score in scores.items()
        ]
        report = {"figures": figures, "skipped": skipped, "failed": failed, "transcripts": transcripts}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(scores: dict, contexts: list[str]) -> None:
    """Rows: data sets; columns: contexts. Then the totals."""
    print("word error in %; sets without speech: words returned. In brackets: the project's first checkpoint")
    for band in BANDS:
        print(f"\n{band:14}{'files':>6}{'words':>8}" + "".join(f"{context:>16}" for context in contexts) + f"{'peer':>9}")
        for name in sorted({key[0] for key in scores if key[1] == band}):
            row = [scores[name, band, context] for context in contexts]
            cells = []
            for context, score in zip(contexts, row):
                first = FIRST_CHECKPOINT.get((name, band, context))
                cells.append(str(score) + (f" ({first:.1f})" if first else ""))
            peer = PEER.get((name, band))
            print(f"{name:14}{row[0].clips:>6}{row[0].words:>8}" + "".join(f"{cell:>16}" for cell in cells) + f"{peer if peer else '':>9}")
    words, errors = sum(score.words for score in scores.values()), sum(score.errors for score in scores.values())
    print(f"\nin all: {words} words, {errors} errors, over every band and context")


if __name__ == "__main__":
    main()
