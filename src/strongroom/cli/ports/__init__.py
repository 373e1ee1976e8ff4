"""The services of a node that commands may use, by topic; the stores behind the services are not among them (ADR 28)."""
