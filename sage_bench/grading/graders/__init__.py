"""Graders by name; one file a grader."""
