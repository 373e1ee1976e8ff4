"""The coordination service of several nodes: an ensemble of ZooKeeper (docs/format/coordination.md 4); needs kazoo."""
