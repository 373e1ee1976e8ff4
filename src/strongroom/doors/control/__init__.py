"""The node's Unix socket, over which a command has the serving process do the work that needs the process's keys."""
