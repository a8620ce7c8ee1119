"""What the server says of itself, whichever way it is reached."""

NAME = "todo-chat"
TITLE = "To-do list"
INSTRUCTIONS = """\
The to-do list of the person who is signed in. A task is named by its task_id: look it up with \
list_tasks before you change one. What you change stands in the person's history under your \
name, and the person can undo it."""
