"""The web service of a node: the REST API, the bounds on what a client may cost, and the files that clients download."""
