"""The composition root: builds the services of a node from its data directory.

Services and formats know only ports, such as a coordinator, a file store or a root. This package decides which
implementation stands behind each port, by the node's data directory, configuration and environment, and passes it in;
it is the only one that knows them all. `opening` opens a node that is whole. `create`, `recover` and `backup` have
compositions of their own, since they start where a part of the node is missing. Web, commands and backgrounder get a
node from here, and build nothing themselves.
"""
