"""`python -m sage_bench` is `sage-bench`."""

import gc
import sys

CTRL_C = 130  # as a shell says it: 128 + SIGINT


def run() -> None:
    """The program. Ctrl-C while its modules are still being imported leaves without a traceback."""
    # nothing that verbs are declared with can be thrown away; they turn it on again (`Verbs`)
    gc.disable()
    try:
        from sage_bench.utils.signals import leaving_on_signals

        with leaving_on_signals():
            from sage_bench.cli.main import main
        main()
    except KeyboardInterrupt as asked:
        sys.exit(getattr(asked, "exit_code", CTRL_C))


if __name__ == "__main__":
    run()
