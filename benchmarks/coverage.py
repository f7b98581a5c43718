"""How often intervals cover and tests reject, in simulated studies of the product's own sizes.

    python benchmarks/coverage.py            # 2,000 studies a row, about two minutes on one core
    python benchmarks/coverage.py --studies 10000 --json

Every row draws true rates, then samples, and asks how many 95 % intervals hold the truth, or how
many true null hypotheses are rejected at 5 %. The standard error of a printed percentage is given
with it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sage_bench.statistics import (
    accuracy_interval,
    bootstrap_interval,
    claim,
    macro_interval,
    mean_se,
    paired,
    share_interval,
    sign_flip_p,
    uneven_flip_p,
)

Floats = NDArray[np.float64]
SLOW = 10  # rows that compute one study at a time take a tenth of the studies


@dataclass(frozen=True, slots=True)
class Row:
    """What was simulated, and the percentage that came out. aim: what it should be."""

    what: str
    setting: str
    aim: str
    percent: float
    error: float
    studies: int


def row(what: str, setting: str, aim: str, hits: NDArray[np.bool_]) -> Row:
    share = float(np.mean(hits))
    error = 100 * sqrt(max(share * (1 - share), 1e-9) / len(hits))
    return Row(what, setting, aim, 100 * share, error, len(hits))


def covers(ends: tuple[Floats, Floats], truth: float) -> NDArray[np.bool_]:
    low, high = ends
    return np.asarray((low <= truth) & (truth <= high))


def beta_rates(rng: np.random.Generator, p: float, correlation: float, shape: object) -> Floats:
    """Rates of questions with this intra-class correlation."""
    spread = 1 / correlation - 1
    return rng.beta(p * spread, (1 - p) * spread, size=shape)


def probit_rates(rng: np.random.Generator, p: float, sd: float, shape: object) -> Floats:
    """Rates of questions of normal difficulty: not the family of the interval's model."""
    centre = stats.norm.ppf(p) * np.sqrt(1 + sd**2)
    return np.asarray(stats.norm.cdf(rng.normal(centre, sd, size=shape)))


def weak_models(studies: int) -> Iterator[Row]:
    """AIME with 16 samples a question; beside it the clustered standard error alone."""
    for p in (0.02, 0.03, 0.05):
        for world, rates in (
            ("correlation 0.1", lambda r, p, s: beta_rates(r, p, 0.1, s)),
            ("correlation 0.3", lambda r, p, s: beta_rates(r, p, 0.3, s)),
            ("normal difficulty", lambda r, p, s: probit_rates(r, p, 1.5, s)),
        ):
            rng = np.random.default_rng(int(1000 * p))
            means = rng.binomial(16, rates(rng, p, (studies, 30))) / 16
            setting = f"30 questions x 16, p = {p}, {world}"
            found = covers(accuracy_interval(means, 16), p)
            yield row("accuracy_interval covers", setting, "94 to 96", found)
            alone = covers(share_interval(*mean_se(means), 30), p)
            yield row("clustered SE alone covers", setting, "(what it replaces)", alone)


def benchmarks(studies: int) -> Iterator[Row]:
    """The sizes of the suite's benchmarks at middling accuracies."""
    sizes = (
        ("AIME", 30, 16, 0.3),
        ("AMC", 40, 16, 0.5),
        ("GPQA-diamond", 198, 16, 0.4),
        ("Minerva", 272, 16, 0.3),
        ("MATH-500", 500, 16, 0.75),
        ("MMLU-Pro, 1,000 of", 1000, 1, 0.6),
    )
    for name, n, samples, p in sizes:
        rng = np.random.default_rng(n)
        means = rng.binomial(samples, beta_rates(rng, p, 0.6, (studies, n))) / samples
        found = covers(accuracy_interval(means, samples), p)
        setting = f"{name}: {n} questions x {samples}, p = {p}"
        yield row("accuracy_interval covers", setting, "94 to 96", found)


def averages(studies: int) -> Iterator[Row]:
    """The average over six benchmarks, of a weak and of a middling policy."""
    sizes = (30, 30, 40, 500, 272, 675)
    for name, truths in (
        ("weak", (0.02, 0.02, 0.1, 0.25, 0.08, 0.1)),
        ("middling", (0.2, 0.15, 0.55, 0.75, 0.35, 0.4)),
    ):
        rng = np.random.default_rng(6)
        scores = {}
        for i, (p, n) in enumerate(zip(truths, sizes, strict=True)):
            scores[str(i)] = rng.binomial(16, beta_rates(rng, p, 0.3, (studies, n))) / 16
        found = covers(macro_interval(scores, samples=dict.fromkeys(scores, 16)), np.mean(truths))
        yield row("macro_interval covers", f"six benchmarks x 16, {name}", "94 to 96", found)


def differences(studies: int) -> Iterator[Row]:
    """Two policies on the same questions: interval, level, and unequal numbers of samples."""
    rng = np.random.default_rng(9)
    count = studies // 2
    base = rng.normal(0, 1.5, (count, 30))
    truth = float(stats.norm.cdf(0.5 / sqrt(1 + 1.5**2)) - 0.5)
    a = rng.binomial(16, stats.norm.cdf(base + 0.5)) / 16
    b = rng.binomial(16, stats.norm.cdf(base)) / 16
    found = covers(bootstrap_interval([a - b], draws=499), truth)
    yield row("bootstrap_interval covers", "30 questions x 16, paired", "94 to 96", found)
    null = rng.binomial(16, stats.norm.cdf(base)) / 16
    rejected = sign_flip_p([null - b], draws=499) <= 0.05
    yield row("sign_flip_p rejects a true null", "30 questions x 16, paired", "5", rejected)
    for p in (0.03, 0.05, 0.5):
        uneven, flipped = [], []
        for i in range(studies // SLOW):
            rates = beta_rates(rng, p, 0.1, 30)
            many = rng.binomial(16, rates) / 16
            one = rng.binomial(1, rates).astype(float)
            uneven.append(uneven_flip_p([many], [one], [(16, 1)], draws=400, seed=i) <= 0.05)
            flipped.append(float(sign_flip_p([many - one], draws=400, seed=i)) <= 0.05)
        setting = f"30 questions, 16 samples against 1, p = {p}"
        yield row("uneven_flip_p rejects a true null", setting, "5 at most", np.array(uneven))
        yield row("flipping alone rejects", setting, "(what it replaces)", np.array(flipped))


def trained(rng: np.random.Generator, seeds: int, gain: float, sd: float) -> list[dict]:
    """Scores of two methods by seed, on 30, 40 and 60 questions with 4 samples."""
    hard = {str(n): rng.normal(0, 1.5, n) for n in (30, 40, 60)}
    out = []
    for g in (gain, 0.0):
        of_method = {}
        for seed in range(seeds):
            shift = g + rng.normal(0, sd)
            rates = {t: stats.norm.cdf(x + shift) for t, x in hard.items()}
            of_method[seed] = {t: rng.binomial(4, r) / 4 for t, r in rates.items()}
        out.append(of_method)
    return out


def claims(studies: int) -> Iterator[Row]:
    """Claims about methods over training seeds, and what one seed over questions is worth."""
    count = studies // 2
    for seeds in (3, 5, 8):
        rng = np.random.default_rng(seeds)
        truth = float(stats.norm.cdf(0.3 / sqrt(1 + 1.5**2 + 0.2**2)) - 0.5)
        covered, rejected = [], []
        for _ in range(count):
            found = claim(*trained(rng, seeds, 0.3, 0.2))
            covered.append(found.low <= truth <= found.high)
            rejected.append(claim(*trained(rng, seeds, 0.0, 0.2)).p <= 0.05)
        setting = f"{seeds} training seeds, three benchmarks x 4"
        yield row("claim's interval covers", setting, "94 to 98", np.array(covered))
        yield row("claim rejects a true null", setting, "5 at most", np.array(rejected))
    rng = np.random.default_rng(1)
    wrong = []
    for i in range(studies // SLOW):
        a, b = trained(rng, 1, 0.0, 0.2)
        wrong.append(paired(a[0], b[0], draws=400, seed=i).p <= 0.05)
    setting = "1 training seed of each, tested over questions"
    yield row("a p-value over questions rejects", setting, "(why it is no claim)", np.array(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies a row")
    parser.add_argument("--json", action="store_true", help="a list of rows")
    given = parser.parse_args()
    found = []
    for part in (weak_models, benchmarks, averages, differences, claims):
        for one in part(given.studies):
            found.append(one)
            if not given.json:
                share = f"{one.percent:5.1f} ± {one.error:.1f} %"
                print(f"{one.what:34} {one.setting:56} {share:>14}  aim {one.aim}", flush=True)
    if given.json:
        print(json.dumps([asdict(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
