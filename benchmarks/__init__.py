"""Ours against the peers and the floor: ``python -m benchmarks`` (see README.md)."""
