"""Training sets that papers describe, made again from their sources."""
