"""Under `torchrun`: a policy sharded by FSDP2, as accelerate shards it on GPUs, on CPUs here.

Every rank has another number of requests. Prints one JSON line on rank 0: whether what is drawn,
scored and kept is what a whole policy gives.
"""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from sage_bench.engines.local.optim import write_tensors
from sage_bench.engines.trl.sharding import optimizer_tensors, restore_optimizer, whole_weights
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.samplers.hf import Hf
from sage_bench.types import Sample, Sampling


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    policy = load_policy(model_path("package:data/tiny_policies/qwen2"), device="cpu")
    whole = deepcopy(policy)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    for layer in policy.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy.model, mesh=mesh)
    adam = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    plain = torch.optim.AdamW(whole.model.parameters(), lr=1e-2)
    ids = torch.arange(8, 20)[None]
    for model, optimizer in ((policy.model, adam), (whole.model, plain)):
        model(input_ids=ids).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    # ragged: rank 0 has three requests, rank 1 one
    sampling = Sampling(1.0, 1.0, 12)
    asks = [Sample((8 + i, 9, 10), 1, sampling, seed=i) for i in range(3 - 2 * rank)]
    with whole_weights(policy.model, "fsdp2"):
        drawn = Hf.of(policy).complete(asks)
        pairs = [(ask.prompt, c.tokens) for ask, c in zip(asks, drawn, strict=True)]
        with torch.no_grad():
            scored = [log_probs(policy, [pair])[0] for pair in pairs]
    expected = Hf.of(whole).complete(asks)
    tokens = [c.tokens for c in drawn] == [c.tokens for c in expected]
    gap = max(float((s - c.logp).abs().max()) for s, c in zip(scored, expected, strict=True))
    # afterwards it trains on, sharded
    policy.model(input_ids=ids).logits.square().mean().backward()
    whole.model(input_ids=ids).logits.square().mean().backward()
    both = zip(policy.model.parameters(), whole.model.parameters(), strict=True)
    far = [float((a.grad.full_tensor() - b.grad).norm() / (b.grad.norm() + 1e-9)) for a, b in both]
    # optimiser state goes to a file whole, and comes back in parts
    tensors = optimizer_tensors(list(policy.model.parameters()), adam, "fsdp2")
    same = all(
        torch.allclose(tensors[f"exp_avg.{i}"], plain.state[p]["exp_avg"], rtol=1e-4, atol=1e-9)
        for i, p in enumerate(whole.model.parameters())
    )
    file = Path(sys.argv[1])
    if rank == 0:
        write_tensors(file, tensors)
    distributed.barrier()
    adam.state.clear()
    restore_optimizer(file, list(policy.model.parameters()), adam, "fsdp2")
    again = optimizer_tensors(list(policy.model.parameters()), adam, "fsdp2")
    restored = all(torch.equal(again[name], tensors[name]) for name in tensors)
    found = [None] * distributed.get_world_size()
    mine = {"tokens": tokens, "gap": gap, "far": max(far), "state": same, "restored": restored}
    distributed.all_gather_object(found, mine)
    if rank == 0:
        print(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
