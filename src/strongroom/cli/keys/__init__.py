"""Commands of the keys: the KMS store and its roots, the keystore, recovery kits, the recovery of a node."""
