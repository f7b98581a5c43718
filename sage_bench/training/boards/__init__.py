"""Where the numbers of a run are shown while it goes: TensorBoard, and trackers of others."""
