"""Training: the loop, checkpoints, and the ledger of what happened to every group."""
