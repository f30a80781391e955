"""What the scripts in Python share: their arguments, the pace of a caller, and what they print.

Usage of each: SCRIPT http://HOST:PORT FILE.wav CHUNK_MS, the file mono 16-bit PCM; prints one JSON object.
"""

import io
import json
import sys
import wave


class Job:
    """The server, the file as it is (`body`), its samples as bytes (`audio`) and their rate, and the seconds between chunks."""

    def __init__(self):
        self.base, path, chunk_ms = sys.argv[1:]
        with open(path, "rb") as opened:
            self.body = opened.read()
        with wave.open(io.BytesIO(self.body)) as sound:
            self.audio, self.rate = sound.readframes(sound.getnframes()), sound.getframerate()
        self.pause = int(chunk_ms) / 1000
        self.step = self.rate * int(chunk_ms) // 1000 * 2

    def chunks(self, audio):
        """What a caller sends at a time."""
        for start in range(0, len(audio), self.step):
            yield audio[start : start + self.step]


def nothing_heard():
    """What a script fills in while it streams; what its client does not show stays None."""
    return {
        "finals": [],
        "interims": 0,
        "finalized": None,
        "ended": None,
        "closed": None,
        "duration": None,
        "request_ids": set(),
        "errors": [],
        "other": [],
    }


def report(live, file, refusals):
    print(json.dumps({"live": {**live, "request_ids": sorted(live["request_ids"])}, "file": file, "refusals": refusals}))
