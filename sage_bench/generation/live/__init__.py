"""Samplers of a policy while it learns: engines with weights of their own, kept equal to the
learner's."""
