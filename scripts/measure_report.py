"""How large the report of a study is, and how long it takes to write, to open and to filter.

    python tests/support/study_folders.py STUDY [--texts completions.jsonl]
    python scripts/measure_report.py STUDY OUT

Writing is measured in seconds of the wall clock and of the processor, which other load does not
stretch. Opening and filtering are measured by a headless Chromium; a page counts as open when the
answers of its first question are on the screen.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from sage_bench.reporting.report import report

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--written", action="store_true", help="the report in OUT as it is")
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if not args.written:
        wall, cpu = time.perf_counter(), time.process_time()
        report([args.study], args.out)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"written in {wall:.1f} s, {cpu:.1f} s of CPU, at most {memory:.0f} MB of memory")
    files = [f for f in args.out.rglob("*") if f.is_file()]
    size = sum(f.stat().st_size for f in files)
    page = (args.out / "index.html").stat().st_size
    study = sum(f.stat().st_size for f in args.study.rglob("*") if f.is_file())
    print(f"study {study / 1e6:.0f} MB; report {size / 1e6:.0f} MB in {len(files)} files,")
    print(f"  of it index.html {page / 1e3:.0f} kB")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(REPEATS):
            tab = chromium.new_context(offline=True).new_page()
            measure(tab, f"file://{(args.out / 'index.html').resolve()}")
            tab.context.close()
        chromium.close()


def measure(tab: Page, address: str) -> None:
    """Print the times of one fresh browser window."""
    tab.goto(address, wait_until="commit")
    tab.wait_for_selector("table.methods")
    overview = now(tab)
    tab.wait_for_selector("#overview[data-drawn]")
    drawn = now(tab)
    tab.goto("about:blank")
    tab.goto(address + "#samples", wait_until="commit")
    tab.wait_for_selector("#samples .detail[data-shown] .completion")
    samples = now(tab)
    print(
        f"table after {overview} ms, its chart after {drawn} ms; samples open after {samples} ms;"
    )
    for name in ("wrong", "truncated", "disagree"):
        tab.click(f"[data-filter={name}]")
        took = tab.get_attribute("#samples", "data-filtered")
        print(f"  filter {name}: {took} ms, {tab.inner_text('#samples .counted')}")
        tab.click(f"[data-filter={name}]")
    began = now(tab)
    tab.select_option("#samples select[aria-label=beside]", index=2)
    tab.wait_for_selector("#samples .sides.of2 .completion")
    print(f"  a second run beside it after {now(tab) - began} ms")
    tab.fill("#samples input[type=search]", "triangle")
    tab.wait_for_timeout(500)
    took = tab.get_attribute("#samples", "data-filtered")
    print(f"  search for a word: {took} ms, {tab.inner_text('#samples .counted')}")


def now(tab: Page) -> int:
    """Milliseconds since the page began to load."""
    return round(tab.evaluate("performance.now()"))


if __name__ == "__main__":
    main()
