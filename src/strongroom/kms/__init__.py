"""The key hierarchy: RMK, MEKs, the KMS store and access to data keys."""
