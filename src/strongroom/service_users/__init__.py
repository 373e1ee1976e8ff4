"""How the password of a user of ZooKeeper or PostgreSQL is changed: for customers' services, and for a cluster's own."""
