# SPDX-License-Identifier: Apache-2.0
"""Train on a CPU or a GPU, also while synth.py still makes speech.

    python train.py --shards SHARDS --human HUMAN --phones human-phones.json --text TEXT --out RUN --minutes 1440
    python train.py ... --out RUN --resume          goes on from RUN/state.pt, optimizer and schedule included
    python train.py ... --init OTHER/model.pt       starts from other weights with a fresh optimizer

RUN gets state.pt (everything needed to go on), model.pt (averaged weights in half precision, with the
configuration), bpe.model and bpe.vocab. SHARDS/dev.npy and dev.json, when there, are only listened to, never learned.
"""
import argparse
import math
import os
import random
import shutil
import time
import traceback
from dataclasses import asdict

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F

from augment import Augment, phone_targets
from data import RATE, Pool, batches
from model import CHARACTERS, CONTEXTS, Config, Model
from text import Sentences, read_lines


def word_errors(hypothesis, reference):
    row = list(range(len(reference) + 1))
    for i, word in enumerate(hypothesis, 1):
        previous, row = row, [i]
        for j, expected in enumerate(reference, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word != expected)))
    return row[-1]


def greedy(log_probabilities, pieces):
    best = log_probabilities.argmax(-1).tolist()
    blank = pieces.vocab_size()
    return pieces.decode([c for i, c in enumerate(best) if c != blank and (i == 0 or best[i - 1] != c)]).split()


def save(value, path):
    torch.save(value, path + ".part")
    os.replace(path + ".part", path)


class Trainer:
    def __init__(self, args):
        self.args, self.device = args, args.device
        os.makedirs(args.out, exist_ok=True)
        random.seed(args.seed), np.random.seed(args.seed), torch.manual_seed(args.seed)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.sentences = Sentences(args.text, args.seed, args.exclude)
        self.pieces = self.word_pieces()
        self.blank = self.pieces.vocab_size()
        self.encoded = {}
        self.load_clips()
        config = Config(args.dim, args.layers, args.heads, args.channels, 9, self.blank, args.dropout)
        self.model = Model(config).to(self.device)
        self.augment = Augment(self.device)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [dict(params=matrices, weight_decay=5e-3), dict(params=vectors, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
        self.step, self.progress, self.recent_loss, self.seconds, self.heard = 0, 0, 9.0, 0.0, 0.0
        self.batch_seconds = args.batch_seconds
        if args.init:
            weights = torch.load(args.init, map_location="cpu")["weights"]
            self.model.load_state_dict({k: v.float() for k, v in weights.items()})
            self.progress = args.ramp[1] * 2
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if args.resume:
            self.load_state()
        size = sum(p.numel() for p in self.model.parameters()) / 1e6
        print(f"{size:.1f} M parameters, {len(self.items)} clips, {self.pool.used / RATE / 3600:.1f} h", flush=True)

    # ---- data ----------------------------------------------------------------------------------------------

    def word_pieces(self):
        path = os.path.join(self.args.out, "bpe")
        if not os.path.exists(path + ".model"):
            if self.args.bpe:
                for end in (".model", ".vocab"):
                    shutil.copy(self.args.bpe + end, path + end)
            else:
                lines = path + ".txt"
                with open(lines, "w") as f:
                    f.write("\n".join(self.sentences.draw() for _ in range(self.args.bpe_sentences)))
                sentencepiece.SentencePieceTrainer.train(
                    input=lines, model_prefix=path, vocab_size=self.args.pieces, model_type="bpe",
                    character_coverage=1.0, bos_id=-1, eos_id=-1, minloglevel=2,
                )
        return sentencepiece.SentencePieceProcessor(model_file=path + ".model")

    def load_clips(self):
        args = self.args
        excluded = read_lines(os.path.join(os.path.dirname(os.path.abspath(__file__)), "held-out-sentences.txt"))
        if args.exclude:
            excluded |= read_lines(args.exclude)
        self.pool = Pool(args.pool_hours, self.device, excluded)
        self.human, self.human_dev = [], []
        if args.human:
            everything = self.pool.human(args.human, args.phones, args.human_limit)
            apart = min(60, len(everything) // 4)
            self.human, self.human_dev = everything[:-apart], everything[-apart:]
        self.dev = []
        if os.path.exists(os.path.join(args.shards, "dev.json")):
            self.pool.excluded = set()
            self.dev = self.pool.shard(os.path.join(args.shards, "dev"))[:100]
            self.pool.excluded = excluded
        self.items = self.human * args.human_repeat
        while len(self.pool.seen) < args.first_shards:
            self.items += self.pool.new_shards(args.shards)
            time.sleep(1)

    def stream(self):
        while True:
            self.items += self.pool.new_shards(self.args.shards)
            yield from batches(self.items, self.human, self.longest(), self.batch_seconds)[:250]

    def targets(self, text):
        if text not in self.encoded:
            self.encoded[text] = (self.pieces.encode(text), [CHARACTERS.index(c) for c in text])
        return self.encoded[text]

    # ---- schedule ------------------------------------------------------------------------------------------

    def longest(self):
        """Clips of 3.5 seconds at first, one second more every 60 updates later."""
        return (3.5 + max(0.0, self.progress - self.args.ramp[0] / 2) / 60) * RATE

    def augmented_share(self):
        start, full = self.args.ramp
        return min(0.9, max(0.0, (self.progress - start) / (full - start)))

    def learning_rate(self):
        done = min(1.0, self.seconds / (self.args.minutes * 60))
        warm = min(1.0, (self.step + 1) / 300)
        hold = self.args.hold
        fall = 1.0 if done < hold else 0.5 * (1 + math.cos(math.pi * (done - hold) / (1 - hold)))
        return self.args.lr * warm * (fall + 0.003)

    # ---- one update ----------------------------------------------------------------------------------------

    def update(self, batch):
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        share, augment, source = self.augmented_share(), self.augment, None
        with torch.no_grad():
            x, lengths, on, geometry = augment.gather(batch, self.pool.audio, share)
            if share > 0:
                x = augment.waveform(x, on)
            mel, frames = augment.mel(x, on if share > 0 else None), (lengths // 160).float()
            if share > 0:
                mel, frames, source = augment.tempo(mel, frames, on, geometry[3])
                mel = augment.features(mel, frames.float(), on)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            pieces, characters, phones = self.model(mel, random.choice(list(CONTEXTS)))
        width = pieces.shape[1]
        out_lengths = (frames.long() // 8 + 1).clamp(max=width)
        targets = [self.targets(clip[2]) for clip in batch]

        def ctc(log_probabilities, which, lengths, blank):
            flat = torch.tensor([c for t in targets for c in t[which]], device=self.device)
            sizes = torch.tensor([len(t[which]) for t in targets], device=self.device)
            return F.ctc_loss(
                log_probabilities.transpose(0, 1), flat, lengths, sizes, blank=blank, zero_infinity=True
            )

        loss = ctc(pieces, 0, out_lengths, self.blank)
        by_character = ctc(characters, 1, out_lengths * 3, len(CHARACTERS))
        wanted = phone_targets(width, lengths, geometry, source, self.pool.labels)
        by_phone = loss.new_zeros(())
        if bool((wanted >= 0).any()):
            by_phone = F.cross_entropy(phones.transpose(1, 2), wanted, ignore_index=-100)
        total = loss + 0.3 * by_character + (1.0 if self.progress < 2000 else 0.3) * by_phone
        self.optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        self.heard += sum(clip[1] for clip in batch) / RATE
        if self.step % 10 == 0:
            self.follow(float(loss.detach()))
        # longer clips and augmentation wait until the network has found the words
        if self.recent_loss < self.args.gate or self.step > 2500 or self.progress < self.args.ramp[0] / 2:
            self.progress += 1
        return [float(v.detach()) for v in (loss, by_character, by_phone)] if self.step % 10 == 0 else None

    @torch.no_grad()
    def follow(self, loss):
        """Running average of the weights and of the loss, every tenth update."""
        self.recent_loss = 0.8 * self.recent_loss + 0.2 * loss
        keep = min(0.98, self.step / (self.step + 100)) if self.step > 200 else 0.0
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    # ---- listening -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def word_error(self, items, look_ahead=6, telephone=False):
        self.model.eval()
        wrong = words = 0
        for start, samples, text, _ in items:
            x = F.pad(self.pool.audio[start : start + samples].float()[None] / 32768, (0, -samples % 1280))
            if telephone:
                low, high = (torch.full((1,), v, device=self.device) for v in (-1e4, 3700.0))
                x = self.augment.telephone(x, low, high, 127.0)
            found = greedy(self.model(self.augment.mel(x), look_ahead)[0], self.pieces)
            wrong += word_errors(found, text.split())
            words += len(text.split())
        self.model.train()
        return round(100 * wrong / max(1, words), 1)

    def listen(self):
        current = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        figures = dict(synthetic=self.word_error(self.dev), telephone=self.word_error(self.dev, telephone=True))
        figures["human"] = self.word_error(self.human_dev)
        self.model.load_state_dict(current)
        print("  word error %", figures, flush=True)

    # ---- keeping -------------------------------------------------------------------------------------------

    def save_state(self):
        names = ("step", "progress", "recent_loss", "seconds", "heard", "batch_seconds")
        state = dict(model=self.model.state_dict(), average=self.average, optimizer=self.optimizer.state_dict())
        save(dict(state, **{n: getattr(self, n) for n in names}), os.path.join(self.args.out, "state.pt"))
        weights = {k: v.half().cpu() for k, v in self.average.items()}
        save(dict(config=asdict(self.model.config), weights=weights), os.path.join(self.args.out, "model.pt"))

    def load_state(self):
        state = torch.load(os.path.join(self.args.out, "state.pt"), map_location=self.device)
        self.model.load_state_dict(state.pop("model"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        for name, value in state.items():
            setattr(self, name, value)

    def run(self):
        args, losses, errors = self.args, [], 0
        stream, mark = self.stream(), time.time()
        next_save, next_listen = self.seconds + args.save_every, self.seconds + args.listen_every
        while self.seconds < args.minutes * 60 and (not args.updates or self.step < args.updates):
            try:
                found = self.update(next(stream))
            except torch.OutOfMemoryError:
                errors, self.batch_seconds = errors + 1, self.batch_seconds * 0.8
                print(f"out of memory: batches of {self.batch_seconds:.0f} s from here on", flush=True)
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                stream = self.stream()
                found = None
                if errors > 20:
                    raise
            except Exception:  # one bad update must not end a run of days
                errors, found = errors + 1, None
                traceback.print_exc()
                self.optimizer.zero_grad(set_to_none=True)
                stream = self.stream()
                if errors > 20:
                    raise
            self.seconds, mark = self.seconds + time.time() - mark, time.time()
            if found:
                losses.append(found)
            if losses and self.step % args.log_every == 0:
                means = " ".join(f"{v:.3f}" for v in np.mean(losses, 0))
                losses = []
                speed = self.heard / self.seconds
                print(f"{self.step} {self.seconds:.0f} s, loss (pieces, characters, phones) {means}, rate "
                      f"{self.learning_rate():.1e}, augmented {self.augmented_share():.2f}, clips {len(self.items)}, "
                      f"heard {self.heard / 3600:.1f} h, {speed:.0f} x", flush=True)
            if self.seconds > next_save:
                next_save = self.seconds + args.save_every
                self.save_state()
            if self.seconds > next_listen:
                next_listen = self.seconds + args.listen_every
                self.listen()
        self.save_state()
        self.listen()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shards", required=True, help="folder of OUT.npy and OUT.json from synth.py")
    add("--text", required=True, help="folder of sentences, see text.py")
    add("--out", required=True)
    add("--minutes", type=float, required=True, help="the whole schedule, resumed parts included")
    add("--updates", type=int, help="stop after so many updates")
    add("--human", help="folder of human clips with manifest.tsv")
    add("--phones", help="human-phones.json of align.py")
    add("--exclude", help="file of sentences never to learn")
    add("--resume", action="store_true")
    add("--init", help="model.pt to start from")
    add("--bpe", help="prefix of word pieces to use instead of making new ones; needed with --init")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--dim", type=int, default=256)
    add("--layers", type=int, default=8)
    add("--heads", type=int, default=4)
    add("--channels", type=int, default=64)
    add("--pieces", type=int, default=512)
    add("--bpe-sentences", type=int, default=60000)
    add("--dropout", type=float, default=0.1)
    add("--lr", type=float, default=1e-3)
    add("--hold", type=float, default=0.3, help="part of the time at full learning rate")
    add("--batch-seconds", type=float, default=1400.0, help="140 on a CPU")
    add("--ramp", type=int, nargs=2, default=(600, 1800), help="updates at which augmentation starts and is full")
    add("--gate", type=float, default=4.2, help="loss under which the curriculum may go on")
    add("--human-repeat", type=int, default=6)
    add("--human-limit", type=int)
    add("--pool-hours", type=float, default=150.0, help="room for audio on the device, 115 MB an hour")
    add("--first-shards", type=int, default=2, help="wait for so many shards before starting")
    add("--save-every", type=float, default=120.0)
    add("--listen-every", type=float, default=600.0)
    add("--log-every", type=int, default=100)
    add("--seed", type=int, default=0)
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
