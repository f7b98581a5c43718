"""Real vLLM, here on a CPU (`scripts/vllm_cpu_env.sh FOLDER` makes an environment with it), against
our own sampler.

Texts of equal seeds are equal but where two sums in another order differ by a rounding: SAME is the
share that must be equal.
Measured here: all of them, in float32 on a CPU.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from server import free_port
from vllm_serve import NEEDS_VLLM

from sage_bench.data.tiny_world import problems
from sage_bench.evaluation import runner
from sage_bench.evaluation.tasks.files import tasks_folder
from sage_bench.evaluation.tasks.loading import DataOptions
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.prompts import SYSTEM
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.generation.samplers.vllm import Vllm
from sage_bench.reporting.runs import read_eval
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.seeds import derive_seed

pytestmark = NEEDS_VLLM
SAME = 0.995


@pytest.fixture(scope="module")
def llama() -> str:
    return model_path("package:data/tiny_policies/llama")


@pytest.fixture(scope="module")
def vllm(llama):
    sampler = Vllm(llama, device="cpu", max_num_seqs=64)
    yield sampler
    sampler.close()


@pytest.fixture(scope="module")
def hf(llama) -> Hf:
    return Hf(llama, device="cpu")


def evaluate(sampler, out: Path, tasks: str, **changes) -> Path:
    return runner.evaluate(
        runner.EvalConfig("tiny", parse(tasks), out, **changes), sampler, quiet=True
    )


def rows(folder: Path, task: str) -> dict[tuple[int, int], tuple]:
    found = list(read_jsonl(folder / "samples" / f"{task}.jsonl"))
    out = {
        (r["doc_id"], r["sample"]): (
            r["seed"],
            r["text"],
            r["finish"],
            r["prompt_tokens"],
            r["tokens"],
        )
        for r in found
    }
    assert len(out) == len(found), "no duplicates"
    return out


def same(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return sum(a[k] == b[k] for k in a) / len(a)


def asks(
    sampler,
    benchmark: str,
    n: int,
    samples: int,
    params: Sampling,
    seed: int = 0,
) -> list[Sample]:
    chats = [
        sampler.render(
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": p.question}]
        )
        for p in problems(benchmark)[:n]
    ]
    return [
        Sample(c, 1, params, seed=derive_seed(seed, benchmark, d, s))
        for d, c in enumerate(chats)
        for s in range(samples)
    ]


def draw(sampler, wanted: list[Sample]) -> dict[int, tuple]:
    out = {i: (t.text, t.finish, t.prompt_tokens, t.length) for i, t in sampler.draw(wanted)}
    assert out.keys() == set(range(len(wanted)))
    return dict(sorted(out.items()))


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_greedy_texts_are_those_of_our_sampler(family, vllm, hf):
    path = model_path(f"package:data/tiny_policies/{family}")
    theirs, ours = (
        (vllm, hf) if family == "llama" else (Vllm(path, device="cpu"), Hf(path, device="cpu"))
    )
    params = Sampling(0.0, 1.0, 96)
    share = same(
        draw(theirs, asks(theirs, "tiny_long", 60, 1, params)),
        draw(ours, asks(ours, "tiny_long", 60, 1, params)),
    )
    if theirs is not vllm:
        theirs.close()
    print(f"greedy, {family}: {share:.1%} of 60 texts, finishes and token counts equal")
    assert share >= 59 / 60


@pytest.mark.parametrize(("temperature", "top_p"), [(0.6, 0.95), (1.3, 1.0)])
def test_scores_at_a_temperature_are_those_of_our_sampler(temperature, top_p, vllm, hf, tmp_path):
    """Mean accuracy, mean length and truncation of 2 x 800 samples, each within 4 standard errors
    of no difference."""
    task = "tiny_mixed"
    folders = {
        name: evaluate(
            s,
            tmp_path,
            f"{task}:8",
            label={"method": name},
            sampling={"temperature": temperature, "top_p": top_p},
        )
        for name, s in (("vllm", vllm), ("hf", hf))
    }
    a, b = (read_eval(folders[n]).tasks[task] for n in ("vllm", "hf"))
    noise = (
        np.sqrt(sum((r.means * (1 - r.means)).sum() / 7 for r in (a, b))) / 100
    )  # of sampling alone: the questions are the same
    print(
        f"{task} at temperature {temperature}, 800 samples each: vllm {a.means.mean():.1%}, hf"
        f" {b.means.mean():.1%}, sampling error of the difference {noise:.2%}"
    )
    assert noise > 0
    assert abs(a.means.mean() - b.means.mean()) < 4 * noise
    tokens = [
        np.array([r[4] for r in rows(folders[n], task).values()], float) for n in ("vllm", "hf")
    ]
    error = np.sqrt(sum(t.var() / len(t) for t in tokens))
    print(
        f"mean tokens {tokens[0].mean():.2f} and {tokens[1].mean():.2f}, error {error:.2f};"
        f" truncated {a.truncated:.2%} and {b.truncated:.2%}"
    )
    assert abs(tokens[0].mean() - tokens[1].mean()) <= 4 * error
    assert abs(a.truncated - b.truncated) < 4 * np.sqrt(
        2 * max(a.truncated, b.truncated, 0.002) / 800
    )
    assert {k: (v[0], v[3]) for k, v in rows(folders["vllm"], task).items()} == {
        k: (v[0], v[3]) for k, v in rows(folders["hf"], task).items()
    }, "the same seeds and prompts"


def test_a_seed_fixes_its_text_whatever_is_drawn_beside_it(vllm):
    params = Sampling(0.8, 1.0, 96)
    wanted = asks(vllm, "tiny_mixed", 30, 8, params)
    first = draw(vllm, wanted)
    order = np.random.default_rng(0).permutation(len(wanted))
    shuffled = draw(vllm, [wanted[i] for i in order])
    alone = draw(vllm, wanted[:16])
    share = np.mean([shuffled[j] == first[i] for j, i in enumerate(order)])
    print(
        f"the same {len(wanted)} seeds in another order: {share:.1%} equal; in a small batch:"
        f" {np.mean([alone[i] == first[i] for i in alone]):.1%}"
    )
    assert share >= SAME
    assert same(alone, {i: first[i] for i in alone}) == 1.0
    other = draw(vllm, asks(vllm, "tiny_mixed", 30, 8, params, seed=1))
    assert np.mean([other[i][0] == first[i][0] for i in first]) < 0.9, (
        "another base seed draws other texts"
    )
    assert all(len({first[8 * d + s][0] for s in range(8)}) > 1 for d in range(5)), (
        "and so do the samples of a question"
    )


def test_limits_and_stops(vllm, hf):
    short = draw(vllm, asks(vllm, "tiny_long", 10, 1, Sampling(0.6, 0.95, 5)))
    assert {(t[1], t[3]) for t in short.values()} == {("length", 5)}
    stopped = draw(vllm, asks(vllm, "tiny_long", 10, 1, Sampling(0.0, 1.0, 96, ("\\boxed",))))
    assert all("\\boxed" not in t[0] and t[1] == "stop" for t in stopped.values())
    assert [t[0] for t in stopped.values()] == [
        t[0]
        for t in draw(
            hf, asks(hf, "tiny_long", 10, 1, Sampling(0.0, 1.0, 96, ("\\boxed",)))
        ).values()
    ]


def test_s8_20_vllm_refuses_what_does_not_fit_before_an_engine_starts(llama, tmp_path):
    sampler = Vllm(llama, device="cpu", max_model_len=100)
    with pytest.raises(UsageError, match="do not fit the model's context of 100 tokens"):
        evaluate(sampler, tmp_path, "tiny_long:2")
    assert sampler.pool is None
    assert not list(tmp_path.glob("*/*/samples/*"))
    with pytest.raises(
        UsageError,
        match=(
            r"max_model_len 2048 is more than the model's context of 1024"
            r" tokens.*engine\.hf_overrides\.max_position_embeddings=N"
        ),
    ):
        Vllm(llama, device="cpu", max_model_len=2048)


def test_s8_20_a_context_made_longer_takes_prompts_that_did_not_fit(llama, tmp_path):
    long = {"unique_id": "long", "problem": "1 + " * 700 + "1 = ?", "answer": "701"}
    (tmp_path / "long.jsonl").write_text(json.dumps(long))
    how = {
        "sampling": {"max_gen_toks": 16},
        "data": DataOptions({"sb_math500": str(tmp_path / "long.jsonl")}, accept_other_data=True),
    }
    with pytest.raises(
        UsageError,
        match=(
            r"1 of them fill the context alone and want a model with a longer context, or"
            r" --sampler-option engine\.hf_overrides"
        ),
    ):
        evaluate(Vllm(llama, device="cpu"), tmp_path / "a", "sb_math500:2", **how)
    sampler = Vllm(llama, device="cpu", engine={"hf_overrides": {"max_position_embeddings": 4096}})
    found = rows(evaluate(sampler, tmp_path / "b", "sb_math500:2", **how), "sb_math500")
    sampler.close()
    assert len(found) == 2 and all(
        1024 < prompt_tokens < 4096 and 0 < tokens <= 16
        for *_, prompt_tokens, tokens in found.values()
    ), found


def test_s8_05_two_engines_draw_what_one_draws(llama, vllm, tmp_path):
    one = rows(evaluate(vllm, tmp_path / "one", "tiny_short:4"), "tiny_short")
    sampler = Vllm(llama, device="cpu", max_num_seqs=16, workers=2)
    end = time.monotonic() + 300
    while (
        sampler.pool is None or len(sampler.pool.about) < 2
    ):  # one is ready first, and could draw all of so little alone
        assert time.monotonic() < end
        draw(sampler, asks(sampler, "tiny_short", 8, 1, Sampling(1.0, 1.0, 8)))
    before = sampler.pool.drawn.copy()
    two = rows(evaluate(sampler, tmp_path / "two", "tiny_short:4"), "tiny_short")
    shares = sampler.pool.drawn - before
    assert (
        sampler.fingerprint() == vllm.fingerprint() and len(shares) == 2 and shares.total() == 400
    ), shares
    sampler.close()
    assert {k: v[0] for k, v in one.items()} == {k: v[0] for k, v in two.items()}
    print(
        f"one engine and two, which drew {list(shares.values())}: {same(one, two):.2%} of"
        f" {len(one)} texts equal"
    )
    assert same(one, two) >= SAME


def stored(folder: Path) -> int:
    return sum(f.read_bytes().count(b"\n") for f in folder.glob("*/*/samples/*.jsonl"))


def test_kill_nine_twice_and_the_same_command_gives_the_same_table(tmp_path):
    def command(out: Path) -> list[str]:
        return [
            sys.executable,
            "-m",
            "sage_bench",
            "eval",
            "-m",
            "tiny-llama",
            "--sampler",
            "vllm",
            "-t",
            "tiny_mixed:8,tiny_long:8",
            "-o",
            str(out),
            "-q",
            "--device",
            "cpu",
            "--sampler-option",
            "max_num_seqs=64",
        ]

    def run(out: Path) -> Path:
        return Path(
            subprocess.run(
                command(out), capture_output=True, text=True, timeout=600, check=True
            ).stdout.split()[-1]
        )

    straight = run(tmp_path / "a")
    kept: dict[str, bytes] = {}
    for least in (100, 700):
        process = subprocess.Popen(
            command(tmp_path / "b"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while stored(tmp_path / "b") < least:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert stored(tmp_path / "b") < 1600
        for file in (tmp_path / "b").glob("*/*/samples/*.jsonl"):
            assert file.read_bytes().startswith(kept.get(file.name, b"")), (
                "a resumed run writes behind what was there"
            )
            kept[file.name] = file.read_bytes()
    folder = run(tmp_path / "b")
    shares = {t: same(rows(straight, t), rows(folder, t)) for t in ("tiny_mixed", "tiny_long")}
    counts = [v.count(b"\n") for v in kept.values()]
    print(
        f"killed the second time at {counts} rows; texts equal to those of the run without kills:"
        f" {shares}"
    )
    assert min(shares.values()) >= SAME
    for name in ("summary.csv", "per_question.csv"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()


def test_vllms_own_server_gives_the_texts_of_the_offline_engine(llama, vllm, tmp_path):
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        llama,
        "--served-model-name",
        "tiny",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--enforce-eager",
        "--max-num-seqs",
        "64",
        "--gpu-memory-utilization",
        "0.3",
        "--no-enable-chunked-prefill",
        "--max-num-batched-tokens",
        "8192",
        "--seed",
        "0",
    ]
    env = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        wait_until_up(server, f"http://127.0.0.1:{port}", tmp_path / "server.log")
        sampler = OpenAI("tiny", base_url=f"http://127.0.0.1:{port}/v1", seed_bits=63, parallel=32)
        there = rows(evaluate(sampler, tmp_path / "there", "tiny_short:4", limit=50), "tiny_short")
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # a session of its own: the engine's process goes too
        server.wait()
    here = rows(evaluate(vllm, tmp_path / "here", "tiny_short:4", limit=50), "tiny_short")
    print(
        f"vLLM's server and its offline engine: {same(there, here):.1%} of {len(here)} rows equal"
    )
    assert same(there, here) >= SAME


def wait_until_up(server: subprocess.Popen, url: str, log: Path) -> None:
    import httpx

    end = time.monotonic() + 300
    while True:
        assert server.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[
            -3000:
        ]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


def bare(llama: str, out: Path, *words: str) -> dict[str, float]:
    """tiny_short under lm-eval's own command and its own vLLM model: its results."""
    arguments = (
        f"pretrained={llama},dtype=float32,gpu_memory_utilization=0.3,enforce_eager=True,"
        "max_model_len=1024,enable_chunked_prefill=False,max_num_batched_tokens=8192"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lm_eval",
            "run",
            "--model",
            "vllm",
            "--model_args",
            arguments,
            "--tasks",
            "tiny_short",
            "--include_path",
            str(tasks_folder()),
            "--apply_chat_template",
            "--batch_size",
            "auto",
            "--output_path",
            str(out),
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(out.rglob("results_*.json")).read_text())["results"]["tiny_short"]


def test_bare_lm_eval_with_vllm_gives_the_same_score(llama, vllm, tmp_path):
    """lm-eval gives requests no seeds of their own: other texts, the same score within 4 standard
    errors."""
    theirs = bare(llama, tmp_path / "bare")["avg_at_n,all"]
    means = read_eval(evaluate(vllm, tmp_path / "ours", "tiny_short:4")).tasks["tiny_short"].means
    noise = np.sqrt(2 * (means * (1 - means)).sum() / 3) / 100
    print(
        f"tiny_short, 400 samples each: bare lm-eval {theirs:.1%}, ours {means.mean():.1%},"
        f" sampling error of the difference {noise:.2%}"
    )
    assert 0 < noise < 0.05
    assert abs(theirs - means.mean()) < 4 * noise


def test_bare_lm_eval_with_vllm_gives_the_same_number_greedily(llama, vllm, tmp_path):
    greedy = {"do_sample": False, "temperature": 0.0, "top_p": 1.0, "max_gen_toks": 96}
    theirs = bare(
        llama, tmp_path / "bare", "--gen_kwargs", ",".join(f"{k}={v}" for k, v in greedy.items())
    )
    ours = read_eval(evaluate(vllm, tmp_path / "ours", "tiny_short:1", sampling=greedy)).tasks[
        "tiny_short"
    ]
    print(
        f"tiny_short, greedy: bare lm-eval {theirs['avg_at_n,all']:.6%}, ours"
        f" {ours.means.mean():.6%}"
    )
    assert 0 < ours.means.mean() < 1
    assert theirs["avg_at_n,all"] == pytest.approx(ours.means.mean(), abs=1e-12)
    assert theirs["no_answer,all"] == pytest.approx(ours.no_answer, abs=1e-12)
