"""What runs inside a worker process: imports the wire and the errors, no more."""
