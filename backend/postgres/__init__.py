"""What stands around the engine: the embedded server, and the schema and its versions."""
