"""Live turns: streamed, followed, resumed and stopped."""
