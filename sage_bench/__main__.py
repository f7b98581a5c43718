"""`python -m sage_bench` is `sage-bench`."""

import sys

CTRL_C = 130  # as a shell says it: 128 + SIGINT


def run() -> None:
    """The program. Ctrl-C while its modules are still being imported leaves without a traceback."""
    try:
        from sage_bench.cli.main import main
    except KeyboardInterrupt:
        sys.exit(CTRL_C)
    main()


if __name__ == "__main__":
    run()
