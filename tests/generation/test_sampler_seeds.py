"""Repeats and seeds: all samples reach the metric, and no two runs share one."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from evaluating import evaluate, rows

from sage_bench.generation.samplers.fake import Fake
from sage_bench.generation.samplers.hf import Hf
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.seeds import derive_seed


@pytest.fixture(scope="module")
def hf(packaged) -> Hf:
    return Hf(packaged)


def test_s8_01_all_sixteen_repeats_reach_the_metric(tmp_path):
    """lm-eval #3297: its default filter scores the first repeat only."""
    folder = evaluate(Fake("fake:0.5"), tmp_path, "tiny_short:16")
    results = json.loads((folder / "results.json").read_text())["results"]["tiny_short"]
    right = Counter(
        g["doc_id"] for g in read_jsonl(folder / "grades/tiny_short.robust.jsonl") if g["correct"]
    )
    assert results["avg_at_n,all"] == pytest.approx(sum(right.values()) / (12 * 16), abs=1e-12)
    assert {right[d] / 16 for d in range(12)} - {
        0.0,
        1.0,
    }, "some question is neither always right nor always wrong"
    assert read_eval(folder).tasks["tiny_short"].samples == 16


def test_s8_02_running_again_keeps_sixteen_distinct_samples(hf, tmp_path):
    """lm-eval #3046: its cache answers all repeats with one of them."""
    first = rows(evaluate(hf, tmp_path, "tiny_mixed:16", limit=3), "tiny_mixed")
    again = rows(evaluate(hf, tmp_path, "tiny_mixed:16", limit=3), "tiny_mixed")
    assert first == again
    assert len(first) == 48
    for doc in range(3):
        mine = [r for r in again if r["doc_id"] == doc]
        assert len({r["seed"] for r in mine}) == 16
        assert len({r["text"] for r in mine}) > 2


def test_s8_04_neighbouring_base_seeds_share_no_sample_seed(tmp_path):
    """vLLM gives child i of n samples the seed + i: runs with seeds 42 and 43 would share 15 of
    16."""
    seeds = [
        {
            r["seed"]
            for t in ("tiny_short", "tiny_long")
            for r in rows(
                evaluate(
                    Fake("fake:1"), tmp_path, "tiny_short:16,tiny_long:16", limit=None, seed=s
                ),
                t,
            )
        }
        for s in (42, 43)
    ]
    assert len(seeds[0]) == len(seeds[1]) == 3200
    assert not seeds[0] & seeds[1]


def test_what_http_seeds_are_cut_to_still_differs():
    for bits in (31, 53):
        cut = [
            derive_seed(b, "aime24", d, s) % (1 << bits)
            for b in (42, 43)
            for d in range(30)
            for s in range(16)
        ]
        assert len(set(cut)) == len(cut)
