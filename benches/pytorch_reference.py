#!/usr/bin/env python3
"""The streaming step of the encoder in PyTorch, for comparison with `cargo bench --bench encoder`.

    cargo bench --bench encoder -- --dump dump.safetensors
    python benches/pytorch_reference.py dump.safetensors [--threads 2] [--compile] [--cpu]

Samples in, encoder frames out, float32, inference mode, all streams of a step in one batch. Written as one would for speed:
keys and values stay projected in a cache, query, key and value come from one product, positions are projected once, the
relative shift is a strided view, attention is the fused kernel with the position scores as its bias. First it runs the
dumped audio and compares the frames, then it prints the time of a step with full caches.
`--cpu`: one thread, and only the time for which it had a processor, which holds on a busy machine too.
Needs torch and safetensors.
"""
import argparse
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

LEFT, RIGHT, HEADS, LAYERS, BINS, KERNEL = 70, 6, 4, 8, 80, 9
CHUNK = RIGHT + 1


class Step(torch.nn.Module):
    def __init__(self, w, batch):
        super().__init__()
        self.w, self.batch = w, batch
        self.width = w["encoder.pre_encode.out.bias"].numel()
        self.depth = self.width // HEADS
        self.basis = torch.zeros(512)
        self.basis[56:456] = w["preprocessor.featurizer.window"]
        self.filters = w["preprocessor.featurizer.fb"][0].T.contiguous()
        rates = torch.exp(torch.arange(0, self.width, 2) * (-torch.log(torch.tensor(10000.0)) / self.width))
        # Distances LEFT + RIGHT .. -RIGHT, so that the row of query i reads a contiguous run.
        angles = torch.arange(LEFT + RIGHT, -RIGHT - 1, -1)[:, None] * rates
        encoding = torch.stack([angles.sin(), angles.cos()], -1).reshape(len(angles), self.width)
        self.layers = []
        for i in range(LAYERS):
            g = lambda name, i=i: w[f"encoder.layers.{i}.{name}"]
            qkv = [torch.cat([g(f"self_attn.linear_{x}.{kind}") for x in "qkv"]) for kind in ("weight", "bias")]
            positions = (encoding @ g("self_attn.linear_pos.weight").T).view(-1, HEADS, self.depth).permute(1, 2, 0).contiguous()
            self.layers.append((g, qkv, positions))
        self.reset()

    def reset(self):
        b = self.batch
        self.tail = torch.zeros(b, 200)               # emphasized samples of the next window
        self.last = torch.zeros(b, 1)                 # last raw sample
        self.mel = torch.zeros(b, 0, BINS)            # nine frames of history
        self.keys = [torch.zeros(b, HEADS, LEFT, self.depth) for _ in range(LAYERS)]
        self.values = [torch.zeros(b, HEADS, LEFT, self.depth) for _ in range(LAYERS)]
        self.convs = [torch.zeros(b, self.width, KERNEL - 1) for _ in range(LAYERS)]
        self.seen = 0

    def log_mel(self, samples):
        emphasized = samples - 0.97 * torch.cat([self.last, samples[:, :-1]], 1)
        self.last = samples[:, -1:]
        live = torch.cat([self.tail, emphasized], 1)
        frames = (live.shape[1] - 400) // 160 + 1
        windows = live.unfold(1, 400, 160)[:, :frames] * self.basis[56:456]
        self.tail = live[:, frames * 160:]
        spectrum = torch.view_as_real(torch.fft.rfft(windows, 512))
        return torch.log(spectrum.square().sum(-1) @ self.filters + 2.0 ** -24)

    def subsample(self, mel):
        w, p = self.w, "encoder.pre_encode.conv."
        history = self.mel.shape[1]
        full = torch.cat([self.mel, mel], 1)
        self.mel = full[:, -9:]
        x = F.pad(full.unsqueeze(1), (2, 1, 2, 1))
        x = F.relu(F.conv2d(x, w[p + "0.weight"], w[p + "0.bias"], stride=2))
        for a, b in ((2, 3), (5, 6)):
            x = F.conv2d(F.pad(x, (2, 1, 2, 1)), w[f"{p}{a}.weight"], w[f"{p}{a}.bias"], stride=2, groups=x.shape[1])
            x = F.relu(F.conv2d(x, w[f"{p}{b}.weight"], w[f"{p}{b}.bias"]))
        x = x.transpose(1, 2).flatten(2)[:, 2 if history else 0:]
        return F.linear(x, w["encoder.pre_encode.out.weight"], w["encoder.pre_encode.out.bias"])

    def forward(self, samples):
        x = self.subsample(self.log_mel(samples))
        b, n, d = x.shape
        held = min(LEFT, self.seen)
        self.seen += n
        for index, (g, qkv, positions) in enumerate(self.layers):
            norm = lambda v, name: F.layer_norm(v, (d,), g(name + ".weight"), g(name + ".bias"), 1e-5)
            lin = lambda v, name: F.linear(v, g(name + ".weight"), g(name + ".bias"))
            ff = lambda v, k: lin(F.silu(lin(norm(v, f"norm_feed_forward{k}"), f"feed_forward{k}.linear1")), f"feed_forward{k}.linear2")
            x = torch.add(x, ff(x, 1), alpha=0.5)
            q, k, v = F.linear(norm(x, "norm_self_att"), *qkv).view(b, n, 3, HEADS, self.depth).permute(2, 0, 3, 1, 4)
            keys = self.keys[index] = torch.cat([self.keys[index], k], 2)[:, :, -LEFT - n:]
            values = self.values[index] = torch.cat([self.values[index], v], 2)[:, :, -LEFT - n:]
            self.keys[index], self.values[index] = keys[:, :, -LEFT:], values[:, :, -LEFT:]
            scores = (q + g("self_attn.pos_bias_v")[:, None]) @ positions
            # Row i starts at distance LEFT + i.
            wide = scores.shape[-1]
            bias = torch.as_strided(scores, (b, HEADS, n, LEFT + n), (HEADS * n * wide, n * wide, wide - 1, 1), RIGHT)
            bias = bias / self.depth ** 0.5
            if held < LEFT:
                bias = bias.clone()
                bias[..., : LEFT - held] = float("-inf")
            y = F.scaled_dot_product_attention(q + g("self_attn.pos_bias_u")[:, None], keys, values, attn_mask=bias)
            x = x + lin(y.transpose(1, 2).reshape(b, n, d), "self_attn.linear_out")
            y = F.glu(lin(norm(x, "norm_conv"), "conv.pointwise_conv1"), -1).transpose(1, 2)
            y = torch.cat([self.convs[index], y], 2)
            self.convs[index] = y[:, :, -(KERNEL - 1):]
            y = F.conv1d(y, g("conv.depthwise_conv.weight"), g("conv.depthwise_conv.bias"), groups=d).transpose(1, 2)
            x = x + lin(F.silu(norm(y, "conv.batch_norm")), "conv.pointwise_conv2")
            x = norm(torch.add(x, ff(x, 2), alpha=0.5), "norm_out")
        return x


def main():
    args = argparse.ArgumentParser()
    args.add_argument("dump")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--compile", action="store_true")
    args.add_argument("--cpu", action="store_true")
    args = args.parse_args()
    torch.set_num_threads(1 if args.cpu else args.threads)
    clock = time.thread_time if args.cpu else time.perf_counter
    w = load_file(args.dump)
    samples, wanted = w.pop("samples"), w.pop("frames")
    first = 1280 * RIGHT + 200
    with torch.inference_mode():
        step = Step(w, 1)
        got = [step(samples[None, :first])] + [step(part[None]) for part in samples[first:].split(1280 * CHUNK)]
        print(f"largest difference to the dumped frames: {(torch.cat(got, 1)[0] - wanted).abs().max():.1e}")
        for streams in (1, 8, 32):
            step = Step(w, streams)
            run = torch.compile(step) if args.compile else step
            chunk = samples[first:first + 1280 * CHUNK].repeat(streams, 1)
            run(samples[:first].repeat(streams, 1))
            for _ in range(15):
                run(chunk)
            times = []
            for _ in range(min(400, max(60, 3000 // streams))):
                began = clock()
                run(chunk)
                times.append(clock() - began)
            times.sort()
            median, least = times[len(times) // 2], times[0]
            print(f"D {step.width:4}  streams {streams:3}  median {median * 1e3:7.2f} ms  least {least * 1e3:7.2f} ms  "
                  f"steps/s {1 / median:7.1f} (least {1 / least:7.1f})")


if __name__ == "__main__":
    main()
