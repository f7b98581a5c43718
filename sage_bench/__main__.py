"""`python -m sage_bench` is `sage-bench`."""

from sage_bench.cli.main import main

if __name__ == "__main__":
    main()
