"""Servers that are slow, silent or refuse: given up in time, and their reason is shown."""

from __future__ import annotations

import json
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from chat_server import ChatServer, chat, in_turn
from evaluating import evaluate

from sage_bench.generation.consult import ChatService
from sage_bench.generation.endpoint import endpoint
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import read_jsonl


class Dripping:
    """A server that sends its answer byte by byte. fast: bytes of it that come at once."""

    def __init__(self, fast: int, pause: float = 0.1):
        body = json.dumps(chat("late")).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.answer = head + body
        self.fast = len(head) if fast < 0 else fast
        self.pause = pause
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection):
        try:
            connection.recv(1 << 16)
            connection.sendall(self.answer[: self.fast])
            for i in range(self.fast, len(self.answer)):
                connection.sendall(self.answer[i : i + 1])
                time.sleep(self.pause)
        except OSError:
            connection.close()


@pytest.mark.parametrize("fast", [0, -1], ids=["from the first byte", "after the head"])
def test_f9_a_server_that_drips_is_given_up_after_the_timeout(fast, tmp_path):
    with Dripping(fast) as server:
        made = endpoint({"base_url": server.url, "timeout": 0.6, "tries": 1}, name="judge")
        made.open(tmp_path)
        began = time.monotonic()
        assert made.answer([{"n": 1}]) == [None]
        assert time.monotonic() - began < 3
    assert [r["status"] for r in read_jsonl(tmp_path / "judge_calls.jsonl")] == ["timeout"]


def test_f9_half_a_reply_is_a_timeout_whoever_sees_the_deadline_first(tmp_path):
    """On a busy machine the thread that reads may be back before the one that waits gives up."""
    with Dripping(-1) as server:
        made = endpoint({"base_url": server.url, "timeout": 0.3, "tries": 1}, name="judge")
        made.open(tmp_path)
        with httpx.Client() as client, pytest.raises(httpx.ReadTimeout, match="too slowly"):
            made._read(client, {})


def test_f9_a_slow_server_that_is_in_time_is_waited_for(tmp_path):
    with Dripping(-1, pause=0.001) as server:
        made = endpoint({"base_url": server.url, "timeout": 20, "tries": 1}, name="judge")
        assert made.answer([{"n": 1}]) == ["late"]


def test_f9_retry_after_is_capped_apart_from_the_timeout():
    script = in_turn((429, {"Retry-After": "Thu, 01 Jan 2099 00:00:00 GMT"}), chat("fine"))
    with ChatServer(script) as server:
        made = endpoint(
            {"base_url": server.url, "timeout": 1800, "longest_wait": 0.3}, name="judge"
        )
        assert made.answer([{}]) == ["fine"]
        times = [r["time"] for r in server.requests]
    assert all(0.3 <= b - a < 10 for a, b in pairwise(times))


def test_f9_the_reason_of_a_400_is_shown_and_kept(tmp_path, capsys):
    refusal = (400, {}, {"error": {"message": "max_tokens is too large"}})
    with ChatServer(lambda n, body: refusal) as server:
        service = ChatService("m", name="judge", base_url=server.url)
        service.open(tmp_path)
        ask = Sample(service.render([{"role": "user", "content": "x"}]), 1, Sampling())
        ((reply,),) = service.answer([ask])
    assert reply.failed
    rows = list(read_jsonl(tmp_path / "judge_calls.jsonl"))
    assert "max_tokens is too large" in rows[0]["explanation"]
    assert "max_tokens is too large" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (500, "http 500"),
        (b"<html>login</html>", "garbage"),
        ((429, {"Retry-After": "0"}), "http 429"),
        ("hang up", "RemoteProtocolError"),
    ],
)
def test_f9_few_samples_of_a_server_that_answers_nobody_name_the_cause(script, said, tmp_path):
    with ChatServer(lambda n, body: script) as server:
        sampler = OpenAI("m", base_url=server.url, tries=1, pause=0.0)
        with pytest.raises(SageBenchError, match=rf"4 calls in a row failed.*{said}") as caught:
            evaluate(sampler, tmp_path, "tiny_short:1", limit=4)
    assert caught.value.where == f"{server.url}/chat/completions"


def test_f9_a_misspelt_option_is_named_before_a_server_is_missed():
    with pytest.raises(UsageError, match=r"base_urll: unknown option; did you mean `base_url`"):
        OpenAI("m", base_urll="http://x/v1")


def test_a_reply_without_end_is_not_kept_in_memory(monkeypatch):
    from sage_bench.generation.endpoint import service

    monkeypatch.setattr(service, "MOST_BYTES", 1000)
    with ChatServer(lambda n, body: chat("x" * 5000)) as server:
        made = endpoint({"base_url": server.url, "tries": 1}, name="judge")
        assert made.answer([{}]) == [None]


def test_a_chat_service_is_asked_for_one_completion_a_request(tmp_path):
    service = ChatService("m", name="judge", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="one completion"):
        service.answer([Sample("[]", 2, Sampling())])
    assert not list(Path(tmp_path).iterdir())
