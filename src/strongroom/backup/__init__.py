"""Backups: the archive, its manifest, the keys in it, and what can be said of one before anything is restored."""
