"""From characters to tokens: one spelling, words and units recognised, cut into tokens."""
