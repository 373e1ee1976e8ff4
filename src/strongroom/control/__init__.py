"""The node's Unix socket: commands that need keys go to the process that holds them, while one does."""
