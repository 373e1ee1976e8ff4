"""Where the bytes of extracts lie."""
