"""Commands that encrypt and decrypt files of no site, one or many at a time."""
