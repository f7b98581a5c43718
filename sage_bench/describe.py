"""What each backend is, from its own metadata: one source for `ls`, the dry run and docs/methods.md."""

from __future__ import annotations

from typing import Any

from sage_bench.method import Method, MethodConfig
from sage_bench.registry import BACKENDS


def switches(config: type[MethodConfig]) -> list[dict[str, Any]]:
    """name, default, help of every switch; paper and code where they disagree."""
    out = []
    for name, field in config.model_fields.items():
        row: dict[str, Any] = {"name": name, "default": field.default, "help": field.description}
        if isinstance(field.json_schema_extra, dict):
            row |= {k: field.json_schema_extra[k] for k in ("paper", "code") if k in field.json_schema_extra}
        out.append(row)
    return out


def backend(name: str) -> dict[str, Any]:
    method: type[Method] = BACKENDS.get(name)
    return {
        "name": name, "about": (method.__doc__ or "").strip().split("\n")[0], "needs": sorted(method.needs), "source": method.source,
        "place": BACKENDS.place(name), "switches": switches(method.Config),
    }


def backends() -> list[dict[str, Any]]:
    return [backend(name) for name in BACKENDS.names()]
