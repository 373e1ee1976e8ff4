"""The file store in a bucket of S3 (docs/format/object-store.md): what a head names is there, whole, for every node."""
