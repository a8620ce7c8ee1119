"""Tasks out to a file and in from one: our own forms, and those of other to-do apps."""
