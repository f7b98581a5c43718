"""What each backend is, from its own metadata: one source for `ls`, the dry run and
docs/methods.md (whose last section, on judges, is `sage_bench.judges.describe`'s)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal, get_args, get_origin

from sage_bench.generation.prompts import OneOf
from sage_bench.methods.base import Method, MethodConfig
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import BACKENDS

COMMAND = "sage-bench ls backends --markdown"
OURS = "sage_bench.backends."
UNSTATED = "not stated"

INTRO = f"""\
# Methods

<!-- Written by `{COMMAND} > docs/methods.md`. Do not edit: the text is metadata of backends/*.py and an introduction in
sage_bench/methods/describe.py, and a test compares. -->

A backend is one training method, in one file of `backends/`: a generator that asks for completions of one problem and returns a
group of them, and a pure function that turns the group into advantages. Everything else (sampling, verification, the update,
checkpoints, evaluation without hints) is shared, so that two backends differ in what is written here and in nothing else.

- A switch is set on the command line as `method.NAME=VALUE`, in a YAML file under `method:`, or as `SAGE_BENCH_METHOD__NAME`.
- Defaults follow the papers. Where a paper and its released code disagree, the table has both values, and `method.variant=code`
  takes the code's side in all of them at once. `{UNSTATED}` means that the paper leaves it open and the default is ours. What
  differs and has no switch is said below the table.
- The objective (clip, normaliser, entropy) is the same for all backends unless a backend says under *objective* what it
  changes; `objective.NAME=VALUE` changes it for a run.
- *Engine* is what a backend asks of the engine, checked before the first step. *Data* is what it reads of a row besides question
  and answer. *Progress* means that it looks at the planned number of steps, so that a longer run is another run.
- What happened to every group is in the run's `ledger.jsonl`; hint writing, rollouts and judging are counted apart.
"""  # noqa: E501


# ---- facts --------------------------------------------------------------------------------------
def about(thing: Any) -> str:
    """First paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def switches(config: type[MethodConfig]) -> list[dict[str, Any]]:
    """name, default, allowed values and help of every switch; paper and code where they
    disagree."""
    out = []
    for name, field in config.model_fields.items():
        row: dict[str, Any] = {
            "name": name,
            "default": field.default,
            "values": values(field.annotation, field.metadata),
            "help": field.description,
        }
        if isinstance(field.json_schema_extra, dict):
            row |= {
                k: field.json_schema_extra[k]
                for k in ("paper", "code")
                if k in field.json_schema_extra
            }
        out.append(row)
    return out


def values(kind: Any, limits: Iterable[Any] = ()) -> str:
    """What a switch accepts, for people.

    >>> values(Literal["last", "plain"]), values(int | None), values(bool)
    ('last, plain', 'int, null', 'true, false')
    """
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    words = {type(None): "null", bool: "true, false"}
    parts = [kind] if get_origin(kind) is dict else get_args(kind) or [kind]
    names = [words.get(p) or getattr(p, "__name__", str(p)) for p in parts]
    for limit in limits:
        if isinstance(limit, OneOf):
            return ", ".join(sorted(limit.names()))
        if getattr(limit, "pattern", None):
            return ", ".join(str(limit.pattern).strip("^$()").split("|"))
        for sign, key in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
            bound = getattr(limit, key, None)
            if bound is not None:
                names.append(f"{sign} {bound:g}")
    return ", ".join(names)


def lineage(method: type[Method]) -> tuple[list[type[Method]], str | None]:
    """The classes a backend is made of, and the backend it builds on: the nearest base that is one
    itself."""
    known = {cls: name for name, cls in BACKENDS.items()}
    own = [method]
    for base in method.__mro__[1:]:
        if base in known or base is Method:
            return own, known.get(base)
        own.append(base)
    return own, None


def backend(name: str) -> dict[str, Any]:
    """Everything a backend says of itself. Metadata of the backend it builds on is not repeated,
    its switches are."""
    method: type[Method] = BACKENDS.get(name)
    own, base = lineage(method)

    def declared(key: str, default: Any) -> Any:
        return next((vars(c)[key] for c in own if key in vars(c)), default)

    return {
        "name": name,
        "about": about(method),
        "needs": sorted(method.needs),
        "columns": [str(column) for column in declared("columns", ())],
        "reads": [asdict(column) for column in declared("columns", ())],
        "source": declared("source", ""),
        "builds_on": base,
        "objective": dict(method.objective),
        "uses_progress": method.uses_progress,
        "notes": [note for c in reversed(own) for note in vars(c).get("notes", ())],
        "module": method.__module__,
        "place": BACKENDS.place(name),
        "switches": switches(method.Config),
    }


def backends() -> list[dict[str, Any]]:
    return [backend(name) for name in BACKENDS.names()]


def shown(value: Any) -> str:
    """A value as one would type it.

    >>> shown(None), shown(True), shown(1e-6), shown("last"), shown({})
    ('null', 'true', '1e-06', 'last', '{}')
    """
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


# ---- docs/methods.md ----------------------------------------------------------------------------
def markdown(all_registered: bool = False) -> str:
    """The document, but for its section on judges: our backends, or all that are registered (those
    of `--backend-file` and of plugins too)."""
    rows = [r for r in backends() if all_registered or r["module"].startswith(OURS)]
    common = switches(MethodConfig)
    lines = [
        INTRO,
        "## Overview",
        "",
        "| backend | idea |",
        "|---|---|",
        *(f"| [`{r['name']}`](#{r['name']}) | {cell(r['about'])} |" for r in rows),
        "",
    ]
    lines += ["## Switches of every backend", "", *_table(common), ""]
    defaults = {r["name"]: {s["name"]: s for s in r["switches"]} for r in rows}
    for row in rows:
        inherited = defaults.get(row["builds_on"], {s["name"]: s for s in common})
        lines += [*_section(row, [s for s in row["switches"] if inherited.get(s["name"]) != s]), ""]
    return "\n".join(lines) + "\n"


def _section(row: dict[str, Any], own: list[dict[str, Any]]) -> list[str]:
    """One backend; its table has the switches it adds or changes."""
    file = row["module"].removeprefix("sage_bench.").replace(".", "/") + ".py"
    facts = [f"Source: {row['source']}."] if row["source"] else []
    facts += [
        f"File: `{file}`."
        + (
            f" Builds on [`{row['builds_on']}`](#{row['builds_on']}), whose switches it has too."
            if row["builds_on"]
            else ""
        )
    ]
    facts += [f"Engine: {', '.join(f'`{n}`' for n in row['needs']) or 'nothing'}."]
    facts += [f"Data: {'; '.join(row['columns'])}."] if row["columns"] else []
    facts += (
        [
            "Objective: "
            + ", ".join(
                f"`{k}={shown(v)}` (shared: `{shown(Objective.model_fields[k].default)}`)"
                for k, v in row["objective"].items()
            )
            + "."
        ]
        if row["objective"]
        else []
    )
    facts += (
        ["Progress: it depends on the planned number of steps."] if row["uses_progress"] else []
    )
    lines = [f"## {row['name']}", "", row["about"], "", *(f"- {f}" for f in facts), ""]
    lines += [*_table(own), ""] if own else []
    return (
        lines
        + ["Where paper, code and this backend differ:", "", *(f"- {n}" for n in row["notes"])]
        if row["notes"]
        else lines[:-1]
    )


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| switch | default | values | paper / code | what it does |", "|---|---|---|---|---|"]
    for s in rows:
        dispute = f"`{shown(s['paper'])}` / `{shown(s['code'])}`" if "paper" in s else ""
        lines.append(
            f"| `{s['name']}` | `{shown(s['default'])}` | {cell(s['values'])} | {dispute} |"
            f" {cell(s['help'])} |"
        )
    return lines


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
