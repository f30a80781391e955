# SPDX-License-Identifier: Apache-2.0
"""The evaluation set of held-out sentences: voices heard in training, and two that never were (MBROLA en1 through
eSpeak NG, festival's ked_diphone), as 16-bit WAV at 16 kHz and as mu-law WAV at 8 kHz.

    python heldout.py --out HELDOUT

Writes HELDOUT/manifest.tsv with file, transcript, voice, set (seen or unseen), sample_rate.
"""
import argparse
import os
import random
import re
import subprocess
import tempfile

import soundfile

from synth import RATE, VOICES, speak

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, stdin=None):
    subprocess.run(command, input=stdin, check=True, capture_output=True)


def initials(text):
    return re.sub(r"\b([b-hj-z])\b", lambda m: m.group(1).upper() + ".", text)


def seen_voice(text, number, rng, path):
    engines, shares = [(e, v) for e, v, _ in VOICES], [s for _, _, s in VOICES]
    for attempt in range(10):
        voice = rng.choices(engines, shares)[0]
        clip = speak((900_000_000 + 1000 * attempt + number, text, voice))
        if clip:
            soundfile.write(path, clip[0], RATE, subtype="PCM_16")
            return clip[2]
    raise SystemExit(f"no synthesizer spoke: {text}")


def mbrola(text, rng, path):
    run(["espeak-ng", "-v", "mb-en1", "-s", str(rng.randint(140, 180)), "-w", path, initials(text)])
    return "mbrola-en1"


def ked(text, path):
    run(["text2wave", "-eval", "(voice_ked_diphone)", "-o", path], initials(text).encode())
    return "ked_diphone"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sentences", default=os.path.join(HERE, "held-out-sentences.txt"))
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    with open(args.sentences, encoding="utf-8") as f:
        sentences = [line.strip() for line in f if line.strip()][: args.limit]
    for folder in ("wav", "ulaw"):
        os.makedirs(os.path.join(args.out, folder), exist_ok=True)
    rng, rows = random.Random(11), []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "spoken.wav")

        def keep(name, text, voice, kind):
            wide, narrow = f"wav/{name}.wav", f"ulaw/{name}.wav"
            target = os.path.join(args.out, wide)
            run(["sox", path, "-r", str(RATE), "-c", "1", "-b", "16", "-e", "signed-integer", target])
            # sox limits the band before it drops samples; half a decibel less, so that it never clips
            run(["sox", target, "-r", "8000", "-e", "mu-law", os.path.join(args.out, narrow), "gain", "-0.5"])
            rows.append((wide, text, voice, kind, str(RATE)))
            rows.append((narrow, text, voice, kind, "8000"))

        for number, text in enumerate(sentences):
            keep(f"seen-{number:03d}", text, seen_voice(text, number, rng, path), "seen")
            keep(f"mbrola-{number:03d}", text, mbrola(text, rng, path), "unseen")
            keep(f"ked-{number:03d}", text, ked(text, path), "unseen")
    with open(os.path.join(args.out, "manifest.tsv"), "w", encoding="utf-8") as f:
        f.write("file\ttranscript\tvoice\tset\tsample_rate\n")
        f.writelines("\t".join(row) + "\n" for row in rows)
    print(f"{len(rows)} files")


if __name__ == "__main__":
    main()
