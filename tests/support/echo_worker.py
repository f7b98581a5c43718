"""A worker that speaks the lines of `sage_bench.generation.workers` and has no engine: its texts
are a function of the seed.

Configuration: delay (seconds a sample), die_after (samples, then the process kills itself), pids (a
file it adds its number to).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from queue import SimpleQueue


def main() -> None:
    config = json.loads(sys.stdin.readline())
    if "pids" in config:
        with open(config["pids"], "a") as f:
            f.write(f"{os.getpid()}\n")
    if config.get("broken"):
        print(json.dumps({"error": "no such weights"}), flush=True)
        return
    print("engine chatter", file=sys.stderr, flush=True)
    print(json.dumps({"ready": {"pid": os.getpid()}}), flush=True)
    groups: SimpleQueue = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            groups.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    drawn = 0
    while True:
        group = groups.get()
        for number, seed in group["asks"]:
            time.sleep(config.get("delay", 0))
            if drawn == config.get("die_after"):
                print("out of memory, says the engine", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            print(
                json.dumps(
                    {
                        "id": number,
                        "text": f"\\boxed{{{seed % 7}}}",
                        "finish": "stop",
                        "tokens": 3,
                        "pid": os.getpid(),
                    }
                ),
                flush=True,
            )
            drawn += 1


if __name__ == "__main__":
    main()
