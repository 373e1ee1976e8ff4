"""The hash-chained log of key and secret operations."""
