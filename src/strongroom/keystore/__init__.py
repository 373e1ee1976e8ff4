"""The PKCS#12 keystore, which holds the master keys, and its replicas."""
