"""Take benchmark questions out of training data: the same text, or a run of 13 words in common."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.data.problems import ALIASES
from sage_bench.data.question_key import question_key
from sage_bench.data.rows import RejectedRow, read_source
from sage_bench.evaluation.tasks.contamination import WORDS, runs
from sage_bench.evaluation.tasks.loading import DataOptions, Skipped, load
from sage_bench.utils.files import make_folder, write_jsonl, write_text

EIGHT = (
    "sb_aime24",
    "sb_aime25",
    "sb_amc23",
    "sb_math500",
    "sb_minerva",
    "sb_olympiadbench",
    "sb_gpqa_diamond",
    "sb_mmlu_pro",
)
# a run of words in more training texts than this is a phrase of the trade; ten is a choice
COMMON = 10
CLEAN, FOUND, SET_ASIDE = "clean.jsonl", "overlap.jsonl", "quarantine.jsonl"


@dataclass(frozen=True, slots=True)
class Hit:
    """A training row that holds a benchmark question. share: of the question's runs of words that
    stand in the row; 1 where the text is the same."""

    place: str
    task: str
    question: str
    same_text: bool
    share: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "task": self.task,
            "question": self.question,
            "kind": "same text" if self.same_text else f"{WORDS} words",
            "share": self.share,
        }


class Index:
    """Benchmark questions, by normalised text and by runs of words.

    >>> index = Index({"t": {"a": "What is 1 + 1?", "b": "a b c d e f"}}, words=3)
    >>> [(h.task, h.question, h.same_text) for h in index.hits("r:1", "what is $1 + 1$?")]
    [('t', 'a', True)]
    >>> [(h.question, h.share) for h in index.hits("r:2", "x a b c d y")]
    [('b', 0.5)]
    """

    def __init__(
        self,
        questions: Mapping[str, Mapping[str, str]],
        words: int = WORDS,
        common: int = COMMON,
    ):
        self.words = words
        self.common = common
        self.seen: Counter[str] = Counter()
        self.by_text: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.by_run: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.sizes: dict[tuple[str, str], int] = {}
        for task, texts in questions.items():
            for uid, text in texts.items():
                name = (task, uid)
                self.by_text[question_key(text)].append(name)
                mine = runs(text, words)
                self.sizes[name] = len(mine)
                for run in mine:
                    self.by_run[run].append(name)

    def count(self, text: str) -> None:
        """Note which runs a training text has; those of more than `common` texts are phrases of the
        trade ("where m and n are relatively prime positive integers") and tell nothing."""
        for run in runs(text, self.words):
            if run in self.by_run:
                self.seen[run] += 1

    def hits(self, place: str, text: str, min_share: float = 0.0) -> list[Hit]:
        """Questions that stand in a training text. min_share: smaller shares do not count."""
        same = self.by_text.get(question_key(text), [])
        found = [Hit(place, task, uid, True, 1.0) for task, uid in same]
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for run in runs(text, self.words):
            if self.seen[run] <= self.common:
                for name in self.by_run.get(run, ()):
                    counts[name] += 1
        for (task, uid), count in counts.items():
            share = round(count / self.sizes[task, uid], 3)
            if (task, uid) not in same and share >= min_share:
                found.append(Hit(place, task, uid, False, share))
        return found


@dataclass
class Decontaminated:
    """What was found. counts: by task, its questions and those that stand in the data. skipped:
    benchmarks whose questions could not be had, which nothing was compared with."""

    rows: int = 0
    clean: int = 0
    hits: list[Hit] = field(default_factory=list)
    questions: dict[str, int] = field(default_factory=dict)
    quarantine: list[RejectedRow] = field(default_factory=list)
    skipped: Skipped = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def by_task(self) -> list[dict[str, Any]]:
        """One row a benchmark: its questions, and how many of them stand in the data."""
        out = []
        for task, total in self.questions.items():
            mine = [hit for hit in self.hits if hit.task == task]
            same = {hit.question for hit in mine if hit.same_text}
            shared = {hit.question for hit in mine} - same
            rows = len({hit.place for hit in mine})
            found = {"same text": len(same), f"{WORDS} words": len(shared), "rows removed": rows}
            out.append({"task": task, "questions": total, **found})
        return out


def decontaminate(
    source: str,
    out: Path,
    tasks: Sequence[str] = EIGHT,
    options: DataOptions | None = None,
    *,
    min_share: float = 0.0,
    common: int = COMMON,
) -> Decontaminated:
    """Write clean.jsonl, the rows that share nothing with the benchmarks, and overlap.jsonl, what
    the others share with which question.

    min_share: of a question's runs of words that a row must hold. common: runs in more training
    rows than this do not count. Rows that cannot be read, or have no question, go to
    quarantine.jsonl. Raises `DataError` when no benchmark can be loaded, and `UsageError` when
    there is no such source.
    """
    loaded, skipped = load(dict.fromkeys(tasks, 1), options or DataOptions())
    texts = {name: questions_of(task) for name, task in loaded.items()}
    found = Decontaminated(questions={t: len(q) for t, q in texts.items()}, skipped=skipped)
    make_folder(out)
    index = Index(texts, common=common)
    for row in read_source(source):
        index.count("" if isinstance(row, RejectedRow) else question_text(row.values) or "")
    clean = _sort(source, index, min_share, found)
    lines = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in clean)
    write_text(out / CLEAN, lines)
    write_jsonl(out / FOUND, [hit.as_dict() for hit in found.hits])
    found.files = [out / FOUND, out / CLEAN]
    if found.quarantine:
        found.files.insert(0, out / SET_ASIDE)
        write_jsonl(out / SET_ASIDE, [row.as_dict() for row in found.quarantine])
    return found


def questions_of(task: Any) -> dict[str, str]:
    """Question texts of a loaded task by name."""
    docs = enumerate(task.eval_docs)
    return {str(doc.get("uid", number)): str(doc["question"]) for number, doc in docs}


def question_text(row: Mapping[str, Any]) -> str | None:
    """The question of a training row."""
    text = next((row[k] for k in ALIASES["question"] if row.get(k)), None)
    return text if isinstance(text, str) else None


def _sort(
    source: str, index: Index, min_share: float, found: Decontaminated
) -> Iterable[Mapping[str, Any]]:
    """The clean rows; the others and those that cannot be used are noted in `found`."""
    clean = []
    for row in read_source(source):
        found.rows += 1
        if isinstance(row, RejectedRow):
            found.quarantine.append(row)
            continue
        text = question_text(row.values)
        if text is None:
            found.quarantine.append(RejectedRow(row.where, "no question", row.values))
            continue
        hits = index.hits(row.where, text, min_share)
        found.hits += hits
        if not hits:
            clean.append(row.values)
    found.clean = len(clean)
    return clean
