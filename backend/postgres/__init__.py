"""The embedded Postgres server, connections, and the schema with its versions."""
