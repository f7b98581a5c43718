"""What a run is: digests of the contents that decide its weights.

Keys of the configuration say where things lie; two runs are the same when what lies there is. So
a folder goes on under another spelling of a path, and does not go on after the file behind it was
edited, unless somebody says so (`train.accept_change`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.config.layers import Resolved
from sage_bench.config.nesting import values_of
from sage_bench.config.schema import RunConfig
from sage_bench.data.schema import TrainConfig, TrainManifest
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.weights import hash_weights
from sage_bench.methods.base import Method
from sage_bench.training import checkpoint
from sage_bench.training.sources import sources
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError
from sage_bench.utils.secrets import masked
from sage_bench.version import VERSION

# what each digest is of, as an error says it
CONTENTS = {
    "data": "the rows of the data",
    "prompts": "the prompt texts",
    "method": "the source of the method",
    "template": "the chat template, its options or its date",
    "tokenizer": "the tokenizer",
    "weights": "the weights of the initial policy",
    "version": "the version of sage-bench",
    "record": "the recorded groups",
}

# keys (or sections) that may change when a run goes on: the weights do not depend on them, or on
# their spelling only, and what they name has a digest of its own
FREE = (
    "log.",
    "validation.",
    "train.save_every",
    "train.keep",
    "train.accept_change",
    "train.allow_degraded",
    "train.max_rounds",
    "train.stall_minutes",
    "optim.on_nonfinite",
    "engine.wave_tokens",
    "engine.cuda_graphs",
    "engine.micro_tokens",
    "engine.threads",
    "engine.max_logprob_gap",
    "engine.probe_rows",
    "engine.vllm.memory",
    "engine.vllm.sleep_level",
    "engine.vllm.url",
    "engine.vllm.transfer",
    "engine.vllm.folder",
    "engine.vllm.wait_minutes",
    "engine.rank_minutes",
)
NAMES_OF_CONTENTS = ("model.path", "model.revision", "data.source", "prompts")


def identity(
    config: RunConfig, method: type[Method], problems: Sequence[Problem], renderer: Renderer
) -> dict[str, str]:
    """The digests of `CONTENTS`. config: with `model.path` as transformers takes it."""
    tokenizer = renderer.tokenizer
    # contents, never paths: what lies there decides the weights
    return {
        "data": data_digest(problems),
        "prompts": _short([renderer.prompts.model_dump_json()]),
        "method": method_digest(method),
        "template": _short(_template(renderer)),
        "tokenizer": _short([json.dumps(tokenizer.get_vocab(), sort_keys=True)]),
        "weights": hash_weights(config.model.path, config.model.revision),
        "version": VERSION,
    }


def data_digest(problems: Sequence[Problem]) -> str:
    """Digest of the rows of the data."""
    return _short(_rows(problems))


def method_digest(method: type[Method]) -> str:
    """Digest of the source files of a method and of its bases."""
    return _short(sources(method))


def _short(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        # a separator, so that text moved from one part to the next changes the digest
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _rows(problems: Sequence[Problem]) -> Iterable[str]:
    for p in problems:
        row = [p.uid, p.question, p.answer, p.solution, dict(p.extra)]
        yield json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)


def _template(renderer: Renderer) -> Iterable[str]:
    """Its text, its options, and what it makes of a chat: some write today's date."""
    yield str(renderer.tokenizer.chat_template)
    yield json.dumps(dict(renderer.template_options), sort_keys=True, default=str)
    yield renderer.chat([{"role": "user", "content": "1+1"}])


def check_same_run(
    resolved: Resolved[RunConfig], folder: Path, method: type[Method], digests: Mapping[str, str]
) -> list[str]:
    """A folder holds one run: compare this one with that whose checkpoints lie there.

    Returns the differences that `train.accept_change` accepts, in words. Raises `UsageError` that
    names the others and the switch, `DataError` when the files to compare with are damaged. A
    longer `train.steps` goes on from the last checkpoint where nothing depends on the planned
    length.
    """
    if not checkpoint.steps(folder):
        return []
    before = TrainConfig.read(folder / "config.json")
    manifest = TrainManifest.read(folder / "manifest.json")
    differences = _keys(resolved, before.values, method, with_names=not manifest.identity)
    for name, digest in digests.items():
        # a digest that earlier versions did not keep cannot differ
        earlier = manifest.identity.get(name, digest)
        if earlier != digest:
            differences[name] = f"{CONTENTS[name]}: {earlier} then, {digest} now"
    accepted = set(resolved.config.train.accept_change)
    refused = {name: text for name, text in differences.items() if name not in accepted}
    if refused:
        shown = ", ".join(list(refused.values())[:5])
        raise UsageError(
            f"the folder holds another run ({shown})",
            where=str(folder),
            remedy=(
                f"train.accept_change=[{','.join(refused)}] (`--accept-change {','.join(refused)}`)"
                " goes on with the change and records it; or choose another --out, or"
                " --overwrite (moves the old run to .trash)"
            ),
        )
    return list(differences.values())


def _keys(
    resolved: Resolved[RunConfig],
    before: Mapping[str, Any],
    method: type[Method],
    *,
    with_names: bool,
) -> dict[str, str]:
    """Keys of the configuration whose values differ. with_names: paths count too, for runs of
    versions that kept no digests of what they name."""
    now = masked(values_of(resolved.config))
    before = masked(before)  # runs of earlier versions wrote keys of servers as they were given
    defaults = values_of(RunConfig())
    free = FREE if with_names else FREE + NAMES_OF_CONTENTS
    depends_on_length = resolved.config.optim.schedule != "constant" or method.uses_progress
    if not depends_on_length and now["train.steps"] >= before.get("train.steps", 0):
        free = (*free, "train.steps")
    out = {}
    for key in sorted({*before, *now}):
        # a key that did not exist when the run began had what is its default today
        then, today = (values.get(key, defaults.get(key)) for values in (before, now))
        if then != today and not key.startswith(free):
            out[key] = f"{key}: {then} then, {today} now"
    return out


def record_changes(
    manifest: TrainManifest, folder: Path, step: int, accepted: Sequence[str]
) -> TrainManifest:
    """The manifest with what earlier calls into this folder recorded, and what was accepted now."""
    file = folder / "manifest.json"
    if not checkpoint.steps(folder) or not file.exists():
        return manifest
    before = TrainManifest.read(file)
    now = [{"what": text, "step": step, "time": time.time()} for text in accepted]
    versions = list(before.earlier_versions)
    if before.versions != manifest.versions and before.versions not in versions:
        versions.append(before.versions)
    return manifest.model_copy(
        update={
            "accepted_changes": [*before.accepted_changes, *now],
            "degraded": sorted({*before.degraded, *manifest.degraded}),
            "earlier_versions": versions,
        }
    )
