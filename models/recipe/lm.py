# SPDX-License-Identifier: Apache-2.0
"""Interpolated modified Kneser-Ney trigram from sentences to ARPA, pruned by weighted difference.

    python lm.py --out lm.arpa --trigrams 450000 --bigrams 400000 lm.txt
"""
import argparse
import math
from collections import Counter, defaultdict


class Trigram:
    def __init__(self, lines):
        self.count3, self.count2, words = Counter(), Counter(), Counter()
        for line in lines:
            w = line.split()
            if w:
                w = ["<s>", *w, "</s>"]
                words.update(w)
                self.count2.update(zip(w, w[1:]))
                self.count3.update(zip(w, w[1:], w[2:]))
        self.vocabulary = sorted(words)
        # lower orders use continuation counts; bigrams that begin a sentence keep their raw count
        follow2 = Counter((b, c) for _, b, c in self.count3)
        follow2.update({g: n - follow2[g] for g, n in self.count2.items() if g[0] == "<s>"})
        follow1 = Counter(b for _, b in follow2)
        discount1, discount2, discount3 = (self.discounts(c) for c in (follow1, follow2, self.count3))
        total = sum(follow1.values())
        rest = sum(discount1[min(n, 3)] for n in follow1.values()) / total / (len(self.vocabulary) + 1)
        self.p1 = {w: max(0.0, follow1[w] - discount1[min(follow1[w], 3)]) / total + rest for w in self.vocabulary}
        self.p1["<unk>"] = rest
        self.p2, self.backoff1 = self.interpolate(follow2, discount2, lambda g: self.p1[g[1]])
        self.p3, self.backoff2 = self.interpolate(self.count3, discount3, lambda g: self.p2[g[1:]])

    @staticmethod
    def discounts(counts):
        n = Counter(min(v, 4) for v in counts.values())
        y = n[1] / max(1, n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / max(1, n[k]) for k in (1, 2, 3)]
        return [0.0] + [min(k - 0.05, max(0.05, d)) for k, d in zip((1, 2, 3), found)]

    @staticmethod
    def interpolate(counts, discount, lower):
        total, taken = defaultdict(int), defaultdict(float)
        for g, n in counts.items():
            total[g[:-1]] += n
            taken[g[:-1]] += discount[min(n, 3)]
        backoff = {h: taken[h] / total[h] for h in total}
        p = {g: (n - discount[min(n, 3)]) / total[g[:-1]] + backoff[g[:-1]] * lower(g) for g, n in counts.items()}
        return p, backoff

    def prune(self, trigrams, bigrams):
        """Keep the n-grams whose loss would cost the training text most; a kept trigram keeps its bigrams."""

        def cost3(g):
            return self.count3[g] * (math.log(self.p3[g]) - math.log(self.backoff2[g[:2]] * self.p2[g[1:]]))

        def cost2(g):
            return self.count2[g] * (math.log(self.p2[g]) - math.log(self.backoff1[g[:1]] * self.p1[g[1]]))

        kept3 = sorted(self.p3, key=cost3, reverse=True)[:trigrams]
        kept2 = {g[:2] for g in kept3} | {g[1:] for g in kept3}
        others = sorted((g for g in self.p2 if g not in kept2), key=cost2, reverse=True)
        kept2.update(others[: max(0, bigrams - len(kept2))])
        return kept2, kept3

    def write(self, path, trigrams, bigrams):
        kept2, kept3 = self.prune(trigrams, bigrams)

        def backoffs(kept, p, lower):
            """So that the probabilities after each history sum to one."""
            here, below = defaultdict(float), defaultdict(float)
            for g in kept:
                here[g[:-1]] += p[g]
                below[g[:-1]] += lower(g[1:])
            return {h: max(1e-6, 1 - here[h]) / max(1e-6, 1 - below[h]) for h in here}

        weight1 = backoffs(kept2, self.p2, lambda g: self.p1[g[0]])

        def p2(g):
            return self.p2[g] if g in kept2 else weight1.get(g[:1], 1.0) * self.p1[g[1]]

        weight2 = backoffs(kept3, self.p3, p2)

        def log10(p):
            return f"{math.log10(max(p, 1e-10)):.4f}"

        with open(path, "w", encoding="utf-8") as f:
            f.write(f"\\data\\\nngram 1={len(self.p1)}\nngram 2={len(kept2)}\nngram 3={len(kept3)}\n\n\\1-grams:\n")
            for w in sorted(self.p1):
                end = f"\t{log10(weight1[w,])}" if (w,) in weight1 else ""
                f.write(f"{'-99' if w == '<s>' else log10(self.p1[w])}\t{w}{end}\n")
            f.write("\n\\2-grams:\n")
            for g in sorted(kept2):
                end = f"\t{log10(weight2[g])}" if g in weight2 else ""
                f.write(f"{log10(self.p2[g])}\t{' '.join(g)}{end}\n")
            f.write("\n\\3-grams:\n")
            for g in sorted(kept3):
                f.write(f"{log10(self.p3[g])}\t{' '.join(g)}\n")
            f.write("\n\\end\\\n")
        return len(self.p1), len(kept2), len(kept3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--trigrams", type=int, default=450_000, help="at most so many")
    parser.add_argument("--bigrams", type=int, default=400_000)
    parser.add_argument("text", nargs="+", help="files, one sentence a line")
    args = parser.parse_args()
    lines = (line for path in args.text for line in open(path, encoding="utf-8"))
    model = Trigram(lines)
    full = len(model.p1), len(model.p2), len(model.p3)
    print("n-grams", full, "kept", model.write(args.out, args.trigrams, args.bigrams))


if __name__ == "__main__":
    main()
