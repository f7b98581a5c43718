"""Decoding by vLLM, for `decoding`: run by the Python that VLLM_PYTHON names, since vLLM pins torch
and has an environment of its own (`scripts/vllm_cpu_env.sh FOLDER` makes one).

    VLLM_PYTHON=FOLDER/bin/python python -m benchmarks decoding
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks.measure import in_a_process, once

VARIABLE = "VLLM_PYTHON"
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # its seconds are then those of one process
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


def seconds_and_tokens(
    cells: list[tuple[int, list[int]]], prompt: int, group: int
) -> list[tuple[float, int]] | None:
    """(CPU seconds, tokens) of cells (rows, tokens of every row); None where there is no vLLM.
    Raises `SystemExit` with the end of its output where it fails."""
    python = os.environ.get(VARIABLE)
    if python is None:
        print(f"vLLM is left out: {VARIABLE} names no Python that has it", file=sys.stderr)
        return None
    asked = json.dumps([prompt, group, cells])
    found: list[tuple[float, int]] = in_a_process(
        "benchmarks.vllm_decoding", asked, python=python, **ENVIRONMENT
    )
    return found


def _measure(prompt: int, group: int, cells: list[tuple[int, list[int]]]) -> list[Any]:
    from vllm import LLM, SamplingParams

    from benchmarks.models import make_folder, make_prompts

    llm = LLM(
        str(make_folder("qwen2")),
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=256,
        gpu_memory_utilization=0.3,
        enforce_eager=True,
        disable_log_stats=True,
    )
    found = []
    for rows, lengths in cells:
        prompts = [
            {"prompt_token_ids": list(ids)}
            for ids in make_prompts(max(1, rows // group), prompt)
            for _ in range(group)
        ]
        params = [
            SamplingParams(
                temperature=1.0, max_tokens=n, min_tokens=n, ignore_eos=True, detokenize=False
            )
            for n in lengths
        ]

        def work(prompts: Any = prompts, params: Any = params) -> None:
            llm.generate(prompts, params, use_tqdm=False)

        seconds = min(once(work) for _ in range(2))
        found.append((seconds, sum(lengths)))
    return found


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
