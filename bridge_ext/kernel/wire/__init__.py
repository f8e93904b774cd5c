"""What travels between a kernel and a worker: frames, values, payloads."""
