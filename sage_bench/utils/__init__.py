"""Ground floor: registries, files, errors, progress, seeds, versions."""
