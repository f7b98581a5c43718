"""Sinks: TensorBoard by default, trackers by a switch, all offline."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import small_runs

from sage_bench.training.boards.registry import SINKS, check_sinks
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl

SHORT = ("train.steps=2", "train.save_every=2")


class Kept:
    """A sink of a user: it keeps what it gets."""

    needs = ""
    made: list[Kept] = []

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]):
        self.began, self.config, self.rows, self.closed = step, config, [], False
        Kept.made.append(self)

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((group, step, dict(values)))

    def flush(self) -> None:
        self.flushed = True

    def close(self) -> None:
        self.closed = True


class Broken(Kept):
    """A sink whose service is not there."""

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("no route to host")


@pytest.fixture(scope="module", autouse=True)
def registered():
    SINKS.register("kept")(Kept)
    SINKS.register("broken")(Broken)


def test_tensorboard_is_the_only_one_unless_others_are_named(tmp_path):
    small_runs.train(tmp_path, *SHORT, "log.tensorboard=true")
    assert list((tmp_path / "tensorboard").iterdir())
    assert not (tmp_path / "wandb").exists()


def test_a_sink_gets_the_rows_of_metrics(tmp_path):
    small_runs.train(tmp_path, *SHORT, "log.sinks=[kept]", "log.project=mine")
    sink = Kept.made[-1]
    rows = {row["step"]: row for row in read_jsonl(tmp_path / "metrics.jsonl")}
    train = {step: values for group, step, values in sink.rows if group == "train"}
    assert train.keys() == rows.keys() == {0, 1}
    assert all(train[1][key] == rows[1][key] for key in train[1])
    assert all(math.isfinite(value) for value in train[1].values())
    assert (sink.config["log.project"], sink.config["train.steps"], sink.closed) == (
        "mine",
        2,
        True,
    )


def test_a_resumed_run_tells_its_sinks_where_it_goes_on(tmp_path):
    small_runs.train(tmp_path, *SHORT, "log.sinks=[kept]")
    small_runs.train(tmp_path, *SHORT, "log.sinks=[kept]")
    assert [sink.began for sink in Kept.made[-2:]] == [0, 2]


def test_a_sink_that_fails_costs_itself_and_not_the_run(tmp_path, capsys):
    checkpoint = small_runs.train(tmp_path, *SHORT, "log.sinks=[broken,kept]")
    assert checkpoint.name == "step_000002"
    told = capsys.readouterr().err
    assert told.count("the sink `broken` failed") == 1
    assert "no route to host" in told
    assert [step for group, step, _ in Kept.made[-1].rows if group == "train"] == [0, 1]


def test_an_unknown_sink_is_named_before_the_weights_are_loaded(tmp_path):
    with pytest.raises(UsageError, match=r"unknown sink `wndb`.*`wandb`"):
        small_runs.build(tmp_path, "log.sinks=[wndb]")


def test_a_sink_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(Kept, "needs", "no_such_package")
    with pytest.raises(UsageError, match="pip install 'no_such_package'"):
        check_sinks(["kept"])


def test_plugins_come_by_the_entry_point_group():
    assert SINKS.group == "sage_bench.sinks"
    assert {"tensorboard", "wandb", "trackio"} <= set(SINKS.names())


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of an offline run: a log of LevelDB (blocks of 32 KiB; crc, length and kind
    before each part of a record) after seven bytes of wandb's own."""
    block, header, place, parts = 1 << 15, struct.Struct("<IHB"), 7, b""
    while place + header.size <= len(data):
        left = block - place % block
        if left < header.size:
            place += left
            continue
        _, length, kind = header.unpack_from(data, place)
        place += header.size
        parts += data[place : place + length]
        place += length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_offline_holds_every_point(tmp_path, monkeypatch):
    wandb = pytest.importorskip(
        "wandb", reason="wandb is not installed: pip install 'sage-bench[wandb]'"
    )
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    small_runs.train(tmp_path, *SHORT, "log.sinks=[wandb]")
    wandb.teardown()  # its service writes the file to the end when it is closed
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    points: dict[str, list[str]] = {}
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            points.setdefault("/".join(item.nested_key) or item.key, []).append(item.value_json)
    tokens = [row["trained_tokens"] for row in read_jsonl(tmp_path / "metrics.jsonl")]
    assert [float(value) for value in points["train/trained_tokens"]] == tokens
    assert {"0", "1"} <= set(points["step"])


def test_trackio_offline_holds_every_point(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="trackio is not installed: pip install trackio")
    from trackio.sqlite_storage import SQLiteStorage

    small_runs.train(tmp_path / "run", *SHORT, "log.sinks=[trackio]")
    (run,) = SQLiteStorage.get_runs("sage-bench")
    logs = SQLiteStorage.get_logs("sage-bench", run)
    train = [row for row in logs if "train/trained_tokens" in row]
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert [row["train/trained_tokens"] for row in train] == [r["trained_tokens"] for r in rows]
    assert [row["step"] for row in train] == [row["step"] for row in rows]
