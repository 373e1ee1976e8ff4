"""Commands of the configuration and its secrets: set, apply, export, rotate, list."""
