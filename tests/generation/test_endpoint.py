"""The endpoint against a real server that misbehaves: retries, cache, ledger, secrets; and whole
training runs on top of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import pytest
from chat_server import GOOD, ChatServer, chat
from scripted import ScriptedEngine, context, problem

from sage_bench.backends.hint.prompts import meta_hint_messages
from sage_bench.backends.hint.teacher import Teacher
from sage_bench.generation.endpoint import endpoint
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.driver import drive
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl

KEY = "sk-very-secret-0123"


def ask(server: ChatServer, folder: Path | None, payloads: list[dict], **options):
    """(replies, ledger rows) of one round."""
    made = endpoint({"base_url": server.url, "pause": 0.01, "timeout": 20, **options}, name="judge")
    made.open(folder)
    replies = made.answer(payloads)
    return replies, list(read_jsonl(folder / "judge_calls.jsonl")) if folder else []


def in_turn(*replies):
    return lambda n, body: replies[min(n, len(replies) - 1)]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (("wait", 3.0), "timeout"),
        (b"<html>busy</html>", "garbage (JSONDecodeError)"),
        (b'{"choices": [', "garbage (JSONDecodeError)"),
        ({"error": "no"}, "garbage (KeyError)"),
        ({"choices": []}, "garbage (IndexError)"),
        ([1], "garbage (TypeError)"),
        (b"\xff\xfe\x00", "garbage (UnicodeDecodeError)"),
        (b"[" * 100_000, "garbage (RecursionError)"),
        (chat(None), "garbage (content is NoneType)"),
        (500, "http 500"),
        (503, "http 503"),
        ((429, {"Retry-After": "0"}), "http 429"),
        ("hang up", "RemoteProtocolError: Server disconnected without sending a response."),
    ],
)
def test_what_may_pass_is_tried_again(bad, status, tmp_path):
    with ChatServer(in_turn(bad, chat("fine"))) as server:
        replies, rows = ask(
            server, tmp_path, [{"messages": []}], timeout=0.5 if status == "timeout" else 20
        )
    assert replies == ["fine"]
    assert [(r["status"], r["attempt"], r["gave_up"]) for r in rows] == [
        (status, 1, False),
        ("ok", 2, False),
    ]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_will_not_pass_is_not_tried_again(status, tmp_path, capsys):
    with ChatServer(in_turn(status)) as server:
        replies, rows = ask(server, tmp_path, [{"n": 1}, {"n": 2}])
    assert replies == [None, None]
    assert [(r["status"], r["attempt"], r["gave_up"]) for r in rows] == [
        (f"http {status}", 1, True)
    ] * 2
    assert capsys.readouterr().err.count(f"a call failed for good (http {status})") == 1


def test_tries_end_and_the_back_off_doubles(tmp_path):
    with ChatServer(in_turn(500)) as server:
        replies, rows = ask(server, tmp_path, [{}], tries=4, pause=0.1)
        times = [r["time"] for r in server.requests]
    assert replies == [None]
    assert [r["gave_up"] for r in rows] == [False, False, False, True]
    gaps = [b - a for a, b in pairwise(times)]
    assert all(gap >= want for gap, want in zip(gaps, (0.1, 0.2, 0.4), strict=True)), gaps


def test_retry_after_is_honoured_up_to_the_timeout(tmp_path):
    with ChatServer(
        in_turn((429, {"Retry-After": "1"}), (429, {"Retry-After": "3600"}), chat("fine"))
    ) as server:
        replies, _ = ask(server, tmp_path, [{}], timeout=1.2)
        times = [r["time"] for r in server.requests]
    assert replies == ["fine"]
    assert times[1] - times[0] >= 1.0
    assert 1.2 <= times[2] - times[1] < 60


def test_nobody_listens(tmp_path):
    with ChatServer(in_turn(chat("x"))) as server:
        url = server.url
    made = endpoint({"base_url": url, "tries": 2, "pause": 0.0}, name="judge")
    made.open(tmp_path)
    assert made.answer([{}]) == [None]
    rows = list(read_jsonl(tmp_path / "judge_calls.jsonl"))
    assert [r["attempt"] for r in rows] == [1, 2]
    assert all(r["status"].startswith("ConnectError") for r in rows)


def test_a_dead_server_is_given_up_on_for_the_rest_of_a_round(tmp_path):
    with ChatServer(in_turn(500)) as server:
        made = endpoint(
            {"base_url": server.url, "tries": 2, "pause": 0.0, "parallel": 1, "patience": 3},
            name="judge",
        )
        made.open(tmp_path)
        assert made.answer([{"n": i} for i in range(10)]) == [None] * 10
        assert len(server.requests) == 6
        server.script = in_turn(chat("back"))
        assert (
            made.answer([{"n": i} for i in range(10)]) == ["back"] * 10
        )  # the next round tries again
    assert Counter(r["status"] for r in read_jsonl(tmp_path / "judge_calls.jsonl")) == {
        "http 500": 6,
        "not tried": 7,
        "ok": 10,
    }


def test_calls_run_in_parallel_and_replies_keep_their_order(tmp_path):
    def script(n, body):
        time.sleep(0.4)
        return chat(f"reply to {body['n']}")

    with ChatServer(script) as server:
        began = time.monotonic()
        replies, rows = ask(server, tmp_path, [{"n": i % 12} for i in range(24)], parallel=6)
        took = time.monotonic() - began
        # equal payloads are asked once
        assert server.most_at_once >= 2
        assert len(server.requests) == 12 == len(rows)
    # at most six at once need two rounds; the server's own count can be ahead by replies that are
    # on their way
    assert replies == [f"reply to {i % 12}" for i in range(24)]
    assert 2 * 0.4 <= took < 12 * 0.4


def test_the_second_run_makes_no_calls(tmp_path):
    with ChatServer(in_turn(chat("fine"))) as server:
        ask(server, tmp_path, [{"n": i} for i in range(3)])
        replies, rows = ask(server, tmp_path, [{"n": i} for i in range(3)])
        assert replies == ["fine"] * 3
        assert len(server.requests) == 3
        assert [r["status"] for r in rows] == ["ok"] * 3 + ["cached"] * 3
        ask(server, tmp_path, [{"n": 0}], body={"top_p": 0.5})  # another request
        assert len(server.requests) == 4
        assert server.requests[-1]["body"] == {"n": 0, "top_p": 0.5}
        other = tmp_path / "elsewhere" / "cache.jsonl"
        for folder in (tmp_path / "a", tmp_path / "b"):  # a cache shared by runs
            ask(server, folder, [{"n": 9}], cache=str(other))
        assert len(server.requests) == 5
        assert not (tmp_path / "a/judge_cache.jsonl").exists()
        with (tmp_path / "judge_cache.jsonl").open("a") as file:
            file.write('{"key": "torn')  # killed while it wrote
        replies, _ = ask(server, tmp_path, [{"n": 1}, {"n": 77}])
        assert replies == ["fine", "fine"]
        assert len(server.requests) == 6


def test_the_ledger_says_tokens_seconds_and_cost(tmp_path):
    def script(n, body):
        time.sleep(0.05)
        return (
            chat(
                "x",
                **[{}, {"prompt_tokens": None}, {"prompt_tokens": "many", "completion_tokens": -3}][
                    n % 3
                ],
            )
            if n < 3
            else {**chat("x"), "usage": [1]}
        )

    with ChatServer(script) as server:
        _, rows = ask(
            server, tmp_path, [{"n": i} for i in range(4)], prices=[2.0, 10.0], parallel=1
        )
    assert [(r["prompt_tokens"], r["completion_tokens"], r["cost"]) for r in rows] == [
        (100, 20, pytest.approx(400e-6)),
        (0, 20, pytest.approx(200e-6)),
        (0, 0, 0),
        (0, 0, 0),
    ]
    assert all(0.05 <= r["seconds"] < 5 and abs(r["time"] - time.time()) < 60 for r in rows)
    assert len({r["key"] for r in rows}) == 4


def test_the_key_is_sent_and_never_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer(in_turn(401, chat("fine"))) as server:
        ask(server, tmp_path, [{}], key_env="MY_KEY")
        ask(server, tmp_path, [{}], key_env="MY_KEY")
        assert [r["headers"]["Authorization"] for r in server.requests] == [f"Bearer {KEY}"] * 2
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        ask(server, tmp_path, [{"n": 1}])
        assert "Authorization" not in server.requests[-1]["headers"]
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and KEY in f.read_text()]
    assert KEY not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:8000"}, "judge: base_url"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "judge: base_url"),
        ({"base_url": "http://x/v1", "tries": 0}, "judge: tries"),
        ({"base_url": "http://x/v1", "timeout": "soon"}, "judge: timeout"),
        ({"base_url": "http://x/v1", "prices": [1]}, "judge: prices"),
        ({"base_url": "http://x/v1", "parralel": 3}, "did you mean `parallel`"),
        ({"base_url": "http://x/v1", "api_key": KEY}, "environment variable that `key_env` names"),
        (
            {"base_url": "http://x/v1", "key_env": "NO_SUCH_VARIABLE"},
            "`NO_SUCH_VARIABLE` is not set",
        ),
    ],
)
def test_wrong_options_name_themselves_and_no_secret(options, said):
    with pytest.raises(UsageError) as caught:
        JUDGES.make("openai", {"model": "m", **options}, "method.judge_options")
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_judge_without_its_address_is_a_usage_error(renderer):
    with pytest.raises(UsageError, match="base_url"):
        JUDGES.make("openai", {"model": "m"}, "method.judge_options")
    with pytest.raises(UsageError, match=r"method.teacher_options.*base_url"):
        BACKENDS.get("hint")(context(renderer), hint_source="teacher")


# --- the judge on top of it ----------------------------------------------------------------------
def judged(server: ChatServer, folder: Path, renderer, responses, votes=1, **options):
    judge = JUDGES.make(
        "openai",
        {"base_url": server.url, "model": "m", "pause": 0.0, "timeout": 20, "tries": 2, **options},
        "x",
    )
    ctx = context(renderer, folder=folder)
    (said,), (usage,) = drive(
        [judge.judge(ctx, problem(), responses, votes)],
        [problem()],
        ScriptedEngine(renderer.tokenizer, lambda p, k: ""),
    )
    return said, ctx.events["p"], usage


def test_judge_asks_once_more_for_garbage_and_says_what_became_of_the_rest(renderer, tmp_path):
    def script(n, body):
        user, again = body["messages"][1]["content"], body["seed"] >= 1000
        return (
            401
            if "[1] refused" in user
            else chat(
                "no idea" if "[1] vague" in user or ("[1] second" in user and not again) else GOOD
            )
        )

    with ChatServer(script) as server:
        said, events, usage = judged(
            server, tmp_path, renderer, [["good"], ["second"], ["vague"], ["refused"]]
        )
        first = server.requests[0]["body"]
    assert said == [[1], [1], [], []]
    assert events == {"judge_call_failed": 1, "judge_unparsable": 1}
    assert usage.judge_calls == 6
    assert first["model"] == "m"
    assert first["temperature"] == 0.0
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert "because" in first["messages"][1]["content"]  # the reference solution


def test_votes_are_separate_calls(renderer, tmp_path):
    with ChatServer(
        lambda n, body: chat(json.dumps({"first_error": [2, 1, None][body["seed"] % 3]}))
    ) as server:
        said, events, _ = judged(server, tmp_path, renderer, [["a", "b"]], votes=3)
        assert len(server.requests) == 3
        assert {r["body"]["temperature"] for r in server.requests} == {0.6}
    assert sorted(said[0], key=str) == [1, 2, None]
    assert not events


def test_teacher_writes_a_hint_or_none(tmp_path, renderer):
    with ChatServer(
        in_turn((429, {"Retry-After": "0"}), chat("  Look at the units. "), 403)
    ) as server:
        teacher = Teacher(server.url, "t", pause=0.0)

        def program(question):
            return (yield from teacher.ask(meta_hint_messages(renderer, question, "s"), tmp_path))

        results, usage = [], []
        for question in ("a", "b"):
            (hint,), (used,) = drive(
                [program(question)],
                [problem()],
                ScriptedEngine(renderer.tokenizer, lambda p, k: ""),
            )
            results.append(hint)
            usage.append(used.hint_calls)
    assert results == ["Look at the units.", None]
    assert usage == [1, 1]
    assert [(r["status"], r["gave_up"]) for r in read_jsonl(tmp_path / "teacher_calls.jsonl")] == [
        ("http 429", False),
        ("ok", False),
        ("http 403", True),
    ]


# --- whole runs ----------------------------------------------------------------------------------
SMALL = [
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


def test_the_same_run_again_in_another_folder_needs_no_call_with_a_shared_cache(tmp_path):
    cache = tmp_path / "cache.jsonl"
    good = lambda n, body: chat(
        json.dumps({"first_error": 1 + sum(map(ord, body["messages"][1]["content"])) % 4})
    )
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
        return (
            403 if i == 5 else chat("hm" if i == 6 else json.dumps({"first_error": i % 4 or None}))
        )

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
