"""The command line: one small file a verb. Importing these files imports no torch."""
