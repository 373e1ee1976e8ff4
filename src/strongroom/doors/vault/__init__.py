"""Vault's HTTP interface: service keys, secrets, tokens and roles, for the clients that speak it."""
