"""Backups: the archive format, its manifest, the keys in it, and the checks that precede a restore."""
