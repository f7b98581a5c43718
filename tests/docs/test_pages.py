"""README and the pages of docs/: links lead somewhere, commands exist, the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pandas as pd
import pytest
import typer
import yaml

from benchmarks import tables
from sage_bench.cli.main import app
from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.schema import RunConfig

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "results").rglob("README.md")),
    *sorted(DOCS.rglob("*.md")),
]
FIGURES = sorted((ROOT / "results").rglob("figures.md"))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Names a link can end in, as Markdown renderers make them from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip()) for text in plain}


# ---- README -------------------------------------------------------------------------------------
def test_readme_is_at_most_90_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_readme_has_the_example_as_it_is():
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    example = (ROOT / "examples" / "last_hint.py").read_text(encoding="utf-8")
    body = example.split('"""\n', 1)[1].strip()  # the file without its docstring
    assert body in {block.strip() for block in blocks}


# ---- links --------------------------------------------------------------------------------------
def links(page: Path) -> list[str]:
    targets = re.findall(r"\[[^]]*\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", [*PAGES, *FIGURES], ids=name_of)
def test_links_lead_to_files(page):
    files = {target: target.split("#")[0] for target in links(page)}
    missing = [t for t, file in files.items() if file and not (page.parent / file).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_headings(page):
    missing = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        if anchor and there.suffix == ".md" and anchor not in anchors(there):
            missing.append(target)
    assert not missing


def test_pages_of_the_site_link_to_pages_of_the_site():
    """A page of docs/ is read on the site, too, where files of the repository do not exist."""
    outside = [
        (name_of(page), target)
        for page in DOCS.rglob("*.md")
        for target in links(page)
        if DOCS not in (page.parent / target.split("#")[0]).resolve().parents
        and target.split("#")[0]
    ]
    assert not outside


ROOMS = "sage_bench|backends|tasks|tests|examples|scripts|results|benchmarks|docs"
PAGES_OF_NOW = [page for page in PAGES if page.name != "CHANGELOG.md"]  # it names old files, too


@pytest.mark.parametrize("page", PAGES_OF_NOW, ids=name_of)
def test_files_that_are_named_exist(page):
    """`backends/grpo.py` in a sentence is a promise."""
    named = set(re.findall(rf"`((?:{ROOMS})/[\w./-]*)`", prose(page))) - {"sage_bench/NAME.yaml"}
    # what a task includes by `sage_bench/_benchmark.yaml` lies in tasks/
    included = re.compile(r"sage_bench/(?=_?\w+\.yaml$)")
    places = {name: (ROOT / name, ROOT / included.sub("tasks/", name)) for name in named}
    missing = [n for n, found in places.items() if not any(p.exists() for p in found)]
    assert not missing


# ---- commands -----------------------------------------------------------------------------------
def shell_lines(page: Path) -> list[str]:
    blocks = re.findall(
        r"^ *```(?:bash|sh)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.S | re.M
    )
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines()]


def commands(page: Path) -> list[list[str]]:
    """The words after `sage-bench` of every command in a block, and in `code` of a sentence."""
    spans = [span for span in re.findall(r"`([^`\n]+)`", prose(page)) if " " in span]
    found = []
    for line in [*shell_lines(page), *spans]:
        for part in re.split(r"&&|\|\||[|;]|\$\(|\)", line):
            start = re.match(r"\s*(?:[\w./-]*/)?sage-bench\s+(.+)", part)
            if start:
                found.append(shlex.split(start[1], comments=True))
    return found


@cache
def verbs() -> click.Command:
    return typer.main.get_command(app)


def fault(words: list[str]) -> str | None:
    """What is wrong with a command line: a verb or a flag that does not exist."""
    command, rest = verbs(), list(words)
    while isinstance(getattr(command, "commands", None), dict) and rest:
        if rest[0].startswith("-"):
            break
        if rest[0] not in command.commands:
            return f"no verb `{rest[0]}`"
        command = command.commands[rest.pop(0)]
    if "--" in rest:  # what `launch` starts is a command as well
        at = rest.index("--")
        started = fault(rest[at + 1 :])
        if started:
            return started
        rest = rest[:at]
    known = {"--help"}
    for parameter in command.params:
        known.update(parameter.opts, parameter.secondary_opts)
    for word in rest:
        flag = word.split("=")[0]
        if re.match(r"--?[A-Za-z]", flag) and flag not in known:
            return f"no flag `{flag}`"
    return None


@pytest.mark.parametrize("page", PAGES_OF_NOW, ids=name_of)
def test_commands_exist(page):
    faults = {" ".join(words): fault(words) for words in commands(page)}
    assert not {line: why for line, why in faults.items() if why}


def test_a_wrong_command_is_seen():
    assert fault(["evaluate", "-m", "x"]) == "no verb `evaluate`"
    assert fault(["eval", "--taks", "tiny"]) == "no flag `--taks`"
    assert fault(["eval", "--tasks", "tiny"]) is None


def test_commands_are_found():
    found = {words[0] for page in PAGES for words in commands(page)}
    assert {"train", "eval", "report", "compare", "demo", "ls", "grade"} <= found


CONFIGS = (RunConfig, EvalConfig)
SECTIONS = {
    name
    for config in CONFIGS
    for name, field in config.model_fields.items()
    if hasattr(field.annotation, "model_fields")
}


def keys_of(section: str) -> set[str]:
    """Keys of a section of training or of evaluation."""
    fields = [c.model_fields[section] for c in CONFIGS if section in c.model_fields]
    return {key for field in fields for key in field.annotation.model_fields}


@pytest.mark.parametrize("page", PAGES_OF_NOW, ids=name_of)
def test_configuration_keys_exist(page):
    """`optim.lr=1e-5` and the bare `optim.lr` name keys of the configuration."""
    sections = "|".join(sorted(SECTIONS))
    in_spans = re.findall(rf"`({sections})\.(\w+)(?:=[^`]*)?`", prose(page))
    in_blocks = re.findall(rf"\s({sections})\.(\w+)=", "\n".join(shell_lines(page)))
    files = {"json", "jsonl", "py", "md", "yaml"}  # `engine.json` is a file
    named = {(s, k) for s, k in in_spans + in_blocks if k not in files | {"NAME"}}
    assert not {f"{section}.{key}" for section, key in named if key not in keys_of(section)}


# ---- the site -----------------------------------------------------------------------------------
class Lenient(yaml.SafeLoader):
    """Reads mkdocs.yml without knowing the tags of its plugins."""


Lenient.add_multi_constructor("", lambda loader, suffix, node: None)


def pages_in(entry: object) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages_in(part)]  # type: ignore[union-attr]


def test_every_page_is_in_the_menu():
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Lenient)["nav"]
    assert sorted(pages_in(menu)) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # without --quiet: it silences warnings so well that --strict no longer counts them
    nowhere = "http://127.0.0.1:9"  # a proxy nobody answers at: the build needs no network
    environment = os.environ | {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT,
        env=environment | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_strictly_and_has_all_pages(site):
    built = {str(f.relative_to(site)) for f in site.rglob("index.html")}
    wanted = set()
    for page in DOCS.rglob("*.md"):
        place = page.relative_to(DOCS).with_suffix("")
        folder = place.parent if place.name == "index" else place
        wanted.add(str(folder / "index.html"))
    assert wanted <= built


def test_the_site_loads_nothing_from_elsewhere(site):
    """No font, script, style or picture of another host."""
    loading = re.compile(
        r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]+"'
        r'|<link\b[^>]*\brel="(?:stylesheet|preconnect|preload|icon)"[^>]*href="(?:https?:)?//[^"]+"'
    )
    found = {
        (str(file.relative_to(site)), match)
        for file in site.rglob("*.html")
        for match in loading.findall(file.read_text(encoding="utf-8"))
    }
    assert not found


# ---- numbers ------------------------------------------------------------------------------------
def test_the_table_of_readme_is_the_one_in_results():
    """Averages and errors of the study, methods in columns; the demo's claim."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in readme.splitlines() if row.startswith("| ")]
    header = next(row for row in rows if row[0] == "base")
    shown = {row[0]: row[1:] for row in rows if row[0].startswith("tiny-")}
    table = pd.read_csv(ROOT / "results/tiny/table1/table.csv")
    averages = table[table.benchmark == "avg_id"].set_index(["model", "method"])
    assert set(shown) == set(table.model)
    for model, cells in shown.items():
        for method, cell in zip(header, cells, strict=True):
            if cell != "–":
                found = averages.loc[model, method]
                assert cell.replace("*", "") == f"{found.score:.1f} ± {found.se:.1f}"
    claim = re.search(
        r"^sage − grpo: (.*?), p", (ROOT / "results/tiny/demo/table.md").read_text("utf-8"), re.M
    )
    assert claim[1].replace("-", "−") in readme


SHOWN = (
    "targets",
    "a step beside TRL",
    "its parts",
    "learning",
    "decoding",
    "methods",
    "growth",
    "pipeline",
    "real",
)


@pytest.mark.parametrize("title", SHOWN)
def test_the_tables_of_the_page_are_those_of_the_benchmarks(title):
    """`python -m benchmarks tables` prints what stands on the page."""
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert tables.everything(ROOT / "results/bench")[title] in page
