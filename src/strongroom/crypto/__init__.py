"""The only door to `cryptography`: no file or network IO, no clock."""
