"""Who draws the samples: a fake, a server, processes over one queue, the local sampler. vLLM itself
is in test_vllm.py."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from echo_worker import __file__ as ECHO
from server import Server, completion

from sage_bench.config import models
from sage_bench.data.tiny_world import problems
from sage_bench.evaluation import runner
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.prompts import SYSTEM
from sage_bench.generation.registry import SAMPLERS
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.fake import Fake, wrong_answer
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.generation.samplers.vllm import Vllm, group_by_question, split_gpus
from sage_bench.generation.workers import Pool
from sage_bench.grading.registry import GRADERS
from sage_bench.reporting.runs import read_eval
from sage_bench.types import Completion, Sample, Sampling
from sage_bench.utils.errors import ModelError, PartialError, SageBenchError, UsageError
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.seeds import derive_seed


@pytest.fixture(scope="module")
def hf(packaged) -> Hf:
    return Hf(packaged)


def evaluate(
    sampler: Sampler, out: Path, tasks: str = "tiny_short:2", model: str = "model", **changes
) -> Path:
    return runner.evaluate(
        runner.EvalConfig(model, parse(tasks), out, **{"limit": 12, **changes}), sampler, quiet=True
    )


def rows(folder: Path, task: str = "tiny_short") -> list[dict]:
    return [
        {k: v for k, v in r.items() if k != "time"}
        for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
    ]


def test_all_samplers_are_registered_and_the_old_name_stays():
    assert {"hf", "local", "fake", "openai", "vllm"} <= set(SAMPLERS.names())
    assert SAMPLERS.get("local") is SAMPLERS.get("hf")
    assert SAMPLERS.get("local") is Hf


def test_a_name_finds_its_sampler(packaged):
    assert models.resolve("fake:0.25") == ("fake:0.25", "fake")
    assert models.resolve("tiny-llama", "hf") == (packaged, "hf") == models.resolve(packaged, "hf")
    assert models.resolve("some/model-of-a-server", "openai") == (
        "some/model-of-a-server",
        "openai",
    )
    with pytest.raises(ModelError, match="no such model folder"):
        models.resolve("./no/such/folder", "vllm")
    for sampler, options, said in (
        ("openai", {"base_ulr": "x"}, "base_url="),
        ("openai", {"base_url": "http://x/v1", "tires": 3}, "did you mean `tries`"),
        ("openai", {"base_url": "http://x/v1", "api_key": "k"}, "environment variable"),
        ("hf", {"devise": "cpu"}, "devise.*options: .*device"),
        ("fake", {"p": 1}, "options: "),
    ):
        with pytest.raises(UsageError, match=said):
            models.make("fake:0.5" if sampler == "fake" else "m", sampler, options)
    with pytest.raises(UsageError, match="did you mean `vllm`"):
        models.make("m", "vlm", {})


# --- fake:P


def test_the_fake_is_right_as_often_as_it_says(tmp_path):
    run = read_eval(evaluate(Fake("fake:0.7"), tmp_path, "tiny_short:16,tiny_long:16", limit=None))
    for task in run.tasks.values():
        assert abs(task.means.mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / 1600)
        # a tenth each of the 30 % that are wrong
        assert 0 < task.truncated < 0.1
        assert 0 < task.no_answer < 0.1


@pytest.mark.parametrize(("p", "mean"), [("0", 0.0), ("1", 1.0)])
def test_the_fake_at_its_ends(p, mean, tmp_path):
    assert (
        read_eval(evaluate(Fake(f"fake:{p}"), tmp_path)).tasks["tiny_short"].means.tolist()
        == [mean] * 12
    )


@pytest.mark.parametrize(
    "gold",
    [
        "12",
        "-3",
        "0",
        "B",
        "J",
        r"\frac{1}{2}",
        r"3\sqrt{13}",
        "[0,1)",
        r"\{1,2\}",
        "4.5e33",
        "x^2+1",
    ],
)
def test_the_fakes_wrong_answers_are_wrong_for_every_grader(gold):
    for name in GRADERS.names():
        texts = [f"So the answer is \\boxed{{{wrong_answer(gold, s)}}}." for s in range(4)]
        assert not any(v.correct for v in GRADERS.get(name)().grade(gold, texts)), name


@pytest.mark.parametrize("name", ["fake:", "fake:x", "fake:1.5", "fake:-0.1", "fake:nan"])
def test_a_fake_needs_an_accuracy(name):
    with pytest.raises(UsageError, match="fake:P"):
        Fake(name)


def test_only_a_sampler_that_wants_golds_sees_them(hf, tmp_path):
    seen = []

    class Watch(Fake):
        wants_gold = False

        def know(self, key, gold):
            seen.append(gold)

    evaluate(Watch("fake:0"), tmp_path)
    assert not seen
    Watch.wants_gold = True
    evaluate(Watch("fake:0"), tmp_path / "again")
    assert len(seen) == 24
    assert not hf.wants_gold
    assert not OpenAI.wants_gold
    assert not Vllm.wants_gold


# --- repeats and seeds


def test_s8_01_all_sixteen_repeats_reach_the_metric(tmp_path):
    """lm-eval #3297: its default filter scores the first repeat only."""
    folder = evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:16")
    results = json.loads((folder / "results.json").read_text())["results"]["tiny_short"]
    right = Counter(
        g["doc_id"] for g in read_jsonl(folder / "grades/tiny_short.robust.jsonl") if g["correct"]
    )
    assert results["avg_at_n,all"] == pytest.approx(sum(right.values()) / (12 * 16), abs=1e-12)
    assert {right[d] / 16 for d in range(12)} - {
        0.0,
        1.0,
    }, "some question is neither always right nor always wrong"
    assert read_eval(folder).tasks["tiny_short"].samples == 16


def test_s8_02_running_again_keeps_sixteen_distinct_samples(hf, tmp_path):
    """lm-eval #3046: its cache answers all repeats with one of them."""
    first = rows(evaluate(hf, tmp_path, "tiny_mixed:16", limit=3), "tiny_mixed")
    again = rows(evaluate(hf, tmp_path, "tiny_mixed:16", limit=3), "tiny_mixed")
    assert first == again
    assert len(first) == 48
    for doc in range(3):
        mine = [r for r in again if r["doc_id"] == doc]
        assert len({r["seed"] for r in mine}) == 16
        assert len({r["text"] for r in mine}) > 2


def test_s8_04_neighbouring_base_seeds_share_no_sample_seed(tmp_path):
    """vLLM gives child i of n samples the seed + i: runs with seeds 42 and 43 would share 15 of
    16."""
    seeds = [
        {
            r["seed"]
            for t in ("tiny_short", "tiny_long")
            for r in rows(
                evaluate(
                    Fake("fake:1"), tmp_path, "tiny_short:16,tiny_long:16", limit=None, seed=s
                ),
                t,
            )
        }
        for s in (42, 43)
    ]
    assert len(seeds[0]) == len(seeds[1]) == 3200
    assert not seeds[0] & seeds[1]


def test_what_http_seeds_are_cut_to_still_differs():
    for bits in (31, 53):
        cut = [
            derive_seed(b, "aime24", d, s) % (1 << bits)
            for b in (42, 43)
            for d in range(30)
            for s in range(16)
        ]
        assert len(set(cut)) == len(cut)


# --- processes over one queue


class Echo(Sampler):
    """The pool that `vllm` uses, over workers without an engine."""

    def __init__(self, logs: Path, workers: int, **config):
        self.pool = Pool(
            [sys.executable, ECHO],
            [config] * workers,
            [{}] * workers,
            logs=logs,
            name="echo",
            window=8,
        )
        self.by: Counter[int] = Counter()

    def render(self, messages):
        return json.dumps(messages)

    def draw(self, asks):
        for m in self.pool.run(group_by_question(asks, lambda p: [len(p)], limit=8)):
            self.by[m["pid"]] += 1
            yield (
                m["id"],
                Completion(
                    text=m["text"], finish=m["finish"], prompt_tokens=1, counted=m["tokens"]
                ),
            )

    def fingerprint(self):
        return {"sampler": "echo"}

    def close(self):
        self.pool.close()


def test_s8_05_one_shard_or_four_draw_the_same_samples(tmp_path):
    """vllm #11953: replicas with equal seeds and clones dealt out round-robin give correlated and
    duplicate samples."""
    stored = {}
    for workers in (1, 4):
        sampler = Echo(tmp_path / f"logs{workers}", workers, delay=0.002)
        while (
            len(sampler.pool.about) < workers
        ):  # the first that is ready could draw all of so little alone
            list(sampler.draw([Sample("warm", 1, Sampling(), seed=0)]))
        sampler.by.clear()
        stored[workers] = rows(evaluate(sampler, tmp_path / str(workers), "tiny_short:8", limit=40))
        sampler.close()
        assert len(sampler.by) == workers and min(sampler.by.values()) > 0, (
            "every worker drew something"
        )
    assert len(stored[4]) == len({(r["doc_id"], r["sample"]) for r in stored[4]}) == 320
    assert sorted(stored[1], key=str) == sorted(stored[4], key=str)


def test_all_samples_of_a_question_go_to_one_worker():
    asks = [
        Sample(f"q{d}", 1, Sampling(0.6, 0.95, 9), seed=10 * d + s)
        for d in range(3)
        for s in range(4)
    ]
    groups = group_by_question(asks, lambda p: [ord(c) for c in p], limit=4)
    assert [[n for n, _ in g["asks"]] for g in groups] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert groups[1]["prompt"] == [ord("q"), ord("1")]
    assert [len(g["asks"]) for g in group_by_question(asks, lambda p: [1], limit=3)] == [3, 1] * 3
    mixed = [*asks, Sample("q0", 1, Sampling(0.6, 0.95, 10), seed=99)]
    assert len(group_by_question(mixed, lambda p: [1], limit=4)) == 4, (
        "another max_tokens is another request"
    )


def test_a_dead_worker_is_an_error_with_its_log_and_what_was_drawn_is_kept(tmp_path):
    sampler = Echo(tmp_path / "logs", 2, delay=0.01, die_after=20)
    with pytest.raises(
        SageBenchError,
        match=r"(?s)ended with code -9.*out of memory, says the engine.*run the same command again",
    ):
        evaluate(sampler, tmp_path / "run", "tiny_short:8")
    sampler.close()
    folder = next((tmp_path / "run").glob("*/*"))
    kept = rows(folder)
    assert 20 <= len(kept) <= 40
    sampler = Echo(tmp_path / "logs", 2)
    evaluate(sampler, tmp_path / "run", "tiny_short:8")
    assert sum(sampler.by.values()) == 96 - len(kept)
    assert rows(folder)[: len(kept)] == kept
    assert len(rows(folder)) == 96
    sampler.close()


def test_a_worker_that_does_not_start_says_why(tmp_path):
    sampler = Echo(tmp_path / "logs", 1, broken=True)
    with pytest.raises(SageBenchError, match="echo worker 0: no such weights"):
        evaluate(sampler, tmp_path / "run")
    sampler.close()


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from sage_bench.generation.workers import Pool
from pathlib import Path
pool = Pool([sys.executable, {ECHO!r}], [{{"delay": 0.05, "pids": {str(tmp_path / "pids")!r}}}] * 2, [{{}}] * 2, logs=Path({str(tmp_path)!r}), name="echo", window=8)
for _ in pool.run([{{"asks": [[i, i]]}} for i in range(10000)]): pass
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    file = tmp_path / "pids"
    while not file.exists() or len(file.read_text().split()) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 20
    while alive := [p for p in file.read_text().split() if running(int(p))]:
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_gpus_are_dealt_out_and_nonsense_is_refused():
    assert split_gpus(["2", "5", "7"], 1, 2) == [["2"], ["5"]]
    assert split_gpus([], 1, None) == [[]]
    for gpus, tensor, workers in (
        (["0"], 2, None),
        (["0", "1"], 1, 3),
        (["0"], 1, 0),
        ([], 2, None),
        (["0"], 0, 1),
    ):
        with pytest.raises(UsageError, match="do not fit"):
            split_gpus(gpus, tensor, workers)


# --- prompts


def test_s8_20_a_prompt_that_does_not_fit_is_refused_before_anything_is_drawn(
    hf, tmp_path, monkeypatch
):
    """lm-eval cuts such a prompt on the left, in silence (Qwen2.5-Math has 4,096 positions and is
    asked for 8,192)."""
    monkeypatch.setattr(hf, "draw", lambda asks: pytest.fail("it was drawn"))
    with pytest.raises(
        UsageError,
        match=(
            rf"tiny_\w+, question \d+: 24 prompts do not fit the model's context of {hf.context}"
            r" tokens"
        ),
    ) as said:
        evaluate(hf, tmp_path, "tiny_short:2,tiny_long:2", sampling={"max_gen_toks": hf.context})
    fits = int(str(said.value).split("--max-tokens ")[1].split()[0])
    monkeypatch.undo()
    monkeypatch.setattr(
        hf, "draw", lambda asks: ((i, Completion(text="x", counted=1)) for i in range(len(asks)))
    )
    evaluate(hf, tmp_path, "tiny_short:2,tiny_long:2", sampling={"max_gen_toks": fits})
    with pytest.raises(UsageError, match="prompts do not fit"):
        evaluate(hf, tmp_path, "tiny_short:2,tiny_long:2", sampling={"max_gen_toks": fits + 1})
    lengths = sorted(
        hf.count(
            hf.render(
                [{"role": "system", "content": SYSTEM}, {"role": "user", "content": p.question}]
            )
        )
        for p in problems("tiny_long")[:12]
    )
    monkeypatch.setattr(
        hf, "context", lengths[-3]
    )  # three prompts or more fill it without any completion
    alone, room = (
        sum(n >= lengths[-3] for n in lengths),
        lengths[-3] - max(n for n in lengths if n < lengths[-3]),
    )
    with pytest.raises(
        UsageError,
        match=(
            rf"Remedy: {alone} of them fill the context alone and want a model with a longer"
            rf" context; --max-tokens {room} fits the others"
        ),
    ):
        evaluate(hf, tmp_path / "short", "tiny_long:1")


def test_s8_21_without_a_chat_template_an_instruct_prompt_is_refused(packaged, tmp_path):
    """Plain text is a choice (`--chat-template none`), never a fallback."""
    bare = tmp_path / "bare"
    shutil.copytree(packaged, bare)
    (bare / "chat_template.jinja").rename(tmp_path / "mine.jinja")
    with pytest.raises(ModelError, match=r"no chat template.*--chat-template none"):
        Hf(str(bare))
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    plain, own = (
        Hf(str(bare), chat_template="none"),
        Hf(str(bare), chat_template=str(tmp_path / "mine.jinja")),
    )
    assert plain.render(chat) == "S\n\nU\n"
    assert own.render(chat) == Hf(packaged).render(chat) != plain.render(chat)
    assert (
        plain.fingerprint()["template"]
        != own.fingerprint()["template"]
        == Hf(packaged).fingerprint()["template"]
    )
    with pytest.raises(UsageError, match="no such chat template"):
        Hf(str(bare), chat_template="chatml")


def test_vllm_where_it_is_not_installed_says_what_to_do(packaged):
    try:
        import vllm
    except ImportError:
        with pytest.raises(UsageError, match=r"sage-bench\[vllm\].*vllm_cpu_env\.sh"):
            Vllm(packaged)
    else:
        assert Vllm(packaged).context == Hf(packaged).context


# --- a server


def openai(server: Server, **options) -> OpenAI:
    return OpenAI(
        "the-model", base_url=server.url, **{"parallel": 8, "tries": 3, "pause": 0.01, **options}
    )


def serve_policy(hf: Hf):
    """The packaged policy behind HTTP: chats in, its own texts out."""
    import threading

    lock = threading.Lock()

    def answer(body, number):
        ask = Sample(
            hf.render(body["messages"]),
            1,
            Sampling(body["temperature"], body["top_p"], body["max_tokens"]),
            seed=body["seed"],
        )
        with lock:
            ((_, drawn),) = hf.draw([ask])
        return 200, completion(drawn.text, drawn.finish) | {
            "usage": {"prompt_tokens": drawn.prompt_tokens, "completion_tokens": drawn.length}
        }

    return answer


def test_a_policy_behind_a_server_is_the_policy(hf, tmp_path):
    with Server(serve_policy(hf)) as server:
        there = rows(evaluate(openai(server, seed_bits=63), tmp_path / "there", "tiny_short:4"))
    here = rows(evaluate(hf, tmp_path / "here", "tiny_short:4"))
    assert len(there) == len(here) == 48

    def by_key(stored):
        return {
            (r["doc_id"], r["sample"]): (
                r["seed"],
                r["text"],
                r["finish"],
                r["prompt_tokens"],
                r["tokens"],
            )
            for r in stored
        }

    same = sum(by_key(there)[k] == v for k, v in by_key(here).items())
    assert same >= 47, "the same seeds draw the same texts, but for the numerics of another batch"


def test_the_body_of_a_call_says_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with Server(lambda body, n: (200, completion("\\boxed{1}", "length"))) as server:
        folder = evaluate(
            openai(server, key_env="MY_KEY", body={"min_p": 0.1}), tmp_path, "tiny_short:3", limit=2
        )
    assert len(server.calls) == 6
    assert {p for p, _, _ in server.calls} == {"/v1/chat/completions"}
    bodies = [b for _, b, _ in server.calls]
    assert {k: bodies[0][k] for k in ("model", "max_tokens", "temperature", "top_p", "min_p")} == {
        "model": "the-model",
        "max_tokens": 96,
        "temperature": 0.6,
        "top_p": 0.95,
        "min_p": 0.1,
    }
    assert [m["role"] for m in bodies[0]["messages"]] == ["system", "user"]
    assert all(0 <= b["seed"] < 2**53 for b in bodies)
    assert len({b["seed"] for b in bodies}) == 6
    assert {h["Authorization"] for _, _, h in server.calls} == {"Bearer sk-very-secret"}
    assert {(r["finish"], r["prompt_tokens"], r["tokens"]) for r in rows(folder)} == {
        ("length", 11, 5)
    }
    written = "".join(f.read_text(errors="replace") for f in folder.rglob("*") if f.is_file())
    assert "sk-very-secret" not in written
    assert len(list(read_jsonl(folder / "openai_calls.jsonl"))) == 6


def test_equal_bodies_are_separate_calls(tmp_path):
    """Without seeds all calls of a question are equal: a cache would make sixteen copies of one
    sample (lm-eval #3046)."""
    with Server(lambda body, n: (200, completion(f"\\boxed{{{n}}}"))) as server:
        stored = rows(evaluate(openai(server, seed_bits=0), tmp_path, "tiny_short:16", limit=1))
    assert "seed" not in server.calls[0][1]
    assert len({r["text"] for r in stored}) == 16


def test_bad_moments_of_a_server_are_waited_out(tmp_path):
    tries: Counter[int] = Counter()

    def answer(body, n):
        tries[body["seed"]] += 1
        if tries[body["seed"]] == 1:
            return [
                (429, "slow down"),
                (500, "oops"),
                (503, ""),
                (200, "<html>not json"),
                (200, {"choices": []}),
            ][n % 5]
        return 200, completion("\\boxed{7}")

    with Server(answer) as server:
        folder = evaluate(openai(server), tmp_path, "tiny_short:4")
    assert len(rows(folder)) == 48
    assert set(tries.values()) == {2}
    assert server.most <= 8
    calls = list(read_jsonl(folder / "openai_calls.jsonl"))
    assert Counter(c["status"] for c in calls)["ok"] == 48
    assert len(calls) == 96


def test_a_slow_answer_is_a_timeout_and_asked_again(tmp_path):
    slow = []

    def answer(body, n):
        if n == 0:
            slow.append(body["seed"])
            time.sleep(1.5)
        return 200, completion("\\boxed{7}")

    with Server(answer) as server:
        folder = evaluate(openai(server, timeout=0.5), tmp_path, "tiny_short:2", limit=2)
    assert len(rows(folder)) == 4
    assert "timeout" in {c["status"] for c in read_jsonl(folder / "openai_calls.jsonl")}


def test_what_cannot_be_had_is_missing_and_only_that_is_asked_again(tmp_path):
    bad = {"on": True}

    def answer(body, n):
        return (
            (400, {"error": "this prompt is too long"})
            if bad["on"] and body["seed"] % 3 == 0
            else (200, completion("\\boxed{7}"))
        )

    with Server(answer) as server:
        with pytest.raises(
            PartialError, match=r"samples could not be drawn: http 400 .*too long.* \(x\d+\)"
        ) as said:
            evaluate(openai(server), tmp_path, "tiny_short:4")
        folder = Path(str(said.value.where))
        kept = rows(folder)
        assert said.value.exit_code == 3
        assert 0 < len(kept) < 48
        assert read_eval(folder).tasks["tiny_short"].status == f"partial {len(kept)}/48", (
            "what is there is graded and called partial"
        )
        bad["on"] = False
        before = len(server.calls)
        assert evaluate(openai(server), tmp_path, "tiny_short:4") == folder
        assert len(server.calls) - before == 48 - len(kept)
        assert read_eval(folder).tasks["tiny_short"].status == "ok"


@pytest.mark.parametrize(
    ("status", "said"), [(401, "the key is not accepted"), (404, "no such model")]
)
def test_a_server_that_refuses_us_ends_the_run_at_once(status, said, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-123456")
    with (
        Server(lambda body, n: (status, "bad key sk-123456")) as server,
        pytest.raises(UsageError, match=f"{said}.*OPENAI_API_KEY") as error,
    ):
        evaluate(openai(server), tmp_path, "tiny_short:16,tiny_long:16", limit=None)
    assert len(server.calls) <= 24
    assert "sk-123456" not in str(error.value)


def test_a_server_that_answers_nobody_ends_the_run_early(tmp_path):
    with (
        Server(lambda body, n: (500, "down")) as server,
        pytest.raises(
            SageBenchError, match="16 calls in a row failed, the last with: http 500 down"
        ),
    ):
        evaluate(openai(server), tmp_path, "tiny_short:16,tiny_long:16", limit=None)
    assert len(server.calls) < 3 * (16 + 2 * 8)


def test_no_server_at_all_and_a_wrong_address(tmp_path):
    with pytest.raises(UsageError, match="base_url"):
        OpenAI("m")
    with pytest.raises(UsageError, match=r"openai: base_url: .*https\?://"):
        OpenAI("m", base_url="localhost:8000")
    sampler = OpenAI("m", base_url="http://127.0.0.1:9/v1", tries=1, parallel=2)
    with pytest.raises(SageBenchError, match=r"4 calls in a row failed.*ConnectError"):
        evaluate(sampler, tmp_path)


def test_s8_19_truncated_thinking_is_no_answer_and_is_counted(tmp_path):
    """lm-eval #3382: a completion cut off while thinking is no answer; lm-eval #3400: and the table
    says how many there were."""

    def answer(body, n):
        if body["seed"] % 2:
            return 200, completion(None, "length", reasoning_content="I begin with 3+4=7 and then")
        return 200, completion("\\boxed{7}", "stop", reasoning_content="thought")

    with Server(answer) as server:
        folder = evaluate(openai(server), tmp_path, "tiny_short:4")
    stored = {(r["doc_id"], r["sample"]): r for r in rows(folder)}
    cut = {k for k, r in stored.items() if r["finish"] == "length"}
    assert 0 < len(cut) < 48
    assert all(
        stored[k]["text"].startswith("<think>") and "</think>" not in stored[k]["text"] for k in cut
    )
    assert all("</think>\n\n\\boxed{7}" in r["text"] for k, r in stored.items() if k not in cut)
    grades = {
        (g["doc_id"], g["sample"]): g for g in read_jsonl(folder / "grades/tiny_short.robust.jsonl")
    }
    assert not any(grades[k]["correct"] for k in cut)
    assert all(grades[k]["status"] != "ok" for k in cut)
    result = read_eval(folder).tasks["tiny_short"]
    assert result.truncated == pytest.approx(len(cut) / 48) == pytest.approx(result.no_answer)


def test_with_a_tokenizer_the_template_is_applied_here(packaged, hf, tmp_path):
    with Server(
        lambda body, n: (200, {"choices": [{"text": "\\boxed{7}", "finish_reason": "stop"}]})
    ) as server:
        sampler = openai(server, tokenizer=packaged, context=hf.context)
        evaluate(sampler, tmp_path, "tiny_short:1", limit=2)
        path, body, _ = server.calls[0]
        assert path == "/v1/completions"
        assert body["prompt"].startswith(hf.render([{"role": "system", "content": "x"}])[:5])
        assert body["add_special_tokens"] is False
        assert sampler.count(body["prompt"]) == hf.count(body["prompt"]) > 5
        with pytest.raises(UsageError, match="do not fit"):
            evaluate(
                sampler, tmp_path, "tiny_short:1", limit=2, sampling={"max_gen_toks": hf.context}
            )


def test_a_text_that_is_no_unicode_is_stored_all_the_same(tmp_path):
    with Server(
        lambda body, n: (
            200,
            (
                '{"choices": [{"message": {"content": "\\ud83d \\\\boxed{7}"}, "finish_reason":'
                ' "stop"}]}'
            ),
        )
    ) as server:
        stored = rows(evaluate(openai(server), tmp_path, "tiny_short:1", limit=1))
    assert stored[0]["text"] == "? \\boxed{7}"


def test_a_sampler_that_forgets_a_sample_is_caught(tmp_path):
    class Forgetful(Fake):
        def draw(self, asks):
            return (x for x in super().draw(asks) if x[0] % 5)

    with pytest.raises(
        PartialError, match="5 of 24 samples could not be drawn: the sampler gave no text"
    ):
        evaluate(Forgetful("fake:0.5"), tmp_path)


def test_a_failed_sample_is_not_a_row(tmp_path):
    class Broken(Fake):
        def draw(self, samples):
            return ((i, Completion(failed="timeout")) for i in range(len(samples)))

    with pytest.raises(PartialError, match=r"timeout \(x24\)") as said:
        evaluate(Broken("fake:0.5"), tmp_path)
    assert not rows(Path(str(said.value.where)))


def test_the_command_line_takes_a_fake_and_options(tmp_path):
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "sage_bench", "eval", "-o", str(tmp_path), "-q", *words],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    done = run("-m", "fake:0.5", "-t", "tiny_short:2", "-L", "5")
    assert done.returncode == 0 and Path(done.stdout.split()[-1]).parent.name == "fake-0.5", (
        done.stderr
    )
    done = run("-m", "fake:0.5", "-t", "tiny_short", "--sampler-option", "colour=red")
    assert done.returncode == 2
    assert "colour" in done.stderr
    assert "options:" in done.stderr
