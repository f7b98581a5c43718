"""One door: whoever samples, whoever asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from evaluating import evaluate, rows
from scripted import problem

from sage_bench.config import models
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.registry import SAMPLERS, register_sampler
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.hf import Hf
from sage_bench.methods.driver import drive
from sage_bench.types import Completion, Consult, Sample, Sampling
from sage_bench.utils.errors import SageBenchError, UsageError


# ---- a sampler of one's own, whole: 20 lines -----------------------------------------------------
class Parrot(Sampler):
    """Repeats the question, in as many words as its seed allows."""

    def __init__(self, model: str, word: str = "ah"):
        self.model = model
        self.word = word

    def render(self, messages):
        return messages[-1]["content"]

    def draw(self, samples):
        for i, sample in enumerate(samples):
            words = [self.word] * (1 + sample.seed % 7)
            text = " ".join([*words, sample.prompt])
            yield i, Completion(text=text, prompt_tokens=1, counted=len(words))

    def fingerprint(self):
        return {"sampler": "parrot", "word": self.word}


@pytest.fixture
def parrot(monkeypatch):
    monkeypatch.setattr(SAMPLERS, "_entries", dict(SAMPLERS._entries))
    monkeypatch.setattr(SAMPLERS, "_places", dict(SAMPLERS._places))
    SAMPLERS.names()
    register_sampler("parrot")(Parrot)
    return lambda **options: models.make("polly", "parrot", options)


def test_a_sampler_of_ones_own_is_evaluated(parrot, tmp_path):
    stored = rows(evaluate(parrot(word="oh"), tmp_path))
    assert len(stored) == 24
    assert all(r["text"].startswith("oh ") for r in stored)
    assert {r["tokens"] for r in stored} == {1 + r["seed"] % 7 for r in stored}


def test_its_options_are_checked_by_name(parrot):
    with pytest.raises(UsageError, match="wort"):
        parrot(wort="oh")


def test_any_sampler_can_be_consulted(parrot):
    sampler = parrot()

    def program():
        ask = Sample("say it", 2, Sampling(), purpose="hint", key=("hint", 0))
        (completions,) = yield [Consult(sampler, ask, purpose="hint")]
        return completions

    (drawn,), (usage,) = drive([program()], [problem()], Silent())
    assert [c.text.endswith("say it") for c in drawn] == [True, True]
    assert (
        drawn[0].text
        == sampler.answer([Sample("say it", 1, Sampling(), key=("hint", 0))])[0][0].text
    )
    assert usage.hint_calls == 2


class Silent:
    """An engine nobody asks."""

    def any(self, flag):
        return flag

    def run(self, asks):
        assert not asks
        return []


def test_a_given_seed_is_kept_and_a_derived_one_hangs_on_key_and_number():
    asked = Sample((1, 2), 3, Sampling(), key=(0, "p", 1))
    seeds = [u.seed for u in asked.units(42)]
    assert len(set(seeds)) == 3
    assert seeds == [u.seed for u in replace(asked, n=5).units(42)][:3]
    assert seeds != [u.seed for u in asked.units(43)]
    assert [u.seed for u in replace(asked, seed=7).units(42)] == [7, 8, 9]


# ---- engines -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def engine(packaged) -> LocalEngine:
    return LocalEngine(load_policy(packaged), OptimConfig())


def asks(engine: LocalEngine, n: int = 3) -> list[Sample]:
    renderer = engine.sampler.renderer
    return [
        Sample(renderer.answer(q), n, Sampling(1.0, 1.0, 24), key=(0, q, 0))
        for q in ("3*9+6", "1-2", "7*7")
    ]


def tokens(answers) -> list[list[tuple[int, ...]]]:
    return [[c.tokens for c in completions] for completions in answers]


def test_an_evaluation_draws_from_the_engine_that_learns(engine, packaged, tmp_path):
    live = rows(evaluate(engine.sampler, tmp_path / "live"))
    stored = rows(evaluate(Hf(packaged), tmp_path / "folder"))
    assert live == stored


def test_weights_in_memory_have_a_fingerprint_that_changes_with_them(packaged):
    engine = LocalEngine(load_policy(packaged), OptimConfig())
    before = engine.sampler.fingerprint()
    assert before == engine.sampler.fingerprint()
    with torch.no_grad():
        next(engine.policy.model.parameters()).mul_(1.5)
    after = engine.sampler.fingerprint()
    assert before["weights"] != after["weights"]
    assert before["template"] == after["template"]


class Elsewhere(Sampler):
    """Our own sampler as if it were somebody else's: it yields in another order."""

    def __init__(self, inner: Sampler):
        self.inner = inner

    def draw(self, samples):
        yield from reversed(list(self.inner.draw(samples)))


def test_the_engine_takes_any_sampler_that_gives_tokens_and_log_probabilities(engine):
    other = LocalEngine(engine.policy, OptimConfig(), sampler=Elsewhere(engine.sampler))
    assert tokens(other.run(asks(engine))) == tokens(engine.run(asks(engine)))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"logp": None}, "no log-probabilities"), ({"failed": "timeout"}, "timeout")],
)
def test_rollouts_nobody_can_learn_from_are_an_error(change, said, engine):
    class Poor(Elsewhere):
        def draw(self, samples):
            for i, completion in self.inner.draw(samples):
                yield i, replace(completion, **change)

    other = LocalEngine(engine.policy, OptimConfig(), sampler=Poor(engine.sampler))
    with pytest.raises(SageBenchError, match=said):
        other.run(asks(engine))


def test_a_request_in_text_is_answered_with_text_and_one_in_tokens_without(engine):
    sampler = engine.sampler
    text = sampler.render([{"role": "user", "content": "3*9+6"}])
    in_text = Sample(text, 1, Sampling(0.0, 1.0, 24), seed=0)
    in_tokens = replace(in_text, prompt=sampler.ids(text))
    (a,), (b,) = sampler.complete([in_text]), sampler.complete([in_tokens])
    assert a.tokens == b.tokens
    assert a.text == sampler.text_of(b) == sampler.text_of(a)
    assert b.text is None
    assert a.prompt_tokens == len(sampler.ids(text)) == sampler.count(text)


def test_a_stop_text_ends_a_text_before_it(engine):
    sampler = engine.sampler
    whole = Sample(
        sampler.render([{"role": "user", "content": "3*9+6"}]), 1, Sampling(0.0, 1.0, 48), seed=0
    )
    (full,) = sampler.complete([whole])
    stop = full.text[4:6]
    cut_params = Sampling(0.0, 1.0, 48, (stop,))
    (cut,) = sampler.complete([replace(whole, params=cut_params)])
    assert cut.text == full.text[: full.text.index(stop)]
    assert cut.finish == "stop"
    assert cut.length < full.length
