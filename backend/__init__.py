"""A stateless chat backend for to-do lists."""
