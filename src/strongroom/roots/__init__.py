"""Who protects the RMK: the RootProvider port beside its implementations."""
