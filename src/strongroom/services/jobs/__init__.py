"""Jobs that encrypt, decrypt, re-encrypt or rewrap extracts: enqueueing, running, journal, progress and cancelling."""
