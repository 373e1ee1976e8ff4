"""Secrets that other components use: rotating them together with the component, listing them, and embedded credentials."""
