"""The sampler that draws from a server."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from evaluating import evaluate, rows
from server import Server, completion

from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.reporting.runs import read_eval
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import PartialError, SageBenchError, UsageError
from sage_bench.utils.files import read_jsonl


@pytest.fixture(scope="module")
def hf(packaged) -> Hf:
    return Hf(packaged)


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
