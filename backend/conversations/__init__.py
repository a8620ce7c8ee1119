"""Conversations and messages as they are read, listed, searched, kept and exported."""
