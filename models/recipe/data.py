# SPDX-License-Identifier: Apache-2.0
"""The pool of clips (one int16 tensor on the training device) and the batches drawn from it."""
import csv
import glob
import json
import os
import random
import subprocess

import numpy as np
import torch

from model import PHONE_SLOTS, PHONES

RATE = 16000
LABEL = 320  # samples per phone label
LOUDNESS = 0.08
SAME_PHONE = {"sil": "pau", "+spn+": "pau", "+nsn+": "pau", "ax": "ah"}


def decode(path):
    """Any audio file -> float32 at 16 kHz."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<i2").astype(np.float32) / 32768


class Pool:
    def __init__(self, hours, device, excluded=()):
        self.audio = torch.zeros(int(hours * 3600 * RATE), dtype=torch.int16, device=device)
        self.labels = torch.full((len(self.audio) // LABEL + 2,), -100, dtype=torch.int8, device=device)
        self.device, self.excluded, self.used, self.seen = device, set(excluded), 0, set()
        self.phones = {p: i for i, p in enumerate(PHONES)}

    def _phone_labels(self, phones, samples):
        """One label per 320 samples from [(phone, end in seconds)]."""
        ends = np.array([end for _, end in phones])
        names = [SAME_PHONE.get(p, p) for p, _ in phones]
        numbers = np.array([self.phones.setdefault(p, len(self.phones)) for p in names] + [0])
        if numbers.max() >= PHONE_SLOTS:
            return None
        middle = (np.arange(samples // LABEL) + 0.5) * LABEL / RATE
        return numbers[np.minimum(np.searchsorted(ends, middle, side="right"), len(phones))]

    def add(self, audio, rows, human):
        """Clips (first sample, samples, text, phones) of one array -> items (start, samples, text, human), or None
        when the pool is full."""
        self.used = (self.used + LABEL - 1) // LABEL * LABEL
        if self.used + len(audio) > len(self.audio):
            return None
        labels = np.full(len(audio) // LABEL + 2, -100, np.int8)
        items = []
        for first, samples, text, phones in rows:
            if text in self.excluded or samples < RATE // 5:
                continue
            found = self._phone_labels(phones, samples) if phones else None
            if found is not None:
                labels[first // LABEL : first // LABEL + len(found)] = found
            items.append((self.used + first, samples, text, human))
        self.audio[self.used : self.used + len(audio)] = torch.from_numpy(np.array(audio)).to(self.device)
        at = self.used // LABEL
        self.labels[at : at + len(labels)] = torch.from_numpy(labels).to(self.device)
        self.used += len(audio)
        return items

    def shard(self, path, human=False):
        """One OUT.npy and OUT.json of synth.py."""
        with open(path + ".json") as f:
            rows = json.load(f)
        rows = [(first, n, text, flite_phones(phones)) for first, n, text, _, phones in rows]
        return self.add(np.load(path + ".npy", mmap_mode="r"), rows, human)

    def new_shards(self, folder):
        """Items of the shards that have appeared since the last call (synth.py may still be running)."""
        items = []
        for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
            if path in self.seen or os.path.basename(path) == "dev.json":
                continue
            self.seen.add(path)
            items += self.shard(path[: -len(".json")]) or []
        return items

    def human(self, folder, phones_file, limit=None):
        """Clips of a folder with manifest.tsv (file, transcript, speaker)."""
        phones = {}
        if phones_file:
            with open(phones_file) as f:
                phones = json.load(f)
        clips, rows, position = [], [], 0
        with open(os.path.join(folder, "manifest.tsv"), newline="") as f:
            entries = list(csv.DictReader(f, delimiter="\t"))[:limit]
        for entry in entries:
            audio = decode(os.path.join(folder, entry["file"]))
            if len(audio) < RATE // 5:
                continue
            audio = audio * (LOUDNESS / (np.sqrt(np.mean(audio**2)) + 1e-6))
            clips.append((np.clip(audio, -1, 1) * 32767).astype(np.int16))
            rows.append((position, len(audio), entry["transcript"], phones.get(entry["file"])))
            position += len(audio)
        return self.add(np.concatenate(clips), rows, True)


def flite_phones(text):
    """'pau:0.2 hh:0.31 ..' -> [(phone, end in seconds)]."""
    return [(p, float(end)) for p, end in (q.split(":") for q in text.split())] if text else None


def join_clips(item, items, short_human, longest):
    """Now and then one or two more clips after a short one, other speakers most of all. -> (segments, samples, text)"""
    start, samples, text, human = item
    segments = [(start, samples, 0)]
    if longest > 6 * RATE and samples < 4.5 * RATE and random.random() < (0.6 if human else 0.2):
        for _ in range(random.randint(1, 2)):
            from_people = short_human and random.random() < (0.5 if human else 0.15)
            other = random.choice(short_human if from_people else items)
            pause = int(random.choice([random.uniform(0, 0.3), random.uniform(0.1, 1.5)]) * RATE)
            if samples + pause + other[1] <= min(longest, 11 * RATE):
                segments.append((other[0], other[1], pause))
                text += " " + other[2]
                samples += pause + other[1]
    return segments, samples, text


def batches(items, human, longest, seconds):
    """Batches of about `seconds` of audio, clips of like length together, in random order; one pass over `items`."""
    short_human = [q for q in human if q[1] < 5 * RATE]
    clips = [join_clips(q, items, short_human, longest) for q in items if q[1] <= longest]
    clips.sort(key=lambda q: q[1] * random.uniform(0.97, 1.03))
    result, current = [], []
    for clip in clips:
        current.append(clip)
        if clip[1] * len(current) > seconds * RATE:
            result.append(current)
            current = []
    if current:
        result.append(current)
    random.shuffle(result)
    return result
