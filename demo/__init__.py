"""A node in a temporary directory, driven by the real clients: `make demo`."""
