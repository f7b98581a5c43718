"""A matrix as batch files of SLURM: one a cell, and a script that submits them in order."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sage_bench.study.matrix.cells import Cell, slug
from sage_bench.study.matrix.spec import Slurm
from sage_bench.utils.files import make_folder, write_text

FOLDER = "slurm"
SUBMIT = "submit.sh"
TABLES = "tables"


def write_batch_files(
    cells: Sequence[Cell], config: Path, out: Path, settings: Slurm, store: str | None = None
) -> list[Path]:
    """A file for every cell, one for the tables, and the script that submits them; the script last.

    A cell's file runs it by `sage-bench matrix --cell`, which does nothing where it is done, so the
    script may be run again. Choosing a checkpoint is done at the head of the evaluation's job.
    """
    folder = make_folder(out / FOLDER)
    (out / "logs").mkdir(exist_ok=True)
    base = ["sage-bench", "matrix", str(config.absolute()), "--out", str(out.absolute())]
    if store is not None:
        base += ["--store", store]
    jobs = [cell for cell in cells if cell.kind != "select"]
    files = []
    for cell in jobs:
        first = [need for need in cell.after if need.startswith("select/")]
        commands = [[*base, "--cell", name] for name in (*first, cell.name)]
        text = _batch(cell.name, cell, commands, out, settings)
        files.append(_write(folder / f"{slug(cell.name)}.sbatch", text))
    text = _batch(TABLES, None, [[*base, "--tables"]], out, settings)
    files.append(_write(folder / f"{TABLES}.sbatch", text))
    files.append(_write(folder / SUBMIT, _script(jobs)))
    return files


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    path.chmod(0o755)
    return path


def _batch(
    name: str, cell: Cell | None, commands: Sequence[Sequence[str]], out: Path, settings: Slurm
) -> str:
    log = out.absolute() / "logs" / f"slurm-{slug(name)}-%j.log"
    options = [f"--job-name={slug(name)}", f"--output={log}"]
    if cell is not None:
        options += [
            f"--cpus-per-task={cell.room.cores}",
            f"--mem={round(cell.room.memory_gb * 1024)}M",
        ]
        if cell.room.gpus:
            options.append(f"--gpus={max(1, round(cell.room.gpus))}")
    options += settings.options
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), "set -euo pipefail"]
    lines.append(f"cd {shlex.quote(str(Path.cwd()))}")
    lines += settings.setup
    return "\n".join([*lines, *(shlex.join(command) for command in commands)]) + "\n"


def _script(jobs: Sequence[Cell]) -> str:
    """Each job after those it needs; the tables after all, whether or not they ended well."""
    numbers = {cell.name: f"job_{i}" for i, cell in enumerate(jobs)}
    lines = [
        "#!/bin/bash",
        "# Submits every cell after those it needs. `SBATCH=echo` shows the calls.",
        "set -euo pipefail",
        'cd "$(dirname "$0")"',
        ': "${SBATCH:=sbatch}"',
    ]
    for cell in jobs:
        needs = [numbers[name] for name in _jobs_needed(cell)]
        after = ""
        if needs:
            joined = ":".join(f"${{{need}}}" for need in needs)
            after = f" --dependency=afterok:{joined} --kill-on-invalid-dep=yes"
        file = f"{slug(cell.name)}.sbatch"
        lines.append(f'{numbers[cell.name]}=$("$SBATCH" --parsable{after} {file})')
    every = ":".join(f"${{{number}}}" for number in numbers.values())
    lines.append(f'"$SBATCH" --parsable --dependency=afterany:{every} {TABLES}.sbatch')
    return "\n".join(lines) + "\n"


def _jobs_needed(cell: Cell) -> list[str]:
    """The jobs a cell waits for; the choice of a checkpoint is part of its own."""
    return [need.replace("select/", "train/", 1) for need in cell.after]
