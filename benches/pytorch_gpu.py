#!/usr/bin/env python3
"""The streaming step in PyTorch on a GPU, for comparison with `cargo bench --bench gpu`; and what the card itself can do.

    cargo bench --bench gpu -- --write 114m /tmp/models/114m
    python benches/pytorch_gpu.py --ceilings --model /tmp/models/114m [--batches 1,64,1024] [--rights 13,1] [--json F]

Samples in; encoder frames, and the CTC head's best token of each (for a model without that head: the encoder's part of the joint)
out. There is no transducer search here, so where Hark's step has one, Hark does more. Weights and activations are f16, the front end
f32, inference mode, all streams of a step in one batch. Written as one would for speed: query, key and value from one product,
positions projected once, the relative shift a strided view, attention the fused kernel with the position scores as its bias, keys
and values in caches that are moved in place, every cache full. A stream cannot come, go or sit a step out, which a server has to
allow.

Four ways: eager; eager, replayed as a CUDA graph; blocks through torch.compile; and that as a CUDA graph. Times are those between
CUDA events around a step. Before that, the frames of a short run from the start are compared with what Hark's processor engine
made of the same (`check.safetensors` in the model's folder).

`--ceilings` measures a copy within the device's memory (bytes read and written) and a product of f16 matrices.
Needs torch and safetensors, Python 3.11.
"""
import argparse
import json
import math
import sys
import time
import tomllib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

LEFT = 70
HISTORY = 9  # mel frames that the subsampling sees again


def block(x, w, keys, values, tail, positions, mask, heads, left):
    """One conformer block; moves its caches on. `left` earlier frames are seen."""
    b, n, d = x.shape
    depth = d // heads

    def norm(v, name):
        return F.layer_norm(v, (d,), w[name + ".weight"], w[name + ".bias"], 1e-5)

    def lin(v, name):
        return F.linear(v, w[name + ".weight"], w.get(name + ".bias"))

    def feed(v, k):
        return lin(F.silu(lin(norm(v, f"norm_feed_forward{k}"), f"feed_forward{k}.linear1")), f"feed_forward{k}.linear2")

    x = torch.add(x, feed(x, 1), alpha=0.5)
    q, k, v = lin(norm(x, "norm_self_att"), "qkv").view(b, n, 3, heads, depth).permute(2, 0, 3, 1, 4)
    all_keys, all_values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
    keys.copy_(all_keys[:, :, n:])
    values.copy_(all_values[:, :, n:])
    scores = (q + w["self_attn.pos_bias_v"][:, None]) @ positions
    # Row i starts at distance left + i.
    wide = scores.shape[-1]
    bias = torch.as_strided(scores, (b, heads, n, left + n), (heads * n * wide, n * wide, wide - 1, 1), n - 1)
    bias = bias * (1 / math.sqrt(depth))
    if mask is not None:
        bias = bias + mask
    y = F.scaled_dot_product_attention(q + w["self_attn.pos_bias_u"][:, None], all_keys, all_values, attn_mask=bias)
    x = x + lin(y.transpose(1, 2).reshape(b, n, d), "self_attn.linear_out")
    y = F.glu(lin(norm(x, "norm_conv"), "conv.pointwise_conv1"), -1).transpose(1, 2)
    y = torch.cat([tail, y], 2)
    tail.copy_(y[:, :, n:])
    y = F.conv1d(y, w["conv.depthwise_conv.weight"], w.get("conv.depthwise_conv.bias"), groups=d).transpose(1, 2)
    x = x + lin(F.silu(norm(y, "conv.batch_norm")), "conv.pointwise_conv2")
    return norm(torch.add(x, feed(x, 2), alpha=0.5), "norm_out")


class Step:
    """Streams of one context, all in step."""

    def __init__(self, arch, weights, batch, right, device, dtype, compiled=False):
        enc = arch["encoder"]
        self.n, self.heads, self.width, kernel = right + 1, enc["heads"], enc["width"], enc["conv_kernel"]
        self.left = LEFT // self.n * self.n
        self.dtype, self.block = dtype, torch.compile(block, dynamic=False) if compiled else block
        bins, depth = arch["frontend"]["mel_bins"], self.width // self.heads
        front = lambda name: weights["preprocessor.featurizer." + name].float().to(device)
        self.window, self.filters = front("window"), front("fb")[0].T.contiguous()
        self.w = {k: v.to(device, dtype) for k, v in weights.items() if not k.startswith(("preprocessor.", "encoder.layers."))}
        rates = torch.exp(torch.arange(0, self.width, 2) * (-math.log(10000.0) / self.width))
        # Distances from left + right down to -right, so that the row of a query reads a contiguous run.
        angles = torch.arange(self.left + right, -self.n, -1)[:, None] * rates
        encoding = torch.stack([angles.sin(), angles.cos()], -1).reshape(len(angles), self.width)
        self.layers, zeros = [], lambda *shape: torch.zeros(shape, device=device, dtype=dtype)
        for i in range(enc["layers"]):
            prefix = f"encoder.layers.{i}."
            w = {k[len(prefix):]: v.to(device, dtype) for k, v in weights.items() if k.startswith(prefix)}
            for kind in ("weight", "bias"):
                parts = [w.pop(f"self_attn.linear_{x}.{kind}", None) for x in "qkv"]
                if parts[0] is not None:
                    w["qkv." + kind] = torch.cat(parts)
            for name in ("pointwise_conv1", "pointwise_conv2"):
                w[f"conv.{name}.weight"] = w[f"conv.{name}.weight"].squeeze(-1)
            projected = encoding @ weights[prefix + "self_attn.linear_pos.weight"].float().T
            w.pop("self_attn.linear_pos.weight")
            positions = projected.view(-1, self.heads, depth).permute(1, 2, 0).contiguous().to(device, dtype)
            caches = [zeros(batch, self.heads, self.left, depth), zeros(batch, self.heads, self.left, depth), zeros(batch, self.width, kernel - 1)]
            self.layers.append((w, *caches, positions))
        plain = lambda *shape: torch.zeros(shape, device=device)
        self.last, self.tail, self.mel = plain(batch, 1), plain(batch, 240), zeros(batch, HISTORY, bins)
        self.mask, self.seen = None, 0

    def subsample(self, mel, skip):
        w, p = self.w, "encoder.pre_encode.conv."
        x = F.pad(mel.unsqueeze(1), (2, 1, 2, 1))
        x = F.relu(F.conv2d(x, w[p + "0.weight"], w[p + "0.bias"], stride=2))
        for a, b in ((2, 3), (5, 6)):
            x = F.conv2d(F.pad(x, (2, 1, 2, 1)), w[f"{p}{a}.weight"], w[f"{p}{a}.bias"], stride=2, groups=x.shape[1])
            x = F.relu(F.conv2d(x, w[f"{p}{b}.weight"], w[f"{p}{b}.bias"]))
        x = x.transpose(1, 2).flatten(2)[:, skip:]
        return F.linear(x, w["encoder.pre_encode.out.weight"], w["encoder.pre_encode.out.bias"])

    def frames(self, samples, first=False):
        """Encoder frames of the next chunk. `first` only for contexts whose first chunk has nine mel frames or more."""
        emphasized = samples - 0.97 * torch.cat([self.last, samples[:, :-1]], 1)
        self.last.copy_(samples[:, -1:])
        live = torch.cat([self.tail[:, :200] * 0 if first else self.tail, emphasized], 1)
        count = (live.shape[1] - 400) // 160 + 1
        windows = live.unfold(1, 400, 160)[:, :count] * self.window
        self.tail.copy_(live[:, count * 160:])
        spectrum = torch.view_as_real(torch.fft.rfft(windows, 512))
        mel = torch.log(spectrum.square().sum(-1) @ self.filters + 2.0 ** -24).to(self.dtype)
        full = mel if first else torch.cat([self.mel, mel], 1)
        self.mel.copy_(full[:, -HISTORY:])
        x = self.subsample(full, 0 if first else 2)
        for w, keys, values, tail, positions in self.layers:
            x = self.block(x, w, keys, values, tail, positions, self.mask, self.heads, self.left)
        return x

    def head(self, x):
        for name in ("ctc_decoder", "decoder"):
            weight = self.w.get(name + ".decoder_layers.0.weight")
            if weight is not None:
                scores = F.linear(x, weight.squeeze(-1), self.w[name + ".decoder_layers.0.bias"]).float()
                return torch.log_softmax(scores, -1).max(-1)
        return F.linear(x, self.w["joint.enc.weight"], self.w["joint.enc.bias"]).float()

    def __call__(self, samples):
        return self.head(self.frames(samples))


def check(arch, weights, folder, device, dtype):
    """The largest and the mean difference to the frames that Hark's processor engine gave, which are of order 1."""
    held = load_file(folder / "check.safetensors")
    samples, wanted, right = held["samples"].to(device), held["frames"], 1
    step = Step(arch, weights, 1, right, device, dtype)
    first = 1280 * right + 200
    got = []
    for number, part in enumerate([samples[:first], *samples[first:].split(1280 * (right + 1))]):
        # Places of the cache that nothing was put into yet.
        step.mask = torch.zeros(step.left + step.n, device=device, dtype=dtype)
        step.mask[: step.left - min(step.left, number * step.n)] = float("-inf")
        got.append(step.frames(part[None], number == 0)[0].float().cpu())
    off = (torch.cat(got) - wanted).abs()
    return {"frames": len(wanted), "largest": off.max().item(), "mean": off.mean().item()}


class Timer:
    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def times(self, run, count):
        """Milliseconds of each of `count` runs, in order."""
        if not self.cuda:
            times = []
            for _ in range(count):
                began = time.perf_counter()
                run()
                times.append((time.perf_counter() - began) * 1e3)
            return sorted(times)
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
        for start, end in events:
            start.record()
            run()
            end.record()
        torch.cuda.synchronize()
        return sorted(start.elapsed_time(end) for start, end in events)


def ceilings(device, timer):
    """Bytes a second of a copy and operations a second of a product, the better of a few sizes."""
    big = device.type == "cuda"
    copy = product = 0.0
    for megabytes in ((512, 2048) if big else (16,)):
        a = torch.randn(megabytes << 18, device=device)
        b = torch.empty_like(a)
        timer.times(lambda: b.copy_(a), 3)
        took = timer.times(lambda: b.copy_(a), 15)[7]
        copy = max(copy, 2 * a.numel() * 4 / took / 1e6)
        del a, b
    for size in ((4096, 8192) if big else (256,)):
        a, b = (torch.randn(size, size, device=device).to(torch.float16 if big else torch.float32) for _ in range(2))
        c = torch.empty_like(a)
        timer.times(lambda: torch.mm(a, b, out=c), 3)
        took = timer.times(lambda: torch.mm(a, b, out=c), 15)[7]
        product = max(product, 2 * size ** 3 / took / 1e9)
    return {"copy_gbs": copy, "f16_tflops": product}


def measure(make, samples, way, timer, quick):
    """Milliseconds of steps, sorted."""
    step = make("compiled" in way)
    for _ in range(3):
        step(samples)
    run = lambda: step(samples)
    if "graph" in way:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        run = graph.replay
    once = timer.times(run, 3)[1]
    return timer.times(run, 3 if quick else int(min(200, max(15, 300 / once))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, action="append", default=[], help="folder of a model with check.safetensors; may be given again")
    parser.add_argument("--batches", default="1,64,1024", help="streams of a step; at most 8192 frames run together")
    parser.add_argument("--rights", default="13,1", help="look-aheads of the contexts")
    parser.add_argument("--ways", default="eager,eager graph,compiled,compiled graph")
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--limit", type=float, default=600, help="seconds after which nothing more is begun")
    parser.add_argument("--device", default="cuda", help="cpu: to see that it works, f32")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    began = time.monotonic()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch_gpu: torch sees no CUDA device")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.cache_size_limit = 64
    timer, failed = Timer(device), False
    report = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "models": {}}

    def save():
        if args.json:
            args.json.write_text(json.dumps(report, indent=1))

    with torch.inference_mode():
        if args.ceilings:
            report["ceilings"] = ceilings(device, timer)
            print(f"copy {report['ceilings']['copy_gbs']:.0f} GB/s read and written, f16 product {report['ceilings']['f16_tflops']:.1f} TFLOP/s")
            save()
        for folder in args.model:
            arch = tomllib.loads((folder / "model.toml").read_text())["arch"]
            weights = load_file(folder / "weights.safetensors")
            entry = report["models"][folder.name] = {"steps": [], "left_out": []}
            entry["check"] = check(arch, weights, folder, device, dtype)
            print(f"{folder.name}: differs from Hark's frames by {entry['check']['largest']:.1e} at most, {entry['check']['mean']:.1e} on average")
            save()
            for right in map(int, args.rights.split(",")):
                for batch in sorted({min(int(batch), 8192 // (right + 1)) for batch in args.batches.split(",")}, reverse=True):
                    for way in args.ways.split(","):
                        name = f"[70, {right}] batch {batch} {way}"
                        if time.monotonic() - began > args.limit:
                            entry["left_out"].append(name)
                            continue
                        try:
                            samples = 0.1 * torch.randn(batch, 1280 * (right + 1), device=device)
                            make = lambda compiled: Step(arch, weights, batch, right, device, dtype, compiled)
                            times = measure(make, samples, way, timer, args.quick)
                        except Exception as error:  # one way failing leaves the others
                            failed = True
                            entry["steps"].append({"right": right, "batch": batch, "way": way, "error": str(error)[:500]})
                            print(f"{folder.name} {name}: {error}", file=sys.stderr)
                        else:
                            median, late = times[len(times) // 2], times[len(times) * 95 // 100]
                            entry["steps"].append({"right": right, "batch": batch, "way": way, "median_ms": median, "p95_ms": late})
                            print(f"{folder.name} {name}: {median:.3f} ms (95 in 100 within {late:.3f})", flush=True)
                        if device.type == "cuda":
                            torch.cuda.empty_cache()
                        save()
    save()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
