"""Judges and teachers that consult an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_server import GOOD, ChatServer, chat, in_turn
from scripted import ScriptedEngine, context, problem

from sage_bench.backends.hint.prompts import meta_hint_messages
from sage_bench.backends.hint.teacher import Teacher
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.driver import drive
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl


def test_a_judge_without_its_address_is_a_usage_error(renderer):
    with pytest.raises(UsageError, match="base_url"):
        JUDGES.make("openai", {"model": "m"}, "method.judge_options")
    with pytest.raises(UsageError, match=r"method.teacher_options.*base_url"):
        BACKENDS.get("hint")(context(renderer), hint_source="teacher")


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
