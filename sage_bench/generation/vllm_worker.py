"""The process around one vLLM engine: `python -m sage_bench.generation.vllm_worker`. Its lines are
described in `workers`.

The engine runs in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0): its schedule is then
deterministic, a kill leaves nothing behind, and on a CPU it starts in seconds instead of half a
minute.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import Empty, SimpleQueue
from typing import Any, TextIO

# of the machine; vLLM's default of 0.92 refuses to start beside anything else
CPU_MEMORY_SHARE = 0.3
CPU_BATCH = 8192  # tokens of one prefill on a CPU, at least


def engine_options(config: dict[str, Any], on_cpu: bool) -> dict[str, Any]:
    """Keywords of `vllm.LLM`.

    On a CPU, prompts are prefilled whole: vLLM rewinds the generator of a seeded request whose
    prompt came in parts, and CPU generators have no offset ("CPU Generator does not use offset").

    >>> config = {"model": "m", "max_model_len": 512, "engine": {"max_num_seqs": 8}}
    >>> engine_options(config, on_cpu=True)["max_num_batched_tokens"]
    8192
    """
    options = {
        k: config[k]
        for k in ("model", "max_model_len", "dtype", "tensor_parallel_size", "revision")
        if config.get(k) is not None
    }
    options |= {"enable_prefix_caching": True, "seed": 0}
    if on_cpu:
        options |= {
            "gpu_memory_utilization": CPU_MEMORY_SHARE,
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(CPU_BATCH, config.get("max_model_len") or 0),
        }
    return options | dict(config.get("engine") or {})


class Inbox:
    """Groups from the parent, read by a thread so that the engine never waits for them. The end of
    the input ends the process."""

    def __init__(self, source: TextIO):
        self.groups: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.source = source
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.source:
            self.groups.put(json.loads(line))
        # the parent is gone or wants no more; the engine may be in the middle of a step
        os._exit(0)

    def take(self, wait: bool) -> list[dict[str, Any]]:
        out = [self.groups.get()] if wait else []
        while True:
            try:
                out.append(self.groups.get_nowait())
            except Empty:
                return out


class Engine:
    """vLLM's offline engine, fed and stepped by hand, so that each sample is told when it
    finishes."""

    def __init__(self, config: dict[str, Any]):
        import vllm
        from vllm.platforms import current_platform

        self.vllm = vllm
        self.stop_ids = list(config.get("stop_token_ids") or [])
        self.llm = vllm.LLM(**engine_options(config, current_platform.is_cpu()))
        self.engine = self.llm.llm_engine
        self.ids: dict[str, int] = {}
        self.about = {
            "vllm": vllm.__version__,
            "device": current_platform.device_type,
            "max_model_len": self.llm.model_config.max_model_len,
        }

    def add(self, group: dict[str, Any]) -> None:
        """All samples of a question. One request each: vLLM's own n would give child i the seed +
        i, and neighbouring seeds would share samples."""
        params = [
            self.vllm.SamplingParams(
                temperature=group["temperature"],
                top_p=group["top_p"],
                max_tokens=group["max_tokens"],
                seed=seed,
                stop=group["stop"] or None,
                stop_token_ids=self.stop_ids,
            )
            for _, seed in group["asks"]
        ]
        prompts = [{"prompt_token_ids": group["prompt"]} for _ in params]
        requests = self.llm.enqueue(prompts, params, use_tqdm=False)
        for request, (number, _) in zip(requests, group["asks"], strict=True):
            self.ids[request.split("-")[0]] = number

    def step(self) -> list[dict[str, Any]]:
        """One step; the samples it finished."""
        out = []
        for request in self.engine.step():
            if request.finished:
                number, done = self.ids.pop(request.request_id.split("-")[0]), request.outputs[0]
                if done.finish_reason in {"stop", "length"}:
                    out.append(
                        {
                            "id": number,
                            "text": done.text,
                            "finish": done.finish_reason,
                            "tokens": len(done.token_ids),
                        }
                    )
                else:
                    out.append(
                        {"id": number, "failed": f"vLLM ended it with `{done.finish_reason}`"}
                    )
        return out


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")  # for our lines alone
    os.dup2(2, 1)  # whatever libraries print goes to the log

    def say(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    config = json.loads(sys.stdin.readline())
    try:
        engine = Engine(config)
    except Exception as error:
        say(
            error=(
                f"the engine does not start: {type(error).__name__}:"
                f" {str(error).strip() or 'no message'}"
            )
        )
        raise
    say(ready=engine.about)
    inbox = Inbox(sys.stdin)
    while True:
        for group in inbox.take(wait=not engine.ids):
            engine.add(group)
        for message in engine.step():
            say(**message)


if __name__ == "__main__":
    main()
