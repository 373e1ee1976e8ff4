"""The encrypted file: a header page and a segmented body (docs/format/envelope.md)."""
