#!/usr/bin/env python3
"""Makes the sample calls in this folder: call.wav, call-2.wav and call-3.wav with their transcripts.

Needs flite (Debian package `flite`) and Python 3.9 or later, nothing else. The same packages give the same bytes.
"""

import array
import math
import random
import subprocess
import tempfile
import wave
from pathlib import Path

HERE = Path(__file__).resolve().parent
RATE = 8000
CALLER, AGENT = "rms", "slt"
# Seconds between turns, and the level of the line noise below full scale.
PAUSE = 0.45
NOISE_DB = -45.0
# Speech is scaled to this peak.
PEAK = 0.5

CALLS = {
    "call": [
        (AGENT, "good morning, how can i help you"),
        (CALLER, "hello, i would like to check the balance on my account"),
        (AGENT, "sure, can you tell me your account number please"),
        (CALLER, "yes, it is four seven one, nine zero two, five five eight"),
        (AGENT, "thank you, and what is your date of birth"),
        (CALLER, "the twenty first of march, nineteen eighty four"),
        (AGENT, "your balance is three hundred and twelve dollars"),
        (CALLER, "great, thank you, that is all"),
    ],
    "call-2": [
        (CALLER, "hi, i want to book a table for two people on friday evening"),
        (AGENT, "of course, at what time"),
        (CALLER, "at half past seven, and no, we do not need a high chair"),
    ],
    "call-3": [
        (CALLER, "my card still has not arrived, can you track it for me"),
        (AGENT, "when did you order it"),
        (CALLER, "about two weeks ago, on the ninth of june"),
    ],
}


def speak(voice: str, text: str, folder: Path) -> list[float]:
    """The text in a voice, at 8 kHz, with its peak at PEAK."""
    path = folder / "turn.wav"
    stretch = "--setf", "duration_stretch=0.85"
    subprocess.run(["flite", "-voice", voice, *stretch, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        samples = array.array("h", file.readframes(file.getnframes()))
    halved = halve([sample / 32768 for sample in samples])
    loudest = max(map(abs, halved))
    return [sample * PEAK / loudest for sample in halved]


def halve(samples: list[float]) -> list[float]:
    """Every second sample after a low-pass at 3.4 kHz: 63 taps, Hamming window."""
    reach, cut = 31, 2 * 3400 / 16000
    taps = [
        (cut if k == 0 else math.sin(math.pi * cut * k) / (math.pi * k)) * (0.54 + 0.46 * math.cos(math.pi * k / reach))
        for k in range(-reach, reach + 1)
    ]
    padded = [0.0] * reach + samples + [0.0] * reach
    return [sum(tap * value for tap, value in zip(taps, padded[at : at + 2 * reach + 1])) for at in range(0, len(samples), 2)]


def mulaw(sample: float) -> int:
    """One sample as G.711 mu-law."""
    value = max(-32635, min(32635, round(sample * 32768)))
    sign = 0x80 if value < 0 else 0
    magnitude = abs(value) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> exponent + 3 & 0xF) & 0xFF


def write(path: Path, samples: list[float]) -> None:
    """A mu-law WAV file (format 7, with the fact chunk that compressed formats must have)."""
    data = bytes(map(mulaw, samples))
    length = len(data).to_bytes(4, "little")
    rate = RATE.to_bytes(4, "little")
    header = b"WAVEfmt \x12\0\0\0\x07\0\x01\0" + rate + rate + b"\x01\0\x08\0\0\0" + b"fact\x04\0\0\0" + length + b"data" + length
    padding = b"\0" * (len(data) & 1)
    path.write_bytes(b"RIFF" + (len(header) + len(data) + len(padding)).to_bytes(4, "little") + header + data + padding)


def main() -> None:
    noise = random.Random(1)
    level = 10 ** (NOISE_DB / 20)
    pause = [0.0] * round(PAUSE * RATE)
    with tempfile.TemporaryDirectory() as folder:
        for name, turns in CALLS.items():
            samples = list(pause)
            for voice, text in turns:
                samples += speak(voice, text, Path(folder)) + pause
            write(HERE / f"{name}.wav", [sample + noise.gauss(0.0, level) for sample in samples])
            words = " ".join(text.replace(",", "") for _, text in turns)
            (HERE / f"{name}.txt").write_text(words + "\n")
            print(f"{name}.wav: {len(samples) / RATE:.1f} s")


if __name__ == "__main__":
    main()
