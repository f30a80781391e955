# SPDX-License-Identifier: Apache-2.0
"""FastConformer with a CTC head over word pieces and two training-only heads.

The layers are those of NeMo's ConformerEncoder with these settings: dw_striding subsampling by 8 (causal), relative
positions, chunked-limited attention, causal depthwise convolution, layer norm. `to_nemo.py` renames the weights.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

CONTEXTS = {1: 70, 3: 68, 6: 70, 13: 70}  # frames of look-ahead: frames of look-back, in chunks of look-ahead + 1
CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"
PHONES = (
    "pau aa ae ah ao aw ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh"
).split()
PHONE_SLOTS = 48  # room for names that a synthesizer adds


@dataclass
class Config:
    dim: int = 256
    layers: int = 8
    heads: int = 4
    channels: int = 64
    kernel: int = 9
    pieces: int = 512
    dropout: float = 0.1


class Block(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, layer norm."""

    def __init__(self, c: Config):
        super().__init__()
        self.heads = c.heads
        self.kernel = c.kernel
        head = c.dim // c.heads

        def feed_forward():
            return nn.Sequential(
                nn.LayerNorm(c.dim), nn.Linear(c.dim, 4 * c.dim), nn.SiLU(), nn.Dropout(c.dropout),
                nn.Linear(4 * c.dim, c.dim), nn.Dropout(c.dropout),
            )

        self.f1, self.f2 = feed_forward(), feed_forward()
        self.ln = nn.LayerNorm(c.dim)
        self.qkv = nn.Linear(c.dim, 3 * c.dim)
        self.p = nn.Linear(c.dim, c.dim, bias=False)  # relative positions
        self.o = nn.Linear(c.dim, c.dim)
        self.u = nn.Parameter(torch.zeros(c.heads, 1, head))
        self.v = nn.Parameter(torch.zeros(c.heads, 1, head))
        self.lnc = nn.LayerNorm(c.dim)
        self.p1 = nn.Linear(c.dim, 2 * c.dim)
        self.dw = nn.Conv1d(c.dim, c.dim, c.kernel, groups=c.dim)
        self.lnd = nn.LayerNorm(c.dim)
        self.p2 = nn.Linear(c.dim, c.dim)
        self.lo = nn.LayerNorm(c.dim)
        self.d = nn.Dropout(c.dropout)

    def attention(self, x, positions, mask):
        batch, frames, dim = x.shape
        shape = (batch, frames, 3, self.heads, dim // self.heads)
        q, k, v = self.qkv(self.ln(x)).view(shape).permute(2, 0, 3, 1, 4)
        p = self.p(positions).view(-1, self.heads, dim // self.heads).transpose(0, 1)
        scores = (q + self.u) @ k.transpose(-1, -2) + relative_shift((q + self.v) @ p.transpose(-1, -2))
        weights = (scores.float() / math.sqrt(dim // self.heads) + mask).softmax(-1).to(v.dtype)
        return self.o((weights @ v).transpose(1, 2).reshape(batch, frames, dim))

    def convolution(self, x):
        h = F.glu(self.p1(self.lnc(x)), -1).transpose(1, 2)
        h = self.dw(F.pad(h, (self.kernel - 1, 0))).transpose(1, 2)
        return self.p2(F.silu(self.lnd(h)))

    def forward(self, x, positions, mask):
        x = x + 0.5 * self.f1(x)
        x = x + self.d(self.attention(x, positions, mask))
        x = x + self.d(self.convolution(x))
        return self.lo(x + 0.5 * self.f2(x))


def relative_shift(x):
    """[.., T, 2T-1] scores by distance T-1 .. -(T-1) to [.., T, T] scores by key."""
    batch, heads, frames, width = x.shape
    x = F.pad(x, (1, 0)).view(batch, heads, width + 1, frames)[:, :, 1:]
    return x.reshape(batch, heads, frames, width)[..., :frames]


class Model(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        n = c.channels
        self.c = nn.ModuleList([
            nn.Conv2d(1, n, 3, 2), nn.Conv2d(n, n, 3, 2, groups=n), nn.Conv2d(n, n, 1),
            nn.Conv2d(n, n, 3, 2, groups=n), nn.Conv2d(n, n, 1),
        ])
        self.out = nn.Linear(n * 11, c.dim)  # 80 mel bins become 11
        self.b = nn.ModuleList([Block(c) for _ in range(c.layers)])
        self.h = nn.Linear(c.dim, c.pieces + 1)  # word pieces; the blank is last
        self.h2 = nn.Linear(c.dim, 3 * (len(CHARACTERS) + 1))  # three characters per frame, training only
        self.h3 = nn.Linear(c.dim, 4 * PHONE_SLOTS)  # four phones per frame, training only
        self.d = nn.Dropout(c.dropout)
        with torch.no_grad():  # brings log-mel features (mean about -8, deviation about 4) near zero mean, unit range
            first = self.c[0]
            first.bias += 2 * first.weight.sum((1, 2, 3))
            first.weight /= 4

    def subsample(self, mel):
        def pad(x):
            return F.pad(x, (2, 1, 2, 1))

        x = F.relu(self.c[0](pad(mel[:, None])))
        x = F.relu(self.c[2](self.c[1](pad(x))))
        x = F.relu(self.c[4](self.c[3](pad(x))))
        batch, channels, frames, bins = x.shape
        return self.d(self.out(x.transpose(1, 2).reshape(batch, frames, channels * bins)))

    def positions(self, frames, device):
        distance = torch.arange(frames - 1, -frames, -1, device=device).float()[:, None]
        dim = self.config.dim
        rate = torch.exp(-torch.arange(0, dim, 2, device=device) * math.log(1e4) / dim)
        return torch.stack([torch.sin(distance * rate), torch.cos(distance * rate)], -1).view(-1, dim)

    def forward(self, mel, look_ahead):
        """mel [B, n, 80] -> log probabilities of pieces; in training also of characters, and the phone scores."""
        x = self.subsample(mel)
        batch, frames, _ = x.shape
        chunk = torch.arange(frames, device=x.device) // (look_ahead + 1)
        behind = chunk[:, None] - chunk[None]
        seen = (behind >= 0) & (behind <= CONTEXTS[look_ahead] // (look_ahead + 1))
        mask = torch.where(seen, 0.0, -1e4)
        positions = self.positions(frames, x.device)
        for number, block in enumerate(self.b):
            x = block(x, positions, mask)
            if number == self.config.layers // 2 - 1:
                middle = x
            if number == self.config.layers - 3:
                late = x
        pieces = self.h(x).float().log_softmax(-1)
        if not self.training:
            return pieces
        characters = self.h2(late).float().view(batch, 3 * frames, len(CHARACTERS) + 1).log_softmax(-1)
        return pieces, characters, self.h3(middle).float().view(batch, 4 * frames, PHONE_SLOTS)
