"""Whole runs with a judge or teacher that misbehaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from chat_server import ChatServer, chat

from sage_bench.utils.files import read_jsonl

KEY = "sk-very-secret-0123"
SMALL = [
    # the first steps of the preset's warm-up hardly move the weights
    "optim.warmup_steps=0",
    "train.prompts_per_step=8",
    "method.group_size=4",
    "sampling.max_tokens=48",
    "validation.limit=4",
    "train.steps=4",
    "train.save_every=2",
    "log.tensorboard=false",
]


def train(folder: Path, backend: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "sage_bench",
        "train",
        "--backend",
        backend,
        "--model",
        "tiny-llama",
        "--data",
        "tiny",
        "--out",
        str(folder),
        "-q",
        *SMALL,
        *words,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**os.environ, **env}
    )


def misbehaving(n, body):
    """A third of the questions is answered well, a third only after some trouble, and in a third
    each response has its own fate, so that one of a group fails for good beside others that are
    judged. Nothing of it depends on the order of calls but the transient trouble.
    """
    user = body["messages"][1]["content"]
    question, response = user.split("Reference solution:")[0], user.split("Response:")[1]
    kind, fate = crc32(question.encode()) % 3, crc32(response.encode()) % 8
    if kind == 0 and fate < 3:
        return [("wait", 1.5), 401, chat("I would say it looks fine to me.")][fate]
    if kind == 1 and n % 3 == 0:
        return [b"<html>", (429, {"Retry-After": "0"}), 500, chat("{first_error: one}")][n // 3 % 4]
    return chat(json.dumps({"steps": [], "first_error": 1 + fate % 4, "why": "so"}))


@pytest.mark.slow
def test_training_goes_on_with_a_judge_that_times_out_talks_nonsense_and_refuses(tmp_path):
    options = (
        "{base_url: %s, model: m, key_env: JUDGE_KEY, timeout: 0.5, tries: 3, pause: 0.02, prices:"
        " [1.0, 2.0]}"
    )
    with ChatServer(misbehaving) as server:
        words = [
            "method.judge=openai",
            f"method.judge_options={options % server.url}",
            "method.judge_share=1",
            "sampling.max_tokens=96",
            "method.group_size=8",
        ]
        done = train(tmp_path / "run", "sgpo", *words, JUDGE_KEY=KEY)
        asked = len(server.requests)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"
    assert (tmp_path / "run/checkpoints/step_000004/model.safetensors").exists()
    calls, rows, metrics = (
        list(read_jsonl(tmp_path / f"run/{name}.jsonl"))
        for name in ("judge_calls", "ledger", "metrics")
    )
    show(calls, rows)
    # every request that reached the server stands in the ledger of calls, and each kind of trouble
    # is named
    kinds = Counter(r["status"] for r in calls)
    assert (
        0 <= len(calls) - kinds["cached"] - kinds["not tried"] - asked <= kinds["timeout"]
    )  # some time out before the server has read them
    assert {"ok", "timeout", "http 401"} <= set(kinds)
    assert kinds.keys() & {
        "garbage (JSONDecodeError)",
        "http 429",
        "http 500",
    }
    assert all(
        r["cost"] == pytest.approx((100 * 1.0 + 20 * 2.0) / 1e6)
        for r in calls
        if r["status"] == "ok"
    )
    assert all(r["attempt"] <= 3 for r in calls if "attempt" in r)
    # what happened to the groups: all of one that fails are judged, or none
    judged, failed = (
        [r for r in rows if r["events"].get("judged")],
        [r for r in rows if r["events"].get("judge_failed")],
    )
    assert judged
    assert failed
    assert not [r for r in rows if r["events"].get("judged") and r["events"].get("judge_failed")]
    for row in judged:
        assert row["plain_reward"] == 0
        assert len(row["scores"]) == 8 == row["events"]["judged"]
        assert all(0 < s < 1 for s in row["scores"])
        assert row["outcome"] == ("graded" if len(set(row["scores"])) > 1 else "dead_wrong")
        assert row["judge_calls"] >= 8
    for row in failed:
        assert "scores" not in row
        assert row["outcome"] == "dead_wrong"
        assert row["trained_tokens"] == 0
        assert (
            row["events"].get("judge_call_failed", 0) + row["events"].get("judge_unparsable", 0) > 0
        )
    lost = [
        r["events"].get("judge_call_failed", 0) + r["events"].get("judge_unparsable", 0)
        for r in failed
    ]
    assert min(lost) < 8, "no group had a judged response beside one that was not"
    assert all("scores" not in r and not r["judge_calls"] for r in rows if r["plain_reward"])
    assert any(r["outcome"] == "graded" for r in judged)
    assert len(judged) + len(failed) == sum(r["plain_reward"] == 0 for r in rows)
    for event in ("judge_failed", "judge_call_failed", "judge_unparsable"):
        total = sum(r["events"].get(event, 0) for r in rows)
        assert total > 0 and total == sum(m.get(f"events/{event}", 0) for m in metrics), event
    assert not [
        f
        for f in (tmp_path / "run").rglob("*")
        if f.is_file() and f.suffix != ".safetensors" and KEY in f.read_text(errors="ignore")
    ]
    assert KEY not in done.stderr + done.stdout


def show(calls: list[dict], rows: list[dict]) -> None:
    """The excerpt a reader wants (`pytest -s`)."""
    print(
        f"\n{len(calls)} tries:",
        dict(Counter(r["status"] for r in calls)),
        f"cost {sum(r['cost'] for r in calls):.6f}",
    )
    events: Counter[str] = Counter()
    for r in rows:
        events.update(r["events"])
    print(
        f"{len(rows)} groups:", dict(Counter(r["outcome"] for r in rows)), "events:", dict(events)
    )
    for r in [
        *[r for r in rows if r["events"].get("judged")][:2],
        *[r for r in rows if r["events"].get("judge_failed")][:3],
    ]:
        print(
            {
                k: r[k]
                for k in (
                    "step",
                    "uid",
                    "outcome",
                    "reward",
                    "trained_tokens",
                    "judge_calls",
                    "scores",
                    "events",
                )
                if k in r
            }
        )


@pytest.mark.slow
def test_the_same_run_again_in_another_folder_needs_no_call_with_a_shared_cache(tmp_path):
    cache = tmp_path / "cache.jsonl"

    def good(n, body):
        letters = sum(map(ord, body["messages"][1]["content"]))
        return chat(json.dumps({"first_error": 1 + letters % 4}))

    with ChatServer(good) as server:
        words = [
            "method.judge=openai",
            f"method.judge_options={{base_url: {server.url}, model: m, cache: {cache}}}",
            "method.judge_share=1",
            "train.steps=2",
        ]
        assert train(tmp_path / "a", "sgpo", *words).returncode == 0
        asked = len(server.requests)
        assert asked
        assert train(tmp_path / "b", "sgpo", *words).returncode == 0
        assert len(server.requests) == asked
    assert (tmp_path / "a/checkpoints/step_000002/model.safetensors").read_bytes() == (
        tmp_path / "b/checkpoints/step_000002/model.safetensors"
    ).read_bytes()
    assert {r["status"] for r in read_jsonl(tmp_path / "b/judge_calls.jsonl")} == {"cached"}


@pytest.mark.slow
def test_hint_takes_its_hints_from_a_teacher_that_fails_now_and_then(tmp_path):
    def script(n, body):
        question = body["messages"][1]["content"].split("Solution:")[0]
        fate = sum(map(ord, question)) % 4
        return [
            500,
            chat(""),
            chat("the answer is 123456789"),
            chat("Go from left to right and keep the last digit of every result."),
        ][fate]

    with ChatServer(script) as server:
        words = [
            "method.hint_source=teacher",
            "method.leak_check=true",
            f"method.teacher_options={{base_url: {server.url}, model: t, tries: 2, pause: 0.01}}",
            "train.steps=2",
        ]
        done = train(tmp_path / "run", "hint", *words)
        assert done.returncode == 0 and server.requests, done.stderr
    rows, calls = (
        list(read_jsonl(tmp_path / "run/ledger.jsonl")),
        list(read_jsonl(tmp_path / "run/teacher_calls.jsonl")),
    )
    assert {"ok", "http 500"} <= {r["status"] for r in calls}
    hinted, failed, leaking = (
        [r for r in rows if f(r)]
        for f in (
            lambda r: r["level"],
            lambda r: r["events"].get("hint_failed"),
            lambda r: r["events"].get("hint_new_numbers"),
        )
    )
    assert hinted
    assert failed
    assert leaking
    assert not any(r["level"] for r in failed + leaking)
    assert all(r["hint_calls"] == 1 and r["rollouts"] == 8 for r in hinted)


@pytest.mark.slow
def test_judge_eval_with_an_endpoint_abstains_where_it_must_and_asks_nobody_twice(tmp_path):
    file = tmp_path / "steps.jsonl"
    file.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"s-{i}",
                    "problem": f"question {i}?",
                    "steps": ["a", "b", "c"],
                    "label": i % 4 - 1,
                }
            )
            + "\n"
            for i in range(8)
        )
    )

    def script(n, body):
        i = int(body["messages"][1]["content"].split("question ")[1][0])
        if i == 5:
            return 403
        return chat("hm" if i == 6 else json.dumps({"first_error": i % 4 or None}))

    with ChatServer(script) as server:
        command = [
            sys.executable,
            "-m",
            "sage_bench",
            "judge-eval",
            "--judge",
            "openai",
            f"base_url={server.url}",
            "model=m",
            str(file),
            "--out",
            str(tmp_path / "o"),
            "-q",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        asked = len(server.requests)
        again = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert len(server.requests) == asked == 9  # eight rows, and the unreadable one once more
    assert done.returncode == 0 and again.stdout == done.stdout, done.stderr
    rows = list(read_jsonl(tmp_path / "o/judgements.jsonl"))
    assert [r["judgement"] for r in rows] == [-1, 0, 1, 2, -1, None, None, 2]
    assert [r["events"] for r in rows[5:7]] == [{"judge_call_failed": 1}, {"judge_unparsable": 1}]
    (part,) = json.loads((tmp_path / "o/summary.json").read_text())["parts"]
    assert (part["judged"], part["abstained"], part["exact"], part["calls"]) == (6, 2, 0.75, 9)
