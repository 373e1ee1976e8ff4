"""The event log of key and secret operations: hash-chained lines in a file, and a signed checkpoint beside it."""
