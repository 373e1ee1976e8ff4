"""Who uses a secret: the Consumer port beside its implementations."""
