"""The rules of tasks and of conversations; nothing here commits or knows HTTP."""
