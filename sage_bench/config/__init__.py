"""Configuration: its schema, the layers it is merged from, and presets of models."""
