# SPDX-License-Identifier: Apache-2.0
"""Everything between a stored clip and the features: joining, speed, microphone, room, noise, telephone line, mel
filterbank with a warped vocal tract, local tempo, masks. A batch at a time, on the CPU or on a GPU.

Synthetic voices are few and clean; each step removes something that the network could otherwise rely on and that
people and telephones do not share with them.
"""
import math
import random

import numpy as np
import torch
import torch.nn.functional as F

RATE = 16000
HOP, WINDOW, FFT, BINS = 160, 400, 512, 80
FLOOR = math.log(2**-24)
NOWHERE = 10**9  # place of a segment that a joined clip does not have


def hertz_to_mel(f):
    return np.where(f < 1000, f / (200 / 3), 15 + np.log(np.maximum(f, 1e-9) / 1000) / (np.log(6.4) / 27))


def mel_to_hertz(m):
    return np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))


def mel_filters(warp=1.0, bend=0.0):
    """Slaney filters [80, 257]; the centres scaled by `warp`, and bent below 5 kHz by up to `bend`."""
    centre = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(RATE / 2)), BINS + 2))
    centre = centre * warp * (1 + bend * np.sin(np.pi * np.minimum(centre, 5000) / 5000))
    bin_hertz = np.arange(FFT // 2 + 1)[None] * RATE / FFT
    low, mid, high = centre[:-2, None], centre[1:-1, None], centre[2:, None]
    rise, fall = (bin_hertz - low) / (mid - low), (high - bin_hertz) / (high - mid)
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)


def mulaw(x, levels):
    y = torch.sign(x) * torch.log1p(255 * x.abs()) / math.log(256)
    y = torch.round(y * levels) / levels
    return torch.sign(y) * (torch.exp(y.abs() * math.log(256)) - 1) / 255


def locate(time, start, length, offset):
    """Time in a joined clip -> place in the pool and whether it lies inside a segment. All but `time` are [B, S]."""
    segment = torch.zeros_like(time, dtype=torch.long)
    for s in range(1, start.shape[1]):
        segment += time >= offset[:, s : s + 1]
    inside = time.double() - offset.gather(1, segment)
    length = length.gather(1, segment)
    place = inside.clamp(min=0).minimum((length - 2).double()) + start.gather(1, segment)
    return place, (inside >= 0) & (inside < length - 1)


class Augment:
    def __init__(self, device, warps=256, seed=0):
        self.device = device
        rng = random.Random(seed)
        filters = [mel_filters()]
        for _ in range(warps - 1):
            filters.append(mel_filters(math.exp(rng.uniform(math.log(0.8), math.log(1.25))), rng.uniform(-0.06, 0.06)))
        self.filters = torch.tensor(np.stack(filters), dtype=torch.float32, device=device)
        self.window = torch.hann_window(WINDOW, periodic=False, device=device)

    def uniform(self, shape, low, high):
        return torch.rand(shape, device=self.device) * (high - low) + low

    def some(self, on, p):
        """Rows that take a step: `p` of those where augmentation is on."""
        return (torch.rand(len(on), device=self.device) < p) & on

    def curve(self, rows, width, low, high, fewest, most):
        """Smooth random curves [rows, width] through a few random heights."""
        knots = self.uniform((rows, 1, random.randint(fewest, most)), low, high)
        return F.interpolate(knots, size=width, mode="linear", align_corners=True)[:, 0]

    # ---- waveforms -----------------------------------------------------------------------------------------

    def gather(self, batch, pool, share):
        """Waveforms of a batch of clips, each (segments, samples, text) with segments (start, samples, pause before).

        Returns x [B, n], lengths, which rows are augmented (a `share` of them), and the geometry that
        `phone_targets` needs. Speed change moves pitch and formants; there is silence before and after.
        """
        rows, segments = len(batch), max(len(clip[0]) for clip in batch)
        table = np.zeros((3, rows, segments), np.int64)
        table[1], table[2] = 2, NOWHERE
        for i, (parts, _, _) in enumerate(batch):
            position = 0
            for k, (start, samples, pause) in enumerate(parts):
                position += pause
                table[:, i, k] = start, samples, position
                position += samples
        start, length, offset = torch.from_numpy(table).to(self.device)
        total = torch.tensor([clip[1] for clip in batch], device=self.device).float()
        one = torch.ones(rows, device=self.device)
        on = torch.rand(rows, device=self.device) < share
        speed = torch.where(self.some(on, 0.7), torch.exp(self.uniform(rows, math.log(0.8), math.log(1.25))), one)
        lead = torch.where(self.some(on, 0.08), self.uniform(rows, 0, 40000), self.uniform(rows, 0, 8000))
        lead = torch.where(on, lead, 0 * one)
        tail = torch.where(on, self.uniform(rows, 800, 10000), 0 * one)
        lengths = (total / speed + lead + tail).long()
        n = (int(lengths.max()) + 1279) // 1280 * 1280
        time = (torch.arange(n, device=self.device)[None] - lead[:, None]) * speed[:, None]
        place, inside = locate(time, start, length, offset)
        left = place.floor().long()
        part = (place - left).float()
        x = torch.where(inside, pool[left].float() * (1 - part) + pool[left + 1].float() * part, 0) / 32768
        return x, lengths, on, (start, length, offset, speed, lead)

    def waveform(self, x, on):
        """Microphone, room, wandering loudness, noise or other talkers, level, telephone line."""
        rows, n = x.shape
        tilt = torch.cat([self.uniform((rows, 1, 1), -12, 6), self.uniform((rows, 1, 9), -7, 7)], 2)
        gain = F.interpolate(tilt, size=n // 2 + 1, mode="linear", align_corners=True)[:, 0]
        equalized = torch.fft.irfft(torch.fft.rfft(x) * 10 ** (gain / 20), n)
        x = torch.where(self.some(on, 0.6)[:, None], equalized, x)
        x = self._room(x, self.some(on, 0.35))
        louder = x * 10 ** (self.curve(rows, n, -9, 5, 3, 8) / 20)
        x = torch.where(self.some(on, 0.4)[:, None], louder, x)
        x = self._noise(x, self.some(on, 0.75))
        level = torch.where(on, 10 ** (self.uniform(rows, -16, 10) / 20), torch.ones(rows, device=self.device))
        x = (x * level[:, None]).clamp(-1, 1)
        chosen = self.some(on, 0.5).nonzero()[:, 0]
        if len(chosen):
            k = len(chosen)
            none = torch.full((k,), -1e4, device=self.device)
            low = torch.where(torch.rand(k, device=self.device) < 0.6, self.uniform(k, 60, 350), none)
            coarse = torch.rand(k, 1, device=self.device) < 0.15
            full = torch.full((k, 1), 127.0, device=self.device)
            levels = torch.where(coarse, self.uniform((k, 1), 24, 100).round(), full)
            x[chosen] = self.telephone(x[chosen], low, self.uniform(k, 3200, 4000), levels)
        return x

    def telephone(self, x, low, high, levels):
        """Band limit per row, to 8 kHz, mu-law, back to 16 kHz."""
        n = x.shape[1]
        f = torch.fft.rfftfreq(n, 1 / RATE, device=self.device)[None]
        band = torch.sigmoid((f - low[:, None]) / 30) * torch.sigmoid((high[:, None] - f) / 60)
        spectrum = torch.fft.rfft(x) * band
        narrow = torch.fft.irfft(spectrum[:, : n // 4 + 1], n // 2) / 2
        coded = torch.fft.rfft(mulaw(narrow.clamp(-1, 1), levels))
        coded[:, -1] = 0
        return torch.fft.irfft(F.pad(coded * 2, (0, n // 2 + 1 - coded.shape[1])), n)

    def _room(self, x, rows):
        chosen = rows.nonzero()[:, 0]
        if not len(chosen):
            return x
        k, n, size = len(chosen), x.shape[1], 5120
        decay = torch.exp(-torch.arange(size, device=self.device)[None] / self.uniform(k, 130, 800)[:, None])
        response = torch.randn(k, size, device=self.device) * decay * self.uniform(k, 0.03, 0.3)[:, None]
        response[:, 0] = 1
        wet = torch.fft.irfft(torch.fft.rfft(x[chosen], n + size) * torch.fft.rfft(response, n + size), n + size)
        x[chosen] = wet[:, :n]
        return x

    def _noise(self, x, rows):
        """3 to 38 dB below the speech: white to brown, or one to four other talkers; steady or wandering."""
        b, n = x.shape
        spectrum = torch.fft.rfft(torch.randn(b, n, device=self.device))
        f = torch.arange(spectrum.shape[1], device=self.device).clamp(min=20)[None].float()
        noise = torch.fft.irfft(spectrum * f ** (-self.uniform(b, 0, 1.2)[:, None]), n)
        talkers = torch.zeros_like(x)
        for _ in range(random.randint(1, 4)):
            talkers += torch.roll(x[torch.randperm(b, device=self.device)], random.randrange(n), 1)
        noise = torch.where(torch.rand(b, 1, device=self.device) < 0.3, talkers, noise)
        wandering = noise * 10 ** (self.curve(b, n, -20, 6, 4, 12) / 20)
        noise = torch.where(torch.rand(b, 1, device=self.device) < 0.3, wandering, noise)
        noise = noise / (noise.pow(2).mean(1, keepdim=True).sqrt() + 1e-6)
        speech = x.pow(2).mean(1).sqrt() + 1e-6
        loudness = torch.where(rows, speech * 10 ** (-self.uniform(b, 3, 38) / 20), 0 * speech)
        return x + loudness[:, None] * noise

    # ---- features ------------------------------------------------------------------------------------------

    def mel(self, x, on=None):
        """Log-mel features [B, n, 80]; with `on`, 80 % of those rows get a random vocal tract."""
        emphasized = torch.cat([x[:, :1], x[:, 1:] - 0.97 * x[:, :-1]], 1)
        spectrum = torch.stft(
            emphasized, FFT, HOP, WINDOW, self.window, center=True, pad_mode="constant", return_complex=True
        )
        filters = self.filters[0]
        if on is not None:
            drawn = torch.randint(1, len(self.filters), (len(x),), device=self.device)
            filters = self.filters[torch.where(self.some(on, 0.8), drawn, torch.zeros_like(drawn))]
        return torch.log(filters @ spectrum.abs() ** 2 + 2**-24).transpose(1, 2)

    def tempo(self, mel, frames, on, speed):
        """Stretch parts of each clip differently, along time alone. Returns features, lengths, and for every new
        frame the old frame it came from."""
        rows, n, bins = mel.shape
        base = (torch.exp(self.uniform(rows, math.log(0.72), math.log(1.3))) / speed).clamp(0.75, 1.3)
        rate = base[:, None] * torch.exp(self.curve(rows, int(n / 0.62) + 8, -0.2, 0.2, 3, 9))
        rate = torch.where(self.some(on, 0.6)[:, None], rate, torch.ones_like(rate))
        source = torch.cumsum(rate, 1) - rate
        lengths = (source < frames[:, None]).sum(1)
        source = source[:, : (int(lengths.max()) + 8) // 8 * 8 + 1]
        left = source.floor().long().clamp(max=n - 1)
        right = (left + 1).clamp(max=n - 1)
        part = (source - left).clamp(0, 1)[..., None]

        def take(index):
            return mel.gather(1, index[..., None].expand(-1, -1, bins))

        return take(left) * (1 - part) + take(right) * part, lengths, source

    def features(self, mel, frames, on):
        """Random gain over frequency (about 8 dB), blurred harmonics, jitter, masks in frequency and time."""
        rows, n, bins = mel.shape

        def chosen(p):
            return self.some(on, p)[:, None, None]

        mel = torch.where(chosen(0.6), mel + self.curve(rows, bins, -1.9, 1.9, 3, 8)[:, None], mel)
        wide = F.pad(mel, (1, 1), mode="replicate")
        mel = torch.where(chosen(0.3), 0.25 * wide[..., :-2] + 0.5 * wide[..., 1:-1] + 0.25 * wide[..., 2:], mel)
        jitter = torch.randn_like(mel) * self.uniform((rows, 1, 1), 0, 0.6)
        mel = torch.where(chosen(0.35), mel + jitter, mel).clamp(min=FLOOR)
        mean = mel.mean((1, 2), keepdim=True)
        column = torch.arange(bins, device=self.device)[None]
        row = torch.arange(n, device=self.device)[None]
        for _ in range(2):
            width = self.uniform(rows, 0, 16)
            first = torch.rand(rows, device=self.device) * (bins - width)
            hit = on[:, None] & (column >= first[:, None]) & (column < (first + width)[:, None])
            mel = torch.where(hit[:, None], mean, mel)
        for number in range(5):  # one more for every two seconds
            width = self.uniform(rows, 0, 25).minimum(0.12 * frames)
            first = torch.rand(rows, device=self.device) * (frames - width).clamp(min=0)
            use = on & (frames > 200 * number)
            hit = use[:, None] & (row >= first[:, None]) & (row < (first + width)[:, None])
            mel = torch.where(hit[..., None], mean, mel)
        return mel


def phone_targets(frames, lengths, geometry, source, labels):
    """Four phone labels per 80 ms frame, -100 where unknown. `labels` holds one per 320 samples of the pool."""
    start, length, offset, speed, lead = geometry
    device = start.device
    quarter = 8 * (torch.arange(frames, device=device)[:, None] - 1) + 1 + 2 * torch.arange(4, device=device)[None]
    quarter = quarter.reshape(-1).float()  # in mel frames; a frame of 80 ms ends at its own mel frame 8j
    if source is None:
        place = quarter[None].expand(len(start), -1)
    else:
        mapped = source[:, quarter.clamp(0, source.shape[1] - 1).long()]
        place = torch.where(quarter[None] < 0, quarter[None], mapped)
    time = (place * HOP - lead[:, None]) * speed[:, None]
    sample, inside = locate(time, start, length, offset)
    value = labels[sample.long() // 320].long()
    missing = offset >= NOWHERE
    known = ((labels[(start + length // 2) // 320] >= 0) | missing).all(1)[:, None]
    outside = torch.where(known, torch.zeros_like(value), torch.full_like(value, -100))  # 0 is the pause
    value = torch.where(inside, value, outside)
    return torch.where(place * HOP < lengths[:, None], value, -100)
