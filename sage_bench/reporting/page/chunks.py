"""Files of data that a page loads from beside itself.

A page that was opened as a file may not fetch, but may load scripts. So data are scripts: one call
that hands over compressed JSON, which the page parses and never executes.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sage_bench.utils.files import writing

CALL = "benchReport.receive"
FASTEST = 1  # of zlib: texts shrink to a third, and a study is written in seconds
THREADS = 2
WAITING = 8  # chunks that wait to be compressed, at most: what bounds the memory


class Chunks:
    """Writes data files below a folder, compressing them beside the reading of the next ones."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor):
        self.folder = folder
        self._pool = pool
        self._pending: list[Any] = []
        self._written: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._written

    def write(self, name: str, value: Any) -> None:
        """Write the file `name`.js. Raises `SageBenchError` when the disk is full, at the latest
        when the chunks are closed."""
        self._written.add(name)
        self._pending.append(self._pool.submit(_write, self.folder / f"{name}.js", name, value))
        while len(self._pending) > WAITING:
            self._pending.pop(0).result()

    def wait(self) -> None:
        """Until everything is on the disk."""
        while self._pending:
            self._pending.pop(0).result()


@contextmanager
def open_chunks(folder: Path) -> Iterator[Chunks]:
    """Chunks below `folder`, all written when the context is left."""
    with ThreadPoolExecutor(THREADS) as pool:
        chunks = Chunks(folder, pool)
        yield chunks
        chunks.wait()


def encoded(value: Any) -> str:
    """Compressed JSON as text.

    >>> decoded(encoded(["<script>", 1]))
    ['<script>', 1]
    """
    # half a surrogate pair, which some models write, must not end the report
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"), FASTEST)).decode()


def decoded(text: str) -> Any:
    """What `encoded` was given."""
    return json.loads(zlib.decompress(base64.b64decode(text)).decode("utf-8", "surrogatepass"))


def read_chunk(file: Path) -> Any:
    """The value in a data file."""
    text = file.read_text(encoding="ascii")
    return decoded(text[text.index(",") + 2 : text.rindex('"')])


def in_html(value: Any) -> str:
    """JSON that stands inside a `<script type="application/json">`.

    >>> in_html({"a": "</script>"})
    '{"a": "\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _write(file: Path, name: str, value: Any) -> None:
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{CALL}({json.dumps(name)},"{encoded(value)}");\n', encoding="ascii")


def by_size(rows: Iterable[tuple[int, Any]], most: int) -> Iterator[list[Any]]:
    """Lists of neighbours whose sizes sum to about `most`; one that is larger stands alone.

    >>> list(by_size([(2, "a"), (2, "b"), (9, "c"), (1, "d")], 4))
    [['a', 'b'], ['c'], ['d']]
    """
    held: list[Any] = []
    size = 0
    for weight, row in rows:
        if held and size + weight > most:
            yield held
            held, size = [], 0
        held.append(row)
        size += weight
    if held:
        yield held
