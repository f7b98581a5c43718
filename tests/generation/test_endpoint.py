"""The endpoint against a real server that misbehaves: retries, cache, ledger, secrets."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from chat_server import ChatServer, chat, in_turn

from sage_bench.generation.endpoint import endpoint
from sage_bench.judges.registry import JUDGES
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl

KEY = "sk-very-secret-0123"


def ask(server: ChatServer, folder: Path | None, payloads: list[dict], **options):
    """(replies, ledger rows) of one round."""
    made = endpoint({"base_url": server.url, "pause": 0.01, "timeout": 20, **options}, name="judge")
    made.open(folder)
    replies = made.answer(payloads)
    return replies, list(read_jsonl(folder / "judge_calls.jsonl")) if folder else []


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
