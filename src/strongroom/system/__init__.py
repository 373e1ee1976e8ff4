"""Calls to the operating system, and small functions that every layer may use; knows no key, format or use case."""
