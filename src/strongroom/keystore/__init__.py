"""The PKCS#12 keystore with the master key, and the configuration keys wrapped by it."""
