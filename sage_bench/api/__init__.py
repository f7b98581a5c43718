"""The Python API: what the verbs of the command line do, as functions of plain arguments.

Import the functions from `sage_bench`, which loads them when they are first used.
"""
