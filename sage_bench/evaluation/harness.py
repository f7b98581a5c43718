"""lm-eval's evaluation of prepared tasks, without the report of the machine that its command adds.

`simple_evaluate` runs `pip list` and git for that report, a second of CPU each time; versions are
in the manifest. Everything else is as there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from sage_bench.evaluation.lm import StoreLM
from sage_bench.evaluation.tasks.loading import task_manager

FEWSHOT_SEED = 1234  # lm-eval's own


def lm_eval_results(lm: StoreLM, tasks: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    """lm-eval's results of our tasks in its own schema, samples included.

    Raises what the sampler and the store raise (`PartialError`, `UsageError`).
    """
    from lm_eval import evaluator

    began = time.time()
    loaded = task_manager().load(list(tasks.values()))
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config("num_fewshot", 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    results: dict[str, Any] = evaluator.evaluate(
        lm=lm,
        task_dict=loaded,
        limit=limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        confirm_run_unsafe_code=True,
    )
    return {
        **results,
        "config": {
            "model": type(lm).__name__,
            "limit": limit,
            "bootstrap_iters": 0,
            "fewshot_seed": FEWSHOT_SEED,
        },
        # lm-eval takes the commit of whatever folder the user stands in
        "git_hash": None,
        "date": began,
        "transformers_version": version("transformers"),
        "lm_eval_version": version("lm_eval"),
    }
