"""What all samplers share: names, options, golds, failures; and the fake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluating import evaluate, rows

from sage_bench.config import models
from sage_bench.generation.registry import SAMPLERS
from sage_bench.generation.samplers.fake import Fake, wrong_answer
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.samplers.openai import OpenAI
from sage_bench.generation.samplers.vllm import Vllm
from sage_bench.grading.registry import GRADERS
from sage_bench.reporting.runs import read_eval
from sage_bench.types import Completion
from sage_bench.utils.errors import ModelError, PartialError, UsageError


@pytest.fixture(scope="module")
def hf(packaged) -> Hf:
    return Hf(packaged)


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
