"""Backups: made while the server works, verified by a drill, restored whole or not at all."""
