#!/usr/bin/env python3
"""Why methods differ in the tiny world: what the policies of a study got wrong, and where credit
went.

    python scripts/tiny_reasons.py runs/table1
    python scripts/tiny_reasons.py runs/stories/second/oar --model tiny2-llama

Tables over training seeds. From the evaluations: results of the world's doubted operator (products
in the first, powers in the second) that the final policy knows, doubts, or is sure of wrongly, and
where its responses first go wrong. From the groups that were logged: how many responses of training
left steps out, and where OAR put its weights, for right and wrong responses. Logged groups are a
sample, and methods that explain themselves log those with a signal first: shares of different
methods are of different groups.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from sage_bench.data.tiny_steps import (
    NO_ERROR,
    OPERATOR,
    chain_of,
    cut,
    first_wrong_step,
    pieces,
)
from sage_bench.data.tiny_world import FIRST, SECOND, Chain, computed, problems

# what the doubted operator of a world makes of two digits
RESULTS = {FIRST.doubted: "product", SECOND.doubted: "power"}
QUESTION = re.compile(r"<\|user\|>(.*?)<\|end")
SURE = 0.8  # share of one digit from which a policy is called sure of it
KNOWS = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("study", type=Path, help="folder of `sage-bench matrix`")
    parser.add_argument("--model", default="tiny-llama")
    args = parser.parse_args()
    runs = args.study / "runs" / args.model
    if not runs.is_dir():
        print(f"{runs}: no such folder; give the --out of `sage-bench matrix`", file=sys.stderr)
        return 2
    methods = sorted(p.name for p in runs.iterdir() if p.is_dir())
    second = args.model.startswith("tiny2")
    operator = (SECOND if second else FIRST).doubted
    result = RESULTS[operator]
    kinds = ("right", result, "other result", "step", "answer")
    print(f"{result}s of two digits, of 90, mean over seeds (seed by seed)")
    print(f"{'method':<22}{'known':>8}{'doubted':>9}{'sure, wrong':>13}", end="")
    # n^k = n is right for 58 powers of 90: a rule without the exponent
    print("  of these n^k = n" if second else "")
    for method in methods:
        evaluated = seeds(args.study / "eval" / args.model / method)
        counts = [facts(answers(seed, operator), operator) for seed in evaluated]
        if counts:
            known, doubted, wrong, base = zip(*counts, strict=True)
            each = " ".join(map(str, wrong))
            print(
                f"{method:<22}{mean(known):>8.1f}{mean(doubted):>9.1f}{mean(wrong):>13.1f} ({each})"
                + (f"  {mean(base):.1f}" if second else "")
            )
    for benchmark in (None, "tiny2_short" if second else "tiny_short"):
        asked = benchmark or "all benchmarks"
        print(f"\npercent of the responses to {asked}, by what is wrong first")
        print(f"{'method':<22}" + "".join(f"{kind:>14}" for kind in kinds))
        for method in methods:
            seed_folders = seeds(args.study / "eval" / args.model / method)
            shares = [found for s in seed_folders if (found := first_mistakes(s, benchmark))]
            if shares:
                cells = (100 * mean(share.get(kind, 0.0) for share in shares) for kind in kinds)
                print(f"{method:<22}" + "".join(f"{cell:>14.1f}" for cell in cells))
    print("\nresponses of training with fewer steps than the question asks for, by tenth steps")
    for method in methods:
        print(f"{method:<22}{left_out(runs / method)}")
    print(f"\nweights of OAR at the result of a {result}, and at the `=` before it")
    for method in methods:
        for line in weights(runs / method, operator):
            print(f"{method:<22}{line}")
    return 0


def seeds(folder: Path) -> list[Path]:
    return sorted(folder.glob("seed_*"))


def answers(seed: Path, operator: str) -> dict[tuple[int, int], Counter[int]]:
    """How often each digit was given as the result, by the two digits before it."""
    step = re.compile(rf"(\d){re.escape(operator)}(\d)=(\d)")
    found: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for file in seed.rglob("samples/*.jsonl"):
        for row in rows_of(file):
            for a, b, result in step.findall(row.get("text") or ""):
                found[int(a), int(b)][int(result)] += 1
    return found


def facts(
    given: Mapping[tuple[int, int], Counter[int]], operator: str
) -> tuple[int, int, int, int]:
    """Results known, doubted, and answered by one wrong digit; of these, by the first of the two.

    >>> facts({(2, 3): Counter({8: 9}), (2, 2): Counter({2: 9}), (3, 2): Counter([3, 9])}, "^")
    (1, 1, 1, 1)
    """
    known = wrong = base = 0
    for (a, b), counted in given.items():
        digit, most = counted.most_common(1)[0]
        share = counted[computed(a, operator, b)] / counted.total()
        known += share > KNOWS
        if share < 1 - KNOWS and most / counted.total() > SURE:
            wrong += 1
            base += digit == a
    return known, len(given) - known - wrong, wrong, base


def first_mistakes(seed: Path, benchmark: str | None) -> dict[str, float]:
    """Share of the responses by kind; empty where there are none."""
    counted: Counter[str] = Counter()
    for file in seed.rglob("samples/*.jsonl"):
        if benchmark in (None, file.stem):
            for row in rows_of(file):
                chain = chain_of(problems(file.stem)[row["doc_id"]].question)
                if chain is not None:
                    counted[mistake(chain, row.get("text") or "")] += 1
    return {kind: number / counted.total() for kind, number in counted.items()}


def mistake(chain: Chain, text: str) -> str:
    """What is wrong first: nothing, the result of a doubted operator, another result, the step
    (another one than is due, or none), or the answer, which is not what the steps came to.

    >>> [mistake(chain_of("3*9+6"), t) for t in ("3*9=5 5+6=1", "3*9=7 3+6=9", "3*9=7 7+6=3 73")]
    ['product', 'step', 'answer']
    """
    steps = cut(text)
    if steps == pieces(chain):
        return "right"
    place = first_wrong_step(chain, steps)
    if place == NO_ERROR:  # it breaks off
        place = len(steps)
    if place >= len(chain.steps):
        return "answer"
    due = chain.steps[place]
    if place >= len(steps) or steps[place][:-1] != due[:-1]:
        return "step"
    return RESULTS.get(due[1], "other result")


def left_out(method: Path) -> str:
    """Share of responses that leave steps out, for every ten steps of training."""
    found: dict[int, list[bool]] = defaultdict(list)
    for row in logged(method):
        question = QUESTION.search(row["prompt"])
        if question is None:
            continue
        wanted = len(re.findall(OPERATOR, question[1]))
        for completion in row["completions"]:
            found[row["step"] // 10].append(completion["text"].count("=") < wanted)
    return "  ".join(f"{10 * k}: {mean(v):.2f}" for k, v in sorted(found.items()))


def weights(method: Path, operator: str) -> Iterator[str]:
    """Mean weight by step of the response, whether the response was right, and the digit."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in logged(method):
        completions, tables = row["completions"], row.get("weights") or []
        if len({c["reward"] for c in completions}) < 2:
            continue
        for completion, table in zip(completions, tables, strict=False):
            outcome = "right" if completion["reward"] == 1 else "wrong"
            for where, digit, pair in doubted(table or [], operator):
                found[where, outcome, digit].append(pair)
    for (where, outcome, digit), pairs in sorted(found.items()):
        result = mean(w for w, _ in pairs)
        before = mean(w for _, w in pairs)
        yield (
            f"{where} step, {outcome} response, {digit} digit: {result:.2f}, = {before:.2f}"
            f" ({len(pairs)})"
        )


def doubted(
    table: list[list[Any]], operator: str
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """(first or later, right or wrong, weights of the result and of `=`) of every result of an
    operator."""
    tokens = [text for text, _ in table]
    step = 0
    for i in range(3, len(tokens) - 1):
        if tokens[i] != "=" or not tokens[i + 1].isdigit():
            continue
        a, found, b = tokens[i - 3 : i]
        if found == operator and a.isdigit() and b.isdigit():
            right = computed(int(a), operator, int(b))
            digit = "right" if int(tokens[i + 1]) == right else "wrong"
            yield "first" if step == 0 else "later", digit, (table[i + 1][1], table[i][1])
        step += 1


def logged(method: Path) -> Iterator[dict[str, Any]]:
    for seed in seeds(method):
        yield from rows_of(seed / "completions.jsonl")


def rows_of(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
