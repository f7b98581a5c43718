"""From two readings to a verdict: when an answer is the gold in another form."""
