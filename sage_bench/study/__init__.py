"""Studies: several trainings and evaluations that belong together, and the table they end in."""
