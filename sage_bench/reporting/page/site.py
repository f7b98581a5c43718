"""Writes the report: index.html, and beside it the folder that it loads scripts and data from."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sage_bench.methods.base import Method
from sage_bench.methods.registry import BACKENDS
from sage_bench.reporting.curves import by_seed, charts
from sage_bench.reporting.page.chunks import Chunks, in_html, open_chunks
from sage_bench.reporting.page.groups import write_groups
from sage_bench.reporting.page.overview import Overview, overview
from sage_bench.reporting.page.provenance import eval_facts, train_facts
from sage_bench.reporting.page.samples import write_samples
from sage_bench.reporting.page.scores import score_charts
from sage_bench.reporting.runs import EvalRun, TrainRun
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import make_folder, write_text, writing
from sage_bench.version import VERSION

FILES = "report_files"  # beside index.html; all of it is ours
SCRIPTS = ("data.js", "theme.js", "charts.js", "text.js", "list.js", "samples.js", "groups.js")
PAGES = ("index.html", "report.html")  # the second is its older name


@dataclass(frozen=True)
class Fault:
    """A run, or a part of one, that cannot be shown."""

    folder: str
    reason: str


@dataclass
class Content:
    """What a report shows.

    tables: HTML of the detailed tables, by title, with the lines under each. evals, trains: runs
    by their names. faults: what cannot be shown; the writing of the page adds to it.
    """

    title: str
    subtitle: str
    tables: Sequence[Mapping[str, Any]]
    evals: Mapping[str, EvalRun] = field(default_factory=dict)
    trains: Mapping[str, TrainRun] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    grader: str | None = None


def write_site(out: Path, content: Content) -> list[Path]:
    """Write the report into a folder; returns its pages.

    A part of a run that cannot be read is listed on the page with its reason and hides nothing
    else. Raises `SageBenchError` when the folder cannot be written.
    """
    make_folder(out)
    files = out / FILES
    with writing(files):
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
    write_assets(files)
    with open_chunks(files / "data") as chunks:
        summary = _data(content, chunks)
    page = _render(content, summary)
    for name in PAGES:
        write_text(out / name, page)
    return [out / name for name in PAGES]


# ---- data ---------------------------------------------------------------------------------------
def _data(content: Content, chunks: Chunks) -> dict[str, Any]:
    """Write what is loaded on demand, and return what the page needs at once."""
    faults = content.faults
    evals = []
    for number, (name, run) in enumerate(content.evals.items()):
        file = f"e{number}"
        write = _guarded(faults, run.folder, write_samples)
        write(run.folder, file, chunks, content.grader)
        if file in chunks:
            evals.append({"name": name, "file": file, "model": run.model})
    trains = []
    for number, (name, train) in enumerate(content.trains.items()):
        file = f"t{number}"
        counts = _guarded(faults, train.folder, write_groups)(train.folder, file, chunks)
        if file in chunks:
            trains.append({"name": name, "file": file, **counts})
    drawn = [chart.as_dict() for chart in charts(content.trains)] if content.trains else []
    choices: dict[str, Any] = {}
    if content.evals:
        places = {run.folder: run for run in content.trains.values()}
        found = score_charts(list(content.evals.values()), places)
        choices = {name: choice.as_dict() for name, choice in found.items()}
    return {
        "evals": evals,
        "trains": trains,
        "methods": list(by_seed(content.trains)),
        "training": [c for c in drawn if c["kind"] != "bars"],
        "levels": [c for c in drawn if c["kind"] == "bars"],
        "choices": choices,
        "files": FILES,
    }


def _guarded(faults: list[Fault], folder: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, for which an error of one run is a line of the page and None the result."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except SageBenchError as error:
            faults.append(Fault(str(folder), str(error)))
            return None

    return call


# ---- the page -----------------------------------------------------------------------------------
def _render(content: Content, summary: Mapping[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    faults = content.faults
    provenance = []
    for name, run in content.evals.items():
        facts = _guarded(faults, run.folder, eval_facts)(run, content.grader)
        provenance.append(_entry(name, "evaluation", facts))
    for name, train in content.trains.items():
        facts = _guarded(faults, train.folder, train_facts)(train)
        provenance.append(_entry(name, "training", facts))
    sections = method_sections(content.trains, faults)
    front = overview(content.evals) if content.evals else Overview()
    template = Environment(
        loader=PackageLoader("sage_bench.reporting.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("index.html.jinja")
    return template.render(
        content=content,
        overview=front,
        summary=in_html(summary),
        data=summary,
        sections=sections,
        provenance=provenance,
        files=FILES,
        scripts=(*SCRIPTS, "main.js"),
        version=VERSION,
    )


def _entry(name: str, kind: str, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run in the list of provenance; note: what tells it from the others at a glance."""
    found = facts or {}
    notes = [kind, *(str(found[key]) for key in ("state", "written", "model") if key in found)]
    return {"name": name, "note": ", ".join(notes), "facts": found}


def method_sections(runs: Mapping[str, TrainRun], faults: list[Fault]) -> list[str]:
    """HTML that methods bring for their runs (`Method.report_html`): one section for all runs whose
    methods share the function. Runs of a backend that is not installed here have none."""
    sections: dict[Any, dict[str, Path]] = {}
    owners: dict[Any, type[Method]] = {}
    for name, run in runs.items():
        if run.backend not in BACKENDS:
            continue
        method = BACKENDS.get(run.backend)
        function = method.report_html.__func__  # type: ignore[attr-defined]
        sections.setdefault(function, {})[name] = run.folder
        owners.setdefault(function, method)
    found = []
    for function, folders in sections.items():
        first = next(iter(folders.values()))
        found.append(_guarded(faults, first, owners[function].report_html)(folders))
    return [html for html in found if html]


# ---- scripts, styles, fonts ---------------------------------------------------------------------
def write_assets(folder: Path) -> None:
    """Plotly, KaTeX with its fonts inside its style sheet, and our own scripts and styles."""
    import plotly

    static = resources.files("sage_bench.reporting.page") / "static"
    for name in ("page.css", *SCRIPTS, "main.js"):
        write_text(folder / name, (static / name).read_text(encoding="utf-8"))
    katex = static / "katex"
    for name in ("katex.min.js", "auto-render.min.js"):
        write_text(folder / name, (katex / name).read_text(encoding="utf-8"))
    write_text(folder / "katex.LICENSE.txt", (katex / "LICENSE").read_text(encoding="utf-8"))
    write_text(folder / "katex.css", katex_style())
    write_text(folder / "plotly.min.js", plotly.offline.get_plotlyjs())


@cache
def katex_style() -> str:
    """KaTeX's style sheet with its fonts inside: some browsers load no font file beside a page that
    was opened as a file."""
    katex = resources.files("sage_bench.reporting.page") / "static" / "katex"
    style = (katex / "katex.min.css").read_text(encoding="utf-8")

    def inlined(found: re.Match[str]) -> str:
        font = (katex / "fonts" / f"{found[1]}.woff2").read_bytes()
        return f'src:url(data:font/woff2;base64,{base64.b64encode(font).decode()}) format("woff2")'

    return re.sub(r"src:url\(fonts/([\w-]+)\.woff2\)[^}]*", inlined, style)
