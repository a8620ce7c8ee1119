"""HTTP around the routes: the wire, the middleware, the one shape of errors, the logs."""
