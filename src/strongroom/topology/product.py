"""The product's own version, where it is needed without asking the package's metadata (which is slow)."""

VERSION = "0.1.0"
