"""The assistant: its prompt, its context, its tools and the loop that runs it."""
