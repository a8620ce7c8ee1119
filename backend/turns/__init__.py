"""How a turn is taken, from a request to its answer."""
