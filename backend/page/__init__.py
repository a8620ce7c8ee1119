"""The web page: a chat and a list in files that need no build step."""
