#!/usr/bin/env bash
# An environment with DeepSpeed on top of the one that is active, to run ZeRO-3 on a CPU:
#   scripts/zero3_cpu_env.sh FOLDER
#   FOLDER/bin/python -m pytest -m slow tests/engines/test_trl_sharded.py -k zero3
# It wants g++ for DeepSpeed's communication between processes, which is compiled with the first run.
set -euo pipefail
if [ $# -ne 1 ] || [ "$1" = "--help" ] || [ "$1" = "-h" ]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0"
  exit $(($# == 1 ? 0 : 2))
fi
here=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python -m venv "$1"
there=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$here" >"$there/0_below.pth"
# an editable package is found by a file of this kind, and those of the first folder alone are read
cp "$here"/*.pth "$there/" 2>/dev/null || true
# its build looks at the torch that is there, and builds nothing that is not asked for
"$1/bin/pip" install -q 'setuptools>=77,<80' wheel
DS_BUILD_OPS=0 DS_ACCELERATOR=cpu "$1/bin/pip" install -q --no-build-isolation 'deepspeed>=0.19,<0.20'
"$1/bin/python" -c 'import deepspeed; print("deepspeed", deepspeed.__version__)' 2>/dev/null
