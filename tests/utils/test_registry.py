"""Names: registering, looking up, and every way a name can be wrong."""

from __future__ import annotations

import sys

import pytest

from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.registry import Registry, load_file


def test_unknown_name_suggests_the_closest_and_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean `grpo`") as caught:
        BACKENDS.get("grop")
    assert caught.value.exit_code == 2


def test_duplicate_name_names_both_places():
    registry: Registry = Registry("thing")

    @registry.register("a")
    class First:
        pass

    with pytest.raises(SageBenchError) as caught:

        @registry.register("a")
        class Second:
            pass

    assert str(caught.value).count("test_registry.py:") == 2


@pytest.mark.parametrize("name", ["", "Has Space", "UPPER", "-x"])
def test_malformed_names_are_refused(name):
    with pytest.raises(SageBenchError):
        Registry("thing").register(name)


def test_all_backends_of_the_package_are_there():
    assert {"grpo", "sage", "sage_light", "sft"} <= set(BACKENDS.names())


def plugin(folder, body: str, entry: str):
    """An installed package, as pip would leave it: a module and its dist-info."""
    (folder / "sb_plugin.py").write_text(body)
    info = folder / "sb_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sb-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sage_bench.test_things]\n{entry}\n")


def test_entry_points_of_installed_packages_are_found(tmp_path, monkeypatch):
    plugin(tmp_path, "class Thing: pass\n", "theirs = sb_plugin:Thing")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry = Registry("thing", group="sage_bench.test_things")
    assert registry.names() == ["theirs"]
    assert registry.get("theirs").__name__ == "Thing"
    assert "sb-plugin" in registry.place("theirs")
    sys.modules.pop("sb_plugin")


def test_a_broken_plugin_does_not_take_the_others_down(tmp_path, monkeypatch):
    plugin(tmp_path, "raise RuntimeError('no licence')\n", "theirs = sb_plugin:Thing")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry = Registry("thing", group="sage_bench.test_things")
    registry.register("ours")(object())
    assert registry.names() == ["ours"]
    with pytest.raises(SageBenchError, match="no licence"):
        registry.get("theirs")
    sys.modules.pop("sb_plugin", None)


def test_a_users_file_is_imported_once_and_its_errors_name_it(tmp_path):
    good = tmp_path / "good.py"
    good.write_text(
        "from sage_bench import register_backend\nfrom sage_bench.backends.grpo import"
        " GRPO\n@register_backend('from-file')\nclass Mine(GRPO):\n    'mine'\n"
    )
    load_file(good)
    load_file(good)
    assert BACKENDS.get("from-file").__name__ == "Mine"
    bad = tmp_path / "bad.py"
    bad.write_text("import no_such_module\n")
    with pytest.raises(SageBenchError, match=r"bad\.py: does not import: ModuleNotFoundError"):
        load_file(bad)
    with pytest.raises(UsageError, match="no such file"):
        load_file(tmp_path / "missing.py")


def test_an_entry_point_may_name_a_module_whose_decorators_register(tmp_path, monkeypatch):
    registry: Registry = Registry("thing", group="sage_bench.test_things")
    monkeypatch.setattr("builtins.test_things_registry", registry, raising=False)
    body = "import builtins\n@builtins.test_things_registry.register('theirs')\nclass Thing: pass\n"
    plugin(tmp_path, body, "theirs = sb_plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.register("ours")(object())
    assert registry.names() == ["ours", "theirs"]
    assert registry.broken() == {}
    sys.modules.pop("sb_plugin")


def test_a_module_that_registers_nothing_is_a_broken_plugin(tmp_path, monkeypatch):
    plugin(tmp_path, "class Thing: pass\n", "theirs = sb_plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry = Registry("thing", group="sage_bench.test_things")
    registry.register("ours")(object())
    assert registry.names() == ["ours"]
    assert "registers no thing" in registry.broken()["theirs"]
    assert "`module:Name`" in registry.broken()["theirs"]
    sys.modules.pop("sb_plugin")


def test_a_plugin_that_takes_a_name_of_ours_breaks_that_name_alone(tmp_path, monkeypatch):
    plugin(tmp_path, "class Thing: pass\n", "ours = sb_plugin:Thing")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry = Registry("thing", group="sage_bench.test_things")
    registry.register("ours")(object())
    registry.register("other")(object())
    assert registry.get("other")
    with pytest.raises(SageBenchError, match="two things are called `ours`"):
        registry.get("ours")
    sys.modules.pop("sb_plugin")
