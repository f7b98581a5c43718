"""A study as a graph of cells: train, select on validation, evaluate, for every row and seed."""
