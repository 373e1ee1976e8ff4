"""Files and streams outside the file store: encrypted, decrypted, rewrapped and verified, one or many."""
