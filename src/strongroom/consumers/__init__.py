"""Consumers: the components that log in with a secret of the node, each behind the interface `Consumer`.

PostgreSQL, Redis, ZooKeeper, the mail server and the internal certificates must learn every new value of their secret,
since a new value in the configuration alone would lock the node out of them. `services.secrets.rotate` drives a
rotation.
"""
