"""Groups that are kept with everything that drew them, and drawn from again."""
