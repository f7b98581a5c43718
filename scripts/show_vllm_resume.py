"""An evaluation through real vLLM on a CPU, killed twice and resumed, against one that was left
alone; then the same through bare lm-eval.

    scripts/vllm_cpu_env.sh ENV
    ENV/bin/python scripts/show_vllm_resume.py DATA --out FOLDER       # DATA: folder with
    math500.jsonl, aime24.jsonl, aime25.jsonl

The policy is the packaged tiny one: its accuracy on these benchmarks means nothing. What is shown
is that a SIGKILL of every process, twice, changes no row and no table, and that `lm_eval run
--include_path tasks` gives the same numbers for the same completions. tiny_mixed, which the policy
often solves, is there so that equal numbers are not all zeros. Prints what it compared and ends
with exit code 1 when something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ |= {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

import numpy as np

from sage_bench.evaluation.tasks.files import tasks_folder
from sage_bench.generation.model_folders import model_path
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.files import read_jsonl

NEWLINE = b"\n"
TASKS = ("sb_aime24", "sb_aime25", "sb_math500", "tiny_mixed")
MODEL, CONTEXT, NEW = (
    "package:data/tiny_policies/llama",
    2048,
    96,
)  # three prompts of MATH-500 are longer than the tiny policy's own 1,024 positions
KILL_AT = (0.2, 0.6)  # shares of all rows
OURS = (
    "-m",
    "sage_bench",
    "eval",
    "-m",
    MODEL,
    "--sampler",
    "vllm",
    "--device",
    "cpu",
    "-t",
    ",".join(TASKS),
    "--sampler-option",
    f"engine.hf_overrides.max_position_embeddings={CONTEXT}",
)
SAMPLED, GREEDY = (
    {"max_gen_toks": NEW},
    {"do_sample": False, "temperature": 0.0, "top_p": 1.0, "max_gen_toks": NEW},
)
failed: list[str] = []


def check(what: str, well: bool, detail: str, word: str = "equal") -> None:
    print(f"{word if well else 'DIFFERS':8}{what}: {detail}", flush=True)
    if not well:
        failed.append(what)


def stored(out: Path) -> int:
    return sum(f.read_bytes().count(b"\n") for f in out.glob("*/*/samples/*.jsonl"))


def start(words: list[str], log: Path, **env: str) -> subprocess.Popen[str]:
    """A Python command in a process group of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
            env={**os.environ, **env},
        )


def finish(process: subprocess.Popen[str], log: Path) -> str:
    said = process.communicate()[0]
    if process.returncode:
        sys.exit(
            f"{log}: exit code {process.returncode}\n{log.read_text(errors='replace')[-3000:]}"
        )
    return said


def ours(out: Path, data: Path, *more: str) -> list[str]:
    return [*OURS, "--data", str(data), "-o", str(out), "-q", "--max-tokens", str(NEW), *more]


def evaluate(out: Path, data: Path, *more: str) -> Path:
    """`sage-bench eval` to its end: the run folder."""
    log = out.with_suffix(".log")
    return Path(finish(start(ours(out, data, *more), log), log).split()[-1])


def killed(out: Path, data: Path, total: int) -> Path:
    """The same, but every process is killed at two moments and the command given again."""
    kept: dict[Path, bytes] = {}
    for share in KILL_AT:
        process = start(ours(out, data), out.with_suffix(".log"))
        while stored(out) < share * total:
            if process.poll() is not None:
                sys.exit(f"it ended before it could be killed; {out.with_suffix('.log')}")
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        files = {f: f.read_bytes() for f in out.glob("*/*/samples/*.jsonl")}
        untouched = all(files[f].startswith(old[: old.rfind(b"\n") + 1]) for f, old in kept.items())
        counts = ", ".join(f"{f.stem} {b.count(NEWLINE):,}" for f, b in sorted(files.items()))
        check(
            "SIGKILL of all processes",
            untouched and stored(out) < total,
            f"{stored(out):,} of {total:,} rows stored ({counts})",
            "killed",
        )
        kept = files
    return evaluate(out, data)


def rows(folder: Path, task: str) -> dict[tuple[int, int], dict[str, Any]]:
    found = [
        {k: v for k, v in r.items() if k != "time"}
        for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
    ]
    out = {(r["doc_id"], r["sample"]): r for r in found}
    assert len(out) == len(found), f"{folder}: a sample is stored twice"
    return out


def compare_runs(straight: Path, resumed: Path) -> None:
    for task in TASKS:
        a, b = rows(straight, task), rows(resumed, task)
        same = sum(a[k] == b.get(k) for k in a)
        tokens = sum(r["tokens"] for r in a.values())
        check(
            f"{task}, rows",
            a == b,
            f"{same:,} of {len(a):,} rows (text, seed, finish, prompt hash, token counts;"
            f" {tokens:,} tokens, {len({r['text'] for r in a.values()}):,} distinct texts)",
        )
    for name in ("summary.csv", "per_question.csv"):
        check(name, (straight / name).read_bytes() == (resumed / name).read_bytes(), "byte by byte")


def bare(
    out: Path, data: Path, program: list[str], gen: dict[str, Any], *model: str
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """`lm_eval run` over the task files as they are: (results, samples) by task."""
    files = {
        t: str(f.resolve())
        for t in TASKS
        if (f := data / f"{t.removeprefix('sb_')}.jsonl").is_file()
    }
    words = [
        *program,
        "run",
        "--tasks",
        ",".join(TASKS),
        "--include_path",
        str(tasks_folder()),
        "--metadata",
        json.dumps({"data": files}),
        "--apply_chat_template",
        "--batch_size",
        "auto",
        "--gen_kwargs",
        ",".join(f"{k}={v}" for k, v in gen.items()),
        "--output_path",
        str(out),
        "--log_samples",
        *model,
    ]
    log = out.with_suffix(".log")
    env = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    finish(start(words, log, **env), log)
    results = json.loads(next(out.rglob("results_*.json")).read_text(encoding="utf-8"))["results"]
    return results, {t: list(read_jsonl(next(out.rglob(f"samples_{t}_*.jsonl")))) for t in TASKS}


def compare_scores(
    name: str, results: dict[str, Any], folder: Path, noise: float | None = None
) -> None:
    """avg@n of bare lm-eval against ours: to 1e-12, or within `noise` standard errors of a
    difference."""
    for task, mine in read_eval(folder).tasks.items():
        theirs, here = results[task]["avg_at_n,all"], mine.means.mean()
        gap = abs(theirs - here)
        if noise is None:
            gap = max(
                gap,
                abs(results[task]["no_answer,all"] - mine.no_answer),
                abs(results[task]["pass_at_n,all"] - (mine.means > 0).mean()),
            )
            check(
                f"{name}, {task}",
                gap <= 1e-12,
                f"lm-eval {theirs:.6%}, ours {here:.6%}; largest difference of avg, pass and"
                f" no-answer {gap:.1e}",
            )
        else:
            error = (
                np.sqrt(2 * (mine.means * (1 - mine.means)).sum() / (mine.samples - 1))
                / len(mine.means)
                or 1 / mine.means.size
            )
            check(
                f"{name}, {task}",
                gap <= noise * error,
                f"lm-eval {theirs:.3%}, ours {here:.3%}, standard error of the difference"
                f" {error:.3%} (within {noise:g} of it)",
                "close",
            )


def stored_replies(folder: Path) -> None:
    """`lm_eval run` with one more model, `stored`: it answers what a run folder of ours holds for
    this prompt, sampling and repeat, or fails."""
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from transformers import AutoTokenizer

    @register_model("stored")
    class Stored(LM):
        tokenizer_name = "stored"

        def __init__(self, **_: Any):
            super().__init__()
            self.tokenizer = AutoTokenizer.from_pretrained(model_path(MODEL))
            self.texts = {
                (t, d, s, r["prompt_hash"]): r["text"]
                for t in TASKS
                for (d, s), r in rows(folder, t).items()
            }
            self.seen: Counter[tuple[str, int]] = Counter()

        @classmethod
        def create_from_arg_obj(cls, arg_dict: Any, additional_config: Any = None) -> Stored:
            return cls()

        def chat_template(self, chat_template: bool | str = False) -> str:
            return self.tokenizer.chat_template

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            return self.tokenizer.apply_chat_template(
                chat_history, tokenize=False, add_generation_prompt=add_generation_prompt
            )

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return [self.texts.pop(self.key(r)) for r in requests]

        def key(self, r: Any) -> tuple[str, int, int, str]:
            prompt, kwargs = r.args
            sample = self.seen[r.task_name, r.doc_id]
            self.seen[r.task_name, r.doc_id] += 1
            return (
                r.task_name,
                r.doc_id,
                sample,
                hashlib.sha256((prompt + json.dumps(kwargs, sort_keys=True)).encode()).hexdigest()[
                    :16
                ],
            )

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    cli_evaluate()


def show(data: Path, out: Path) -> None:
    began = time.monotonic()
    out.mkdir(parents=True)
    straight = evaluate(out / "straight", data)
    total = stored(out / "straight")
    print(f"left alone: {total:,} rows in {time.monotonic() - began:.0f} s", flush=True)
    compare_runs(straight, killed(out / "killed", data, total))

    print(
        "\nbare lm-eval, the completions of our run (prompts and sampling must hash alike)",
        flush=True,
    )
    results, _ = bare(
        out / "bare_stored",
        data,
        [__file__, "--replay", str(straight)],
        SAMPLED,
        "--model",
        "stored",
    )
    compare_scores("stored replies", results, straight)

    engine = {
        "pretrained": model_path(MODEL),
        "dtype": "float32",
        "gpu_memory_utilization": 0.3,
        "enforce_eager": True,
        "max_model_len": CONTEXT,
        "max_num_seqs": 256,
        "hf_overrides": {"max_position_embeddings": CONTEXT},
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": 8192,
    }
    own = ("--model", "vllm", "--model_args", json.dumps(engine))
    print("\nbare lm-eval with its own vLLM model, greedy", flush=True)
    results, samples = bare(out / "bare_greedy", data, ["-m", "lm_eval"], GREEDY, *own)
    greedy = evaluate(out / "greedy", data, "-n", "1", "--temperature", "0", "--top-p", "1")
    for task in TASKS:
        mine = rows(greedy, task)
        texts = [(t, mine[s["doc_id"], 0]["text"]) for s in samples[task] for t in s["resps"][0]]
        check(
            f"greedy texts, {task}",
            all(a == b for a, b in texts),
            f"{sum(a == b for a, b in texts):,} of {len(texts):,}",
        )
    compare_scores("greedy", results, greedy)

    print(
        "\nbare lm-eval with its own vLLM model, sampling with its own seeds: other texts by"
        " design, the same score within the noise",
        flush=True,
    )
    results, samples = bare(out / "bare_sampled", data, ["-m", "lm_eval"], SAMPLED, *own)
    compare_scores("sampled", results, straight, noise=4)
    for task in TASKS:
        mine = rows(straight, task)
        texts = [
            t == mine[s["doc_id"], i]["text"]
            for s in samples[task]
            for i, t in enumerate(s["resps"][0])
        ]
        print(f"        {task}: {sum(texts):,} of {len(texts):,} texts happen to be equal")
    print(
        f"\n{'nothing differs' if not failed else f'{len(failed)} DIFFER: ' + '; '.join(failed)},"
        f" {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--replay"]:
        run = Path(sys.argv[2])
        sys.argv[1:3] = []
        stored_replies(run)
    else:
        parser = argparse.ArgumentParser(
            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument(
            "data", type=Path, help="folder with math500.jsonl, aime24.jsonl and aime25.jsonl"
        )
        parser.add_argument(
            "--out",
            type=Path,
            default=Path("runs/show_vllm_resume"),
            help="a folder that is not there yet",
        )
        given = parser.parse_args()
        if given.out.exists():
            parser.error(f"{given.out} is there already: what it compares must start afresh")
        show(given.data.resolve(), given.out.resolve())
        sys.exit(bool(failed))
