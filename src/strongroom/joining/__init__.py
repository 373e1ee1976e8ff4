"""Formats by which a node joins an installation: bootstrap file, admission request, credentials, and the prepared node."""
