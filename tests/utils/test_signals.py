"""Signals that ask to leave: at once, or when the import they interrupted is over."""

import os
import signal
import sys
import time

import pytest

from sage_bench.utils.errors import Interrupted
from sage_bench.utils.signals import leaving_on_signals

# a library that turns whatever happens while it is imported into something else
SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.2)
    whole = True
except BaseException:
    whole = False
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_waits_until_the_import_is_over(name, tmp_path, monkeypatch):
    module = f"swallows_{name.lower()}"
    (tmp_path / f"{module}.py").write_text(SWALLOWS.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    with leaving_on_signals(), pytest.raises(Interrupted) as asked:
        __import__(module)
        time.sleep(5)
    assert sys.modules.pop(module).whole
    assert asked.value.exit_code == 128 + getattr(signal, name)


def test_elsewhere_it_is_raised_at_once():
    with leaving_on_signals(), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_handlers_are_what_they_were():
    before = signal.getsignal(signal.SIGINT)
    with leaving_on_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
