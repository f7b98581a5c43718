"""vLLM's offline engine: one process a GPU (or group of GPUs), fed from one queue by question."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sage_bench.generation.adapters import base_of
from sage_bench.generation.model_folders import load_tokenizer, refused, template_options_of
from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import TemplatedSampler
from sage_bench.generation.templates import chat_renderer
from sage_bench.generation.weights import hash_weights, short_sha
from sage_bench.generation.workers import Group, Pool
from sage_bench.types import Completion, Prompt, Sample
from sage_bench.utils.errors import UsageError

SEQUENCES = 256  # samples decoded together by one engine, unless told otherwise
COMMAND = (sys.executable, "-m", "sage_bench.generation.vllm_worker")


@register_sampler("vllm")
class Vllm(TemplatedSampler):
    """vLLM offline. Every sample is a request with its own hashed seed; all samples of a question
    share its prefix cache.

    workers: processes, each with tensor_parallel GPUs (default: as many as there are GPUs for).
    Data parallelism is ours and not vLLM's: ids and seeds do not depend on how many workers there
    are. max_model_len: default the model's own context, or the one
    engine.hf_overrides.max_position_embeddings gives it; prompts that do not fit with their
    max_tokens are refused before an engine starts. kv_cache_gb: of each engine, on a CPU.
    batch_invariant: VLLM_BATCH_INVARIANT=1, texts then depend less on what is decoded beside them
    (GPU, slower).
    engine: further keywords of `vllm.LLM`, e.g. {gpu_memory_utilization: 0.85, quantization: fp8}.
    """

    longer = (
        "--sampler-option engine.hf_overrides.max_position_embeddings=N, beyond what the model was"
        " trained for"
    )

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        revision: str | None = None,
        tensor_parallel: int = 1,
        workers: int | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int = SEQUENCES,
        kv_cache_gb: int = 1,
        batch_invariant: bool = False,
        engine: Mapping[str, Any] | None = None,
        chat_template: str = "auto",
        template: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
    ):
        if find_spec("vllm") is None:
            raise UsageError(
                "vLLM is not installed here",
                where="sampler vllm",
                remedy=(
                    "`pip install 'sage-bench[vllm]'` on a machine with a GPU;"
                    " scripts/vllm_cpu_env.sh without one"
                ),
            )
        if base_of(model) is not None:
            raise UsageError(
                "this folder holds adapters, and vLLM wants a whole model",
                where=model,
                remedy=f"`sage-bench export {model} --merge --out FOLDER`, or --sampler hf",
            )
        self.path = model
        self.revision = revision
        self.pool: Pool | None = None
        self.logs: Path | None = None
        self.tokenizer = load_tokenizer(model, revision, trust_remote_code=trust_remote_code)
        options = template_options_of(model, template)
        self.renderer = chat_renderer(self.tokenizer, chat_template, options)
        config, self.stop_ids = read_config(
            model, revision, self.tokenizer, trust_remote_code=trust_remote_code
        )
        self.commit = getattr(config, "_commit_hash", None)
        self.context = context_of(
            config.get_text_config(), max_model_len, (engine or {}).get("hf_overrides") or {}
        )
        gpus = visible_gpus(device)
        fitting = "bfloat16" if gpus else "float32"
        self.dtype = fitting if dtype == "auto" else dtype
        self.devices = split_gpus(gpus, tensor_parallel, workers)
        self.max_num_seqs = max_num_seqs
        self.engine = {"max_num_seqs": max_num_seqs, **dict(engine or {})}
        if trust_remote_code:
            self.engine.setdefault("trust_remote_code", True)
        self.config: dict[str, Any] = {
            "model": model,
            "revision": revision,
            "dtype": self.dtype,
            "max_model_len": self.context,
            "tensor_parallel_size": tensor_parallel,
            "stop_token_ids": self.stop_ids,
            "engine": self.engine,
        }
        self.env = {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
            "PYTHONUNBUFFERED": "1",
        }
        if not gpus:
            self.env["VLLM_CPU_KVCACHE_SPACE"] = str(kv_cache_gb)
        if batch_invariant:
            self.env["VLLM_BATCH_INVARIANT"] = "1"

    def open(self, folder: Path) -> None:
        self.logs = folder / "logs"

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        groups = group_by_question(samples, self.ids, limit=self.max_num_seqs)
        lengths = {number: len(g["prompt"]) for g in groups for number, _ in g["asks"]}
        for message in self._pool().run(groups):
            number = message["id"]
            if "failed" in message:
                yield number, Completion(failed=message["failed"])
            else:
                yield (
                    number,
                    Completion(
                        text=message["text"],
                        finish=message["finish"],
                        prompt_tokens=lengths[number],
                        counted=message["tokens"],
                    ),
                )

    def _pool(self) -> Pool:
        if self.pool is None:
            logs = self.logs or Path(tempfile.mkdtemp(prefix="sage-bench-vllm-"))
            self.pool = Pool(
                COMMAND,
                [self.config] * len(self.devices),
                [self._env_of(devices) for devices in self.devices],
                logs=logs,
                name="vllm",
                window=2 * self.max_num_seqs,
            )
        return self.pool

    def _env_of(self, devices: Sequence[str]) -> dict[str, str]:
        if not devices:
            return dict(self.env)
        return {**self.env, "CUDA_VISIBLE_DEVICES": ",".join(devices)}

    def close(self) -> None:
        if self.pool:
            self.pool.close()
            self.pool = None

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts. Not the number of workers, and not vLLM's version (which the
        manifest has)."""
        return {
            "sampler": "vllm",
            "weights": hash_weights(self.path, self.commit or self.revision),
            "template": short_sha(self.renderer.template),
            "vocabulary": short_sha(repr(sorted(self.tokenizer.get_vocab().items()))),
            "dtype": self.dtype,
            "template_options": self.renderer.template_options,
            "max_model_len": self.context,
            "engine": {
                k: v
                for k, v in self.engine.items()
                if k in {"quantization", "rope_scaling", "hf_overrides"}
            },
        }


def group_by_question(
    samples: Sequence[Sample], ids: Callable[[Prompt], Sequence[int]], *, limit: int
) -> list[Group]:
    """Groups for the workers: samples of one prompt under the same sampling, at most `limit` in
    each, in the order they were asked."""
    groups: dict[tuple[Any, ...], list[Group]] = {}
    out: list[Group] = []
    for i, sample in enumerate(samples):
        params = sample.params
        same = groups.setdefault((sample.prompt, params), [])
        if not same or len(same[-1]["asks"]) >= limit:
            same.append(
                {
                    "prompt": same[0]["prompt"] if same else list(ids(sample.prompt)),
                    "temperature": params.temperature,
                    "top_p": params.top_p,
                    "max_tokens": params.max_tokens,
                    "stop": list(params.stop),
                    "asks": [],
                }
            )
            out.append(same[-1])
        same[-1]["asks"].append([i, sample.seed])
    return out


def visible_gpus(device: str) -> list[str]:
    """Names of the GPUs this process may use, as CUDA_VISIBLE_DEVICES knows them; none for device
    "cpu"."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return []
    named = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    return named or [str(i) for i in range(torch.cuda.device_count())]


def split_gpus(gpus: Sequence[str], tensor_parallel: int, workers: int | None) -> list[list[str]]:
    """The GPUs of each worker. Without GPUs, `workers` (or one) workers on the CPU.

    >>> split_gpus(["0", "1", "2", "3"], 2, None), split_gpus([], 1, 2)
    ([['0', '1'], ['2', '3']], [[], []])
    """
    room = len(gpus) // tensor_parallel if tensor_parallel > 0 else 0
    workers = (room or 1) if workers is None else workers
    if not gpus and workers > 0 and tensor_parallel == 1:
        return [[] for _ in range(workers)]
    if not 1 <= workers <= room:
        raise UsageError(
            f"{workers} workers of {tensor_parallel} GPUs each do not fit {len(gpus)} GPUs",
            where="sampler vllm",
            remedy="lower workers or tensor_parallel",
        )
    return [list(gpus[i * tensor_parallel : (i + 1) * tensor_parallel]) for i in range(workers)]


def context_of(config: Any, max_model_len: int | None, overrides: Mapping[str, Any]) -> int | None:
    """Most tokens of a prompt and its completion together. Raises `UsageError` for more than the
    model has, which vLLM would refuse minutes later.

    A scaled rope (YaRN, ...) may reach further than max_position_embeddings says: then the engine
    decides.

    >>> from types import SimpleNamespace as Config
    >>> own = Config(max_position_embeddings=4096)
    >>> context_of(own, None, {}), context_of(own, 8192, {"max_position_embeddings": 8192})
    (4096, 8192)
    """
    own = overrides.get("max_position_embeddings", getattr(config, "max_position_embeddings", None))
    rope = overrides.get("rope_parameters", getattr(config, "rope_parameters", None)) or {}
    scaled = (
        rope.get("rope_type", "default") != "default"
        or any(isinstance(v, Mapping) for v in rope.values())
        or "rope_scaling" in overrides
    )
    if (
        max_model_len
        and own
        and max_model_len > own
        and not scaled
        and os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") != "1"
    ):
        raise UsageError(
            f"max_model_len {max_model_len} is more than the model's context of {own} tokens",
            where="sampler vllm",
            remedy=f"lower it, or {Vllm.longer}",
        )
    return max_model_len or own


def read_config(
    path: str, revision: str | None, tokenizer: Any, *, trust_remote_code: bool = False
) -> tuple[Any, list[int]]:
    """(model configuration, all its end tokens). The same ends as the local sampler knows, so that
    both stop at the same token."""
    from transformers import AutoConfig, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        raise refused(error, path, "the model's configuration does not load") from error
    found: set[int] = set()
    try:
        generation = GenerationConfig.from_pretrained(path, revision=revision)
    except OSError:
        generation = None  # not every model has one
    for source in (generation, config, tokenizer):
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return config, sorted(found)
