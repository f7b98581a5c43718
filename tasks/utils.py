"""What the YAML files call. The only import of the harness is its grading."""

from __future__ import annotations

from typing import Any

from sage_bench.grading.memo import grade


def keep_all(resps: list[list[str]], docs: Any) -> list[list[str]]:
    """Filter that hands all repeats of a question to the metrics."""
    return list(resps)


def process_results(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """Metrics of one question from all its completions; lm-eval averages them over questions."""
    verdicts = grade(str(doc["answer"]), results[0])
    right = [float(v.correct) for v in verdicts]
    return {
        "avg_at_n": sum(right) / len(right), "pass_at_n": max(right),
        "no_answer": sum(v.status == "no_answer" for v in verdicts) / len(verdicts),
    }


def tiny(benchmark: str, **metadata: Any) -> dict[str, Any]:
    """A generated benchmark of the tiny world, as lm-eval wants datasets: split name to `datasets.Dataset`."""
    import datasets

    from sage_bench.data.tiny_world import problems

    return {"test": datasets.Dataset.from_list([{"uid": p.uid, "question": p.question, "answer": p.answer} for p in problems(benchmark)])}
