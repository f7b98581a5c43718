#!/usr/bin/env bash
# Five methods on engine local and on engine trl (two gloo processes), trained and evaluated; their tables one under the other.
#   scripts/engines_side_by_side.sh runs/engines [STEPS] [PROMPTS]
# Then the gradients of both engines for every backend and kind of row, with all weights and with adapters.
# 7 minutes on two cores at 6 steps of 8 prompts, most of them TRL's start (2 x 12 s a run).
set -euo pipefail
OUT=${1:-runs/engines}; STEPS=${2:-6}; PROMPTS=${3:-8}
export OMP_NUM_THREADS=1
ranks=(torchrun --standalone --nproc-per-node 2 -m sage_bench)
for engine in local trl; do
  start=(sage-bench); [ $engine = trl ] && start=("${ranks[@]}")
  for method in sage hint oar_g luffy scaf_grpo; do
    "${start[@]}" train --engine $engine --backend $method --model tiny-qwen2 --data tiny -q \
      --out $OUT/$engine/train/$method train.steps=$STEPS train.prompts_per_step=$PROMPTS train.save_every=$STEPS \
      validation.every=$STEPS validation.limit=16 optim.warmup_steps=0 log.tensorboard=false
    sage-bench eval -m $OUT/$engine/train/$method/checkpoints/step_$(printf %06d $STEPS) -t tiny:1 --limit 32 \
      --out $OUT/$engine/eval -q
  done
  sage-bench report $OUT/$engine/train $OUT/$engine/eval --out $OUT/$engine/report
done
for engine in local trl; do echo "engine $engine"; cat $OUT/$engine/report/table.md; done
# did every method learn from something? rows trained in each step, by engine; and are the groups the same?
python - "$OUT" <<'PY'
import json, sys
from pathlib import Path
for method in "sage hint oar_g luffy scaf_grpo".split():
    runs = {e: Path(sys.argv[1]) / e / "train" / method for e in ("local", "trl")}
    rows = {e: [int(json.loads(l).get("learner/trained_rows", 0)) for l in (f / "metrics.jsonl").open()] for e, f in runs.items()}
    led = {e: (f / "ledger.jsonl").read_text().splitlines() for e, f in runs.items()}
    same = sum(a == b for a, b in zip(led["local"], led["trl"]))
    print(f"{method:10} trained rows a step: local {rows['local']} trl {rows['trl']}; groups alike: {same} of {len(led['local'])}")
PY
torchrun --standalone --nproc-per-node 2 scripts/engine_conformance.py
torchrun --standalone --nproc-per-node 2 scripts/engine_conformance.py engine.lora.rank=4
