"""Tasks and their rules, for routes and tools alike."""
