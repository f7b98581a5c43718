"""`engine.rollouts`: one push of the weights an update, a probe after each, an engine that dies and
comes back, stragglers in parts. The engine with weights of its own is our decoder on a copy of the
model (`copy_engine`); real vLLM runs in tests/generation/test_vllm_training.py."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from copy_engine import CopyEngine, drawing_by
from small_runs import build, train, weights

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.generation.live.engines import EngineLostError
from sage_bench.generation.live.parts import InParts
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.samplers.hf import Hf
from sage_bench.methods.objective import Objective
from sage_bench.training.checkpoint import steps
from sage_bench.types import Completion, Row, Sample, Sampling, Score
from sage_bench.utils.errors import TrainingError, UsageError
from sage_bench.utils.files import read_jsonl

METHODS = str(Path(__file__).parents[1] / "support" / "rounds_method.py")
# validation draws from the same engine
WORDS = (
    "train.steps=3",
    "method.group_size=4",
    "optim.lr=1e-3",
    "optim.warmup_steps=0",
    "validation.source=tiny",
    "validation.every=1",
)
ELSEWHERE = "engine.rollouts=vllm"


def coins(folder: Path, *words: str) -> Path:
    """A run of three rounds a step whose every group has a signal."""
    return train(folder, *WORDS, *words, backend="three_rounds", backend_files=[METHODS])


def metrics(folder: Path) -> list[dict]:
    return list(read_jsonl(folder / "metrics.jsonl"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """The last checkpoint of a run whose completions our own sampler draws."""
    return coins(tmp_path_factory.mktemp("straight"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> tuple[Path, CopyEngine]:
    """(last checkpoint, engine) of the same run, drawn from a copy of the weights."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        made = drawing_by(patch, CopyEngine)
        last = coins(folder, ELSEWHERE)
    return last, made[0]


# ---- weights ----
def test_a_run_drawn_from_a_copy_ends_in_the_same_weights(straight, elsewhere):
    assert weights(elsewhere[0]) == weights(straight)
    assert all(row["learner/trained_rows"] == 8 for row in metrics(straight.parents[1]))


def test_weights_go_over_once_an_update_whatever_the_number_of_rounds(elsewhere):
    last, engine = elsewhere
    assert [row["weight_syncs"] for row in metrics(last.parents[1])] == [1, 1, 1]
    # before the validation of step 0, and after each of the three updates
    assert engine.count()["take"] == 4
    assert engine.count()["draw"] == 3 * 3 + 4, "three rounds a step, and the validations"


def test_it_sleeps_while_the_weights_are_updated_and_is_closed_at_the_end(elsewhere):
    calls = elsewhere[1].calls
    assert elsewhere[1].count()["sleep"] == elsewhere[1].count()["wake"] == 3
    for i, call in enumerate(calls):
        if call == "sleep":
            assert calls[i + 1 : i + 3] == ["wake", "take"]
    assert calls[-1] == "close"


def test_the_gap_of_every_step_is_logged(elsewhere):
    rows = metrics(elsewhere[0].parents[1])
    assert all(0 <= row["probe_gap"] <= row["probe_gap_max"] < 1e-4 for row in rows)
    assert all(row["sampler_restarts"] == 0 for row in rows)


def test_our_own_sampler_has_no_copy_and_no_such_numbers(straight):
    for row in metrics(straight.parents[1]):
        assert "weight_syncs" not in row
        assert "probe_gap" not in row


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed here")
def test_the_trl_engine_pushes_its_weights_once_an_update_too(tmp_path, monkeypatch):
    made = drawing_by(monkeypatch, CopyEngine)
    coins(tmp_path, ELSEWHERE, "engine.name=trl")
    rows = metrics(tmp_path)
    assert [row["weight_syncs"] for row in rows] == [1, 1, 1]
    assert all(0 <= row["probe_gap_max"] < 1e-4 for row in rows)
    assert all(row["learner/trained_rows"] == 8 for row in rows)
    assert made[0].count()["take"] == 4
    assert made[0].count()["sleep"] == 3


# ---- a sampler that is not the policy ----
def test_weights_that_do_not_arrive_stop_the_run_before_the_next_update(tmp_path, monkeypatch):
    drawing_by(monkeypatch, lambda policy: CopyEngine(policy, deaf=True))
    bound = ("engine.max_logprob_gap=1e-3", "optim.lr=1e-2")
    with pytest.raises(TrainingError) as error:
        coins(tmp_path, ELSEWHERE, *bound)
    said = str(error.value)
    assert said.startswith("engine.max_logprob_gap: after weight sync 2 the sampler's")
    assert "the bound is 0.001" in said
    assert steps(tmp_path) == [0]


def test_without_a_bound_the_gap_is_only_logged(tmp_path, monkeypatch):
    drawing_by(monkeypatch, lambda policy: CopyEngine(policy, deaf=True))
    coins(tmp_path, ELSEWHERE, "engine.max_logprob_gap=null", "optim.lr=1e-2")
    assert metrics(tmp_path)[2]["probe_gap"] > 1e-3


# ---- an engine that dies ----
@pytest.mark.parametrize("dies", [1, 4])  # the first validation; the last round of step 1
def test_a_round_that_was_lost_is_drawn_again_bit_for_bit(
    dies, straight, tmp_path, monkeypatch, capsys
):
    made = drawing_by(monkeypatch, lambda policy: CopyEngine(policy, dies=[dies]))
    last = coins(tmp_path, ELSEWHERE)
    assert made[0].count()["restart"] == 1
    assert sum(row["sampler_restarts"] for row in metrics(tmp_path)) == 1
    assert "was lost (killed by a test); it is brought back" in capsys.readouterr().err
    assert weights(last) == weights(straight)


def test_an_engine_that_keeps_dying_ends_the_run_and_the_same_command_goes_on(
    straight, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        drawing_by(patch, lambda policy: CopyEngine(policy, dies=range(6, 99)))
        with pytest.raises(EngineLostError, match="killed by a test"):
            coins(tmp_path, ELSEWHERE)
    drawing_by(monkeypatch, CopyEngine)
    assert weights(coins(tmp_path, ELSEWHERE)) == weights(straight)


# ---- what is refused before the start ----
def refused(folder: Path, *words: str) -> str:
    with pytest.raises(UsageError) as error:
        build(folder, *words, backend="grpo")
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_that_is_not_installed_is_said(tmp_path):
    said = refused(tmp_path, ELSEWHERE)
    assert said.startswith("engine.rollouts: vllm: vLLM is not installed here")
    assert "pip install 'sage-bench[vllm]'" in said


def test_log_probabilities_vllm_does_not_say_are_refused(tmp_path):
    said = refused(tmp_path, ELSEWHERE, "sampling.temperature=0.7", "sampling.top_p=0.9")
    assert "set sampling.temperature=1 or sampling.top_p=1" in said


def test_a_server_that_is_not_named_or_does_not_answer_is_told_how_to_start(tmp_path):
    command = "SAGE_BENCH_TRAINS=1 VLLM_SERVER_DEV_MODE=1 vllm serve"
    said = refused(tmp_path, "engine.rollouts=vllm-server")
    assert "engine.vllm.url: not set: no server is named" in said
    assert command in said
    url = "engine.vllm.url=http://127.0.0.1:9"
    said = refused(tmp_path, "engine.rollouts=vllm-server", url)
    assert "http://127.0.0.1:9: no vLLM server answers" in said
    assert command in said


def test_adapters_on_a_vllm_that_drops_its_weights_are_refused(tmp_path):
    words = ("engine.lora.rank=4", "engine.vllm.sleep_level=2")
    said = refused(tmp_path, ELSEWHERE, *words)
    assert "adapters and nothing below them" in said
    assert "engine.vllm.sync=merged" in said


def test_adapters_of_a_rank_that_vllm_has_no_room_for_are_refused(tmp_path):
    said = refused(tmp_path, "engine.rollouts=vllm-server", "engine.lora.rank=600")
    assert "vLLM takes adapters up to rank 512, these have 600" in said


# ---- stragglers ----
@pytest.fixture(scope="module")
def sampler(packaged) -> Hf:
    return Hf.of(load_policy(packaged))


def units(sampler: Hf, most: int = 40) -> list[Sample]:
    asked = [
        Sample(sampler.renderer.answer(q), 8, Sampling(1.0, 1.0, most), key=(0, q))
        for q in ("3*9+6", "1-2", "7*7+1")
    ]
    return [unit for ask in asked for unit in ask.units(0)]


def test_a_straggler_is_cut_and_continued_and_none_is_dropped(sampler):
    parts = InParts(sampler, 10)
    asked = units(sampler)
    drawn, whole = parts.complete(asked), sampler.complete(asked)
    cut = [len(c.tokens) > 10 or (len(c.tokens) == 10 and c.finish == "length") for c in whole]
    assert [c.failed for c in drawn] == [None] * 24
    longer = [c for c in drawn if len(c.tokens) > 10]
    assert longer, "some are stragglers"
    assert parts.measured() == {"continued": float(sum(cut))}
    for first, once in zip(drawn, whole, strict=True):
        assert first.tokens[:10] == once.tokens[:10]
        assert len(first.logp) == len(first.tokens) <= 40
    assert {c.finish for c in longer} <= {"stop", "length"}


def test_the_log_probabilities_of_both_parts_are_those_of_the_whole(sampler):
    asked = units(sampler)
    drawn = InParts(sampler, 10).complete(asked)
    engine = LocalEngine(sampler.policy, OptimConfig())
    scored = engine.run([Score(u.prompt, c.tokens) for u, c in zip(asked, drawn, strict=True)])
    for completion, logp in zip(drawn, scored, strict=True):
        assert torch.allclose(completion.logp, logp, atol=1e-4)


def test_what_fits_the_first_length_is_what_it_was(sampler):
    asked = units(sampler, most=12)
    again = InParts(sampler, 12).complete(asked)
    assert [c.tokens for c in again] == [c.tokens for c in sampler.complete(asked)]


def test_a_continuation_that_fails_is_a_failure_and_not_a_shorter_answer(sampler):
    class Breaks(Hf):
        def draw(self, samples):
            for i, completion in super().draw(samples):
                late = len(samples[i].prompt) > len(asked[0].prompt) + 5
                yield i, Completion(failed="broken") if late else completion

    asked = units(sampler)[:8]
    broken = Breaks.of(sampler.policy)
    drawn = InParts(broken, 10).complete(asked)
    whole = sampler.complete(asked)
    for one, once in zip(drawn, whole, strict=True):
        cut = len(once.tokens) > 10
        assert (one.failed == "broken") == cut


def test_a_run_with_stragglers_logs_how_many_were_continued(tmp_path):
    coins(tmp_path, "sampling.max_tokens_first=4", "train.steps=1")
    (row,) = metrics(tmp_path)
    assert row["continued"] > 0
    assert row["length"] > 4


# ---- the learner ----
def gradient(policy, rows, objective) -> dict[str, torch.Tensor]:
    engine = LocalEngine(policy, OptimConfig())
    engine.learner.optim.zero_grad()
    engine.learner.gradient(rows, objective)
    return {n: p.grad.clone() for n, p in policy.model.named_parameters()}


def test_the_weight_of_a_token_is_in_the_learners_gradient(random_policy):
    """Two rows of one token; the sampler gave the second twice the probability."""
    policy = random_policy(dtype=torch.float64)
    engine = LocalEngine(policy, OptimConfig())
    pairs = [((5, 6), (7,)), ((5, 6), (9,))]
    scores = engine.run([Score(*pair) for pair in pairs])
    shift = torch.tensor(2.0, dtype=torch.float64).log()
    rows = [
        Row(*pairs[0], torch.ones(1, dtype=torch.float64), "g", sampler_logp=scores[0]),
        Row(*pairs[1], torch.ones(1, dtype=torch.float64), "g", sampler_logp=scores[1] + shift),
    ]
    weighed = gradient(policy, rows, Objective(importance="token"))
    halved = [rows[0], replace(rows[1], advantage=rows[1].advantage / 2)]
    by_hand = gradient(policy, halved, Objective())
    for name, expected in by_hand.items():
        assert torch.allclose(weighed[name], expected, rtol=1e-9, atol=1e-12), name


def test_a_run_with_the_correction_logs_its_weight(tmp_path, monkeypatch):
    drawing_by(monkeypatch, CopyEngine)
    coins(tmp_path, ELSEWHERE, "objective.importance=sequence", "train.steps=1")
    (row,) = metrics(tmp_path)
    assert row["learner/importance_weight"] == pytest.approx(1.0, abs=1e-3)
    assert row["learner/importance_capped"] == 0
