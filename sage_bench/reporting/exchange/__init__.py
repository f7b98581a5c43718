"""Numbers in the forms other projects read: written, validated, and read back."""
