"""The configuration: document, catalog of ordinary keys, pending changes, YAML projections."""
