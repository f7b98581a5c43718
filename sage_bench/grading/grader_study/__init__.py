"""Measuring graders: how often each agrees with labelled answers."""
