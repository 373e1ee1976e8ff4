"""The parts of a node. The base classes of a part are the parts that it needs; each object is built at its first use."""
