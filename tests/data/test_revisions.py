"""Data of the Hub without a pinned revision: said, recorded, and pinned by `name@commit`."""

from __future__ import annotations

import datasets
import pytest
from hub_cache import leave

from sage_bench.data import hub
from sage_bench.data.rows import check_source, read_source
from sage_bench.utils.errors import DataError, UsageError

COMMIT = "ab" * 20
ROWS = [
    {
        "problem": f"{i} + 1?",
        "solution": f"{i} + 1 is {i + 1}.",
        "reward_model": {"ground_truth": str(i + 1)},
        "extra_info": {"index": i},
    }
    for i in range(3)
]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A machine that has SAGE's training set in its cache, and no network."""
    leave(tmp_path, "baohao/sage_train", "default", "train", COMMIT, ROWS)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_read_at", {})
    return tmp_path


def test_an_unpinned_dataset_says_what_was_read_and_how_to_pin_it(cache, capsys):
    assert [row.values["answer"] for row in read_source("sage-train")] == ["1", "2", "3"]
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing pins baohao/sage_train" in said
    assert f"data.source=sage-train@{COMMIT} pins them" in said


def test_the_revision_is_known_for_the_manifest(cache):
    list(read_source("sage-train"))
    assert hub.revisions_read() == {"baohao/sage_train": COMMIT}


def test_it_is_said_once(cache, capsys):
    list(read_source("sage-train"))
    capsys.readouterr()
    list(read_source("sage-train"))
    assert capsys.readouterr().err == ""


def test_a_pinned_dataset_says_nothing(cache, capsys):
    assert len(list(read_source(f"sage-train@{COMMIT}"))) == 3
    assert capsys.readouterr().err == ""
    assert hub.revisions_read() == {"baohao/sage_train": COMMIT}


def test_another_commit_than_the_pinned_one_is_not_taken(cache):
    with pytest.raises(DataError):
        list(read_source(f"sage-train@{'cd' * 20}"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("sage-train@main", "`main` is not a full commit"),
        ("sage-train@", "`` is not a full commit"),
        (f"tiny@{COMMIT}", "the dataset `tiny` has no revisions"),
        (f"sage-trian@{COMMIT}", "unknown dataset `sage-trian`"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(source, said):
    with pytest.raises(UsageError, match=said):
        check_source(source)
