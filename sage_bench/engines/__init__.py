"""Engines answer a method's requests and apply its rows: `local` (torch and transformers, here)."""
