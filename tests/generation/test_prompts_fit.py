"""Prompts that do not fit, and models without a chat template."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest
from evaluating import evaluate

from sage_bench.data.tiny_world import problems
from sage_bench.generation.prompts import SYSTEM
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.vllm import Vllm
from sage_bench.types import Completion
from sage_bench.utils.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def hf(packaged) -> Hf:
    return Hf(packaged)


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
    if find_spec("vllm") is None:
        with pytest.raises(UsageError, match=r"sage-bench\[vllm\].*vllm_cpu_env\.sh"):
            Vllm(packaged)
    else:
        assert Vllm(packaged).context == Hf(packaged).context
