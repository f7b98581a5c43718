"""The declared files of a run: the page is theirs, and real runs hold what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage_bench.data import schema
from sage_bench.data.files_page import EVALUATION, TRAINING, markdown
from sage_bench.evaluation import runner
from sage_bench.generation.samplers.fake import Fake
from sage_bench.utils.errors import DataError
from sage_bench.utils.typed_files import RowFormat

PAGE = Path(__file__).parents[2] / "docs/files-of-a-run.md"


def test_the_page_is_made_from_the_declarations():
    assert PAGE.read_text(encoding="utf-8") == markdown()


@pytest.mark.parametrize(
    "file",
    [pytest.param(f, id=f.path) for f in (*EVALUATION, *TRAINING) if f.holds],
)
def test_every_field_has_a_description(file):
    if isinstance(file.holds, RowFormat):
        fields = file.holds.adapter.json_schema()["properties"]
    else:
        fields = file.holds.model_json_schema()["properties"]
    assert not [name for name, value in fields.items() if not value.get("description")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    config = runner.EvalConfig("m", {"tiny_short": 2}, out, limit=4)
    return runner.evaluate(config, Fake("fake:0.5"), quiet=True)


def test_every_file_of_an_evaluation_is_on_the_page_and_holds_what_it_says(run):
    known = {
        f.path.replace("TASK", "tiny_short").replace("GRADER", "robust"): f for f in EVALUATION
    }
    found = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert found <= set(known)
    for name in found:
        holds = known[name].holds
        if not isinstance(holds, RowFormat):
            assert holds is None or holds.read(run / name).file_schema == 1
        elif name.endswith(".jsonl"):
            assert list(holds.read(run / name))
        else:
            assert holds.read_list(run / name)


def test_rows_of_an_evaluation_have_no_field_that_is_not_declared(run):
    for file, declared in (
        ("samples/tiny_short.jsonl", schema.SampleRow),
        ("grades/tiny_short.robust.jsonl", schema.GradeRow),
    ):
        for line in (run / file).read_text().splitlines():
            assert set(json.loads(line)) == set(declared.__annotations__)


def test_a_folder_from_before_schemas_is_read(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest.pop("schema") == 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert schema.EvalManifest.read(tmp_path / "manifest.json").tasks == {"tiny_short": 2}


def test_a_training_manifest_is_not_one_of_an_evaluation(tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": "train"}')
    with pytest.raises(DataError, match="`kind` is 'train'"):
        schema.EvalManifest.read(tmp_path / "manifest.json")
