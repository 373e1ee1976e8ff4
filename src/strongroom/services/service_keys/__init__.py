"""Use cases of service keys, secrets of services, and the programs that use both."""
