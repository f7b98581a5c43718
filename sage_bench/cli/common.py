"""What every verb does before anything heavy is imported."""

from __future__ import annotations

import os


def quiet_libraries() -> None:
    """No progress bars and advice of other people's libraries between our own lines.

    Only works before these libraries are imported.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
