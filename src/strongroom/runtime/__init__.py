"""A node on this machine: the paths of its files, its processes, whether it is served, and its service logs."""
