"""Hours of mixed use of a cluster whose processes and services are killed, and what must be true of it all the time."""
