"""A node of a cluster: the file that says where its services are, and the journal of the way there."""
