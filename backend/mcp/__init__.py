"""This service as an MCP server: the five tools for clients outside, each change on record."""
