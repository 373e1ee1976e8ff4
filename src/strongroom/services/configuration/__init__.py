"""Configuration: reading, pending changes and their promotion, export and import of settings, HTTPS material, log levels."""
