"""Creating the first node of an installation, preparing a further one, and admitting it."""
