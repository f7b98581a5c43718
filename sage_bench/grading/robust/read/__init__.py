"""From tokens to readings: expressions, quantities, sets, relations, and what each is worth."""
