"""What is told: to the model, of its answers, to viewers, and to whoever watches the service."""
