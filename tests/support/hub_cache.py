"""What an online load of a Hub dataset leaves in the cache of a machine, made without the Hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import datasets
from datasets.naming import camelcase_to_snakecase


def leave(
    cache: Path, repository: str, config: str, split: str, revision: str, rows: list[dict]
) -> None:
    """Put `rows` where `datasets.load_dataset(repository, config, split=split, revision=revision)`
    finds them offline."""
    owner, _, name = repository.partition("/")
    name = camelcase_to_snakecase(name)
    cache.mkdir(parents=True, exist_ok=True)
    source = cache / f"{name}.jsonl"
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    built = datasets.load_dataset(
        "json", data_files={split: str(source)}, split=split, cache_dir=str(cache / "built")
    )
    folder = cache / f"{owner}___{name}" / config / "0.0.0" / revision
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(Path(built.cache_files[0]["filename"]).parent, folder)
    for file in folder.glob("json-*"):
        file.rename(folder / file.name.replace("json-", f"{name}-", 1))
    info = json.loads((folder / "dataset_info.json").read_text())
    info |= {"dataset_name": name, "config_name": config, "builder_name": "parquet"}
    for part in info["splits"].values():
        part["dataset_name"] = name
    (folder / "dataset_info.json").write_text(json.dumps(info))
