"""Whether rows are those of the benchmark they are called: digests of its questions and golds.

A file of another benchmark has as many rows and passes every other check. So each published
benchmark has a digest a question (`benchmark_digests.jsonl`; no text can be read from it): eight
hexadecimal digits of the question with its options, four of its gold. Spaces, `$` and sizing
commands make no difference, nor do golds that our table of corrections settles.

`python -m sage_bench.evaluation.tasks.digests FOLDER` prints the table for a folder of files called
like the benchmarks.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sage_bench.evaluation.tasks.golds import FORMS, correction_of, question_key

TABLE = "benchmark_digests.jsonl"


@cache
def known_digests() -> Mapping[str, Mapping[str, str]]:
    """Benchmark to {digest of a question: digest of its gold}."""
    text = (files("sage_bench.evaluation.tasks") / TABLE).read_text(encoding="utf-8")
    known: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        row = json.loads(line)
        known[row["benchmark"]] = dict(entry.split(":") for entry in row["questions"])
    return known


def digest_of(benchmark: str, question: Mapping[str, Any], form: str) -> tuple[str, str]:
    """(digest of a question, digest of its gold). form: that of the gold, one of `golds.FORMS`.

    question: {"uid", "question", "answer"}, its gold as the source has it, and "options" of
    multiple choice in the order they are asked in.
    """
    text, gold = question["question"], question["answer"]
    correction = correction_of(benchmark.removeprefix("sb_"), question["uid"], text, gold)
    if correction is not None and correction.gold is not None:
        gold = correction.gold
    try:
        gold = FORMS[form](gold)
    except ValueError:
        # a gold the form does not fit is that gold all the same
        gold = str(gold)
    options = question.get("options") or ()
    key = question_key("\n".join([text, *options]))[:8]
    return key, hashlib.sha256(re.sub(r"[\s$]", "", gold).encode()).hexdigest()[:4]


def other_data(
    benchmark: str, digests: Mapping[str, tuple[str, str]], expected: Sequence[int]
) -> str:
    """What is not this benchmark's among some rows, "" for nothing.

    digests: by uid. expected: row counts of its known editions; an edition may have more rows than
    digests are known.

    >>> other_data("sb_aime24", {"a": ("00000000", "0000")}, (30,))
    '1 of 1 questions are not among the 30 of this benchmark (a)'
    """
    known = known_digests().get(benchmark)
    if known is None:
        return ""
    unknown = [uid for uid, (question, _) in digests.items() if question not in known]
    other = [uid for uid, (question, gold) in digests.items() if known.get(question, gold) != gold]
    facts = []
    if len(unknown) > max(expected, default=0) - len(known):
        facts.append(
            f"{len(unknown)} of {len(digests)} questions are not among the"
            f" {max(expected, default=len(known))} of this benchmark ({_some(unknown)})"
        )
    if other:
        facts.append(
            f"{len(other)} of {len(digests)} golds are not those of this benchmark ({_some(other)})"
        )
    return "; ".join(facts)


def _some(uids: Sequence[str], most: int = 5) -> str:
    more = ", ..." if len(uids) > most else ""
    return ", ".join(uids[:most]) + more


def main(folder: Path) -> None:
    """Print the table for the files of a folder."""
    from sage_bench.evaluation.tasks.benchmarks import data_files, load
    from sage_bench.evaluation.tasks.spec import task_files

    tasks = {name: file for name, file in task_files().items() if name.startswith("sb_")}
    given = data_files([str(folder)], tasks)
    for name in sorted(given):
        report = load(name, **tasks[name].values["metadata"], data=given).report
        entries = sorted(":".join(digest) for digest in report.digests.values())
        print(json.dumps({"benchmark": name, "questions": entries}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
