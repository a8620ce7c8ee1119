"""How calls are counted."""
