"""An example of a toolset: simulations that take a while, served over MCP. See README.md."""
