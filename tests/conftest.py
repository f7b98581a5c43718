"""Shared fixtures: a real tokenizer, three real (random) tiny models, the packaged policies, the
reference material."""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch: see sage_bench/__init__.py
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from vectors import Given, load

from sage_bench.generation.local.policy import Policy
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.prompts import Renderer
from sage_bench.grading.graders.robust import Robust
from sage_bench.grading.pool import Pool
from sage_bench.study.tiny_policies import RECIPES, make_model, make_tokenizer

torch.set_num_threads(1)
# what starts the tests (nohup, a background shell) may have these ignored, and children inherit it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile(
    "no deadline", deadline=None
)  # a machine that is shared by many makes any example slow
settings.load_profile("no deadline")
SHARED = Path(
    os.environ.get("SAGE_BENCH_SHARED_MATERIAL", Path(__file__).resolve().parents[2] / "shared")
)
ARCHITECTURES = ("tiny-llama", "tiny-qwen2", "tiny-qwen3")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material beside the repository (vectors, benchmark files); tests that need it skip
    without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference material at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def benchmark_files(shared) -> Path:
    """Folder of the published benchmarks (aime24.jsonl, ...) and of what is known to be wrong in
    them."""
    folder = shared / "data" / "benchmarks"
    if not folder.is_dir():
        pytest.skip(f"no benchmark files at {folder}")
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer(examples=400)


@pytest.fixture(scope="session")
def renderer(tokenizer) -> Renderer:
    return Renderer(tokenizer)


@pytest.fixture(scope="session")
def random_policy(tokenizer) -> Callable[..., Policy]:
    """random_policy("tiny-llama", torch.float64): a small policy with random weights, the same at
    every call."""

    def make(name: str = "tiny-llama", dtype: torch.dtype = torch.float32, **recipe: int) -> Policy:
        small = replace(RECIPES[name], hidden=32, layers=2, **recipe)
        model = make_model(small, tokenizer)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(3.0)  # the default init is nearly uniform over tokens; tests want opinions
        return Policy(model.to(dtype).eval(), tokenizer, f"random {name}")

    return make


@pytest.fixture(scope="session")
def packaged() -> str:
    """Path of the packaged tiny Llama policy."""
    return model_path("package:data/tiny_policies/llama")


@pytest.fixture(scope="session")
def given(shared, renderer, random_policy) -> Given:
    """What the consumers of the recorded vectors work with (see `vectors.py`)."""
    return Given(load(shared), renderer, random_policy)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """One worker process for graders; a comparison may take ten seconds."""
    pool = Pool(workers=1, timeout=10.0)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def robust(pool: Pool) -> Robust:
    return Robust(pool)
