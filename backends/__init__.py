"""One file a method. To add yours, copy the shortest one that is close and register it under a new
name."""
