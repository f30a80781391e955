# SPDX-License-Identifier: Apache-2.0
"""Phone times of human clips by PocketSphinx forced alignment.

    python align.py --human HUMAN --out human-phones.json

HUMAN has manifest.tsv with the columns file, transcript. Writes {file: [[phone, end in seconds], ...]};
clips with a word that PocketSphinx's lexicon lacks are left out, and the trainer uses them without phones.
"""
import argparse
import csv
import json
import os
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor

_decoder = None


def pcm(path):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-ac", "1", "-ar", "16000", "-f", "s16le", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def listen(decoder, audio):
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()


def align(job):
    global _decoder
    name, path, transcript = job
    if _decoder is None:
        from pocketsphinx import Decoder

        _decoder = Decoder(samprate=16000, lm=None, loglevel="FATAL", beam=1e-80, pbeam=1e-80, wbeam=1e-60)
    try:
        words = transcript.split()
        if not all(_decoder.lookup_word(w) for w in words):
            return name, None
        audio = pcm(path)
        _decoder.set_align_text(" ".join(words))
        listen(_decoder, audio)
        if _decoder.hyp() is None:
            return name, None
        _decoder.set_alignment()  # from the words to the phones within them
        listen(_decoder, audio)
        found = [(p.name.lower(), p.start + p.duration) for w in _decoder.get_alignment() for p in w]
        return name, [[p, end / 100] for p, end in found]
    except (RuntimeError, ValueError, subprocess.CalledProcessError):
        return name, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--human", required=True, help="folder with manifest.tsv")
    parser.add_argument("--out", required=True)
    parser.add_argument("--limit", type=int, help="only the first clips")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with open(os.path.join(args.human, "manifest.tsv"), newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))[: args.limit]
    jobs = [(r["file"], os.path.join(args.human, r["file"]), r["transcript"]) for r in rows]
    start, found = time.time(), {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for name, phones in pool.map(align, jobs, chunksize=8):
            if phones:
                found[name] = phones
    with open(args.out, "w") as f:
        json.dump(found, f)
    print(f"{len(found)} of {len(rows)} clips aligned, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
