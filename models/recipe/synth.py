# SPDX-License-Identifier: Apache-2.0
"""Training speech from flite, RHVoice, Pico and eSpeak NG.

    python synth.py --text TEXT --out shards/0001 --count 2400 --seed 1
    python synth.py --sentences FILE --out shards/dev --seed 2      each line of FILE once

Writes OUT.npy (int16, 16 kHz, all clips one after the other) and OUT.json, a list of
[first sample, samples, text, voice, phone end times or null]. The phone times come from flite alone.
"""
import argparse
import json
import os
import random
import re
import subprocess
import tempfile
import time
import wave
from math import gcd
from multiprocessing import Pool

import numpy as np
from scipy.signal import resample_poly

RATE = 16000
LOUDNESS = 0.08  # root mean square of every clip
# engine, voice, share
VOICES = [
    ("flite", "rms", 4), ("flite", "slt", 3), ("flite", "awb", 4), ("flite", "kal16", 2),
    ("pico", "en-US", 3), ("pico", "en-GB", 3),
    ("rhvoice", "alan", 4), ("rhvoice", "bdl", 4), ("rhvoice", "clb", 4), ("rhvoice", "slt", 3),
    ("espeak", "varied", 1),
]
FLITE_PITCH = {"slt": (140, 230), "awb": (85, 165), "kal16": (75, 150), "rms": (80, 130)}  # Hz; rms ignores it
ESPEAK_ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan"]
ESPEAK_VARIANTS = ["", "+m1", "+m2", "+m3", "+m5", "+m7", "+f2", "+f3", "+f4", "+f5"]


def written_for_speech(text, rng):
    """Single letters as initials; now and then a pause somewhere or a question."""
    text = re.sub(r"\b([b-hj-z])\b", lambda m: m.group(1).upper() + ".", text)
    text = re.sub(r"(?<![a-z])'|'(?![a-z])", "", text)
    if rng.random() < 0.25:
        words = text.split()
        cut = rng.randrange(len(words)) + 1
        text = " ".join(words[:cut]) + (", " + " ".join(words[cut:]) if cut < len(words) else "")
    return text + "?" if rng.random() < 0.12 else text


def command(engine, voice, plain, rng, path):
    """The synthesizer's command line and its standard input."""
    rate, text = rng.uniform(0.78, 1.28), written_for_speech(plain, rng)
    if engine == "flite":
        low, high = FLITE_PITCH[voice]
        return [
            "flite", "-psdur", "-voice", voice, "--setf", f"duration_stretch={1 / rate:.2f}",
            "--setf", f"int_f0_target_mean={rng.uniform(low, high):.0f}",
            "--setf", f"int_f0_target_stddev={rng.uniform(5, 35):.0f}", "-t", text, "-o", path,
        ], None
    if engine == "pico":
        marked = f'<speed level="{int(100 * rate)}"><pitch level="{rng.randint(65, 140)}">{text}</pitch></speed>'
        return ["pico2wave", "-l", voice, "-w", path, marked], None
    if engine == "rhvoice":
        return ["RHVoice-test", "-p", voice, "-r", str(int(100 * rate)), "-t", str(rng.randint(65, 145)), "-o", path], text
    name = rng.choice(ESPEAK_ACCENTS) + rng.choice(ESPEAK_VARIANTS)
    return ["espeak-ng", "-v", name, "-p", str(rng.randint(30, 70)), "-s", str(int(165 * rate)), "-w", path, plain], None


def read_wave(path):
    with wave.open(path) as f:
        audio = np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768
        rate = f.getframerate()
    if rate != RATE:
        common = gcd(rate, RATE)
        audio = resample_poly(audio, RATE // common, rate // common).astype(np.float32)
    return audio


def speak(job):
    """One clip: int16 samples, text, voice, phone times; None where the synthesizer failed or the length is odd."""
    seed, text, (engine, voice) = job
    path = os.path.join(tempfile.gettempdir(), f"hark-synth-{os.getpid()}.wav")
    try:
        arguments, stdin = command(engine, voice, text, random.Random(seed), path)
        done = subprocess.run(arguments, input=stdin and stdin.encode(), check=True, capture_output=True, timeout=20)
        audio = read_wave(path)
    except (OSError, subprocess.SubprocessError, wave.Error, EOFError):
        return None
    if not 0.2 * RATE <= len(audio) <= 14 * RATE:
        return None
    audio = audio * (LOUDNESS / (np.sqrt(np.mean(audio**2)) + 1e-6))
    phones = done.stdout.decode().strip() if engine == "flite" else None
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16), text, f"{engine}-{voice}", phones


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="folder of sentences, see text.py")
    parser.add_argument("--sentences", help="speak each line of this file instead")
    parser.add_argument("--out", required=True, help="OUT.npy and OUT.json are written")
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--exclude", help="file of sentences never to speak")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    if args.sentences:
        lines = [line.strip() for line in open(args.sentences, encoding="utf-8") if line.strip()]
    else:
        from text import Sentences

        source = Sentences(args.text, args.seed, args.exclude)
        lines = [source.draw() for _ in range(args.count)]
    voices, shares = [(e, v) for e, v, _ in VOICES], [s for _, _, s in VOICES]
    jobs = [(args.seed * 1_000_000 + i, line, rng.choices(voices, shares)[0]) for i, line in enumerate(lines)]
    clips, rows, position, start = [], [], 0, time.time()
    with Pool(args.jobs) as pool:
        for result in pool.imap_unordered(speak, jobs, chunksize=8):
            if result is None:
                continue
            audio, text, voice, phones = result
            rows.append((position, len(audio), text, voice, phones))
            clips.append(audio)
            position += len(audio)
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    np.save(args.out + ".npy", np.concatenate(clips))
    with open(args.out + ".json.part", "w") as f:
        json.dump(rows, f)
    os.replace(args.out + ".json.part", args.out + ".json")  # the trainer looks for .json, so it comes last
    print(f"{len(rows)} of {len(jobs)} clips, {position / RATE / 3600:.2f} h, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
