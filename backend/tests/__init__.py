"""Tests through HTTP against a real Postgres; only the model is scripted."""
