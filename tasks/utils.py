"""What the YAML files call. Of the harness they need the data and the grading, nothing else."""

from __future__ import annotations

from typing import Any

from sage_bench.evaluation.time_limit import grade_in_time
from sage_bench.grading.cache import DEFAULT


def keep_all(resps: list[list[str]], docs: Any) -> list[list[str]]:
    """Filter that hands all repeats of a question to the metrics."""
    return list(resps)


def process_results(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """Metrics of one question from all its completions; lm-eval averages them over questions."""
    verdicts = grade_in_time(
        str(doc["answer"]),
        results[0],
        doc.get("grader") or DEFAULT,
        doc.get("options"),
        where=f"question {doc.get('uid', '?')}",
    )
    right = [float(v.correct) for v in verdicts]
    return {
        "avg_at_n": sum(right) / len(right),
        "pass_at_n": max(right),
        "no_answer": sum(v.status == "no_answer" for v in verdicts) / len(verdicts),
    }


class Splits(dict[str, Any]):
    """Split name to `datasets.Dataset`, as lm-eval wants it. report: what became of the rows of the
    source."""

    report: Any = None


def benchmark(benchmark: str, **metadata: Any) -> Splits:
    """A published benchmark, as its task file describes it."""
    import datasets

    from sage_bench.evaluation.tasks.benchmarks import load

    loaded = load(benchmark, **metadata)
    splits = Splits(test=datasets.Dataset.from_list(loaded.questions))
    splits.report = loaded.report
    return splits


def tiny(benchmark: str, grader: str = DEFAULT, **metadata: Any) -> dict[str, Any]:
    """A generated benchmark of the tiny world, as lm-eval wants datasets: split name to
    `datasets.Dataset`."""
    import datasets

    from sage_bench.data.tiny_world import problems

    return {
        "test": datasets.Dataset.from_list(
            [
                {"uid": p.uid, "question": p.question, "answer": p.answer, "grader": grader}
                for p in problems(benchmark)
            ]
        )
    }
