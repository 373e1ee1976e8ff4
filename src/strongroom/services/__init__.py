"""Use cases, one module per noun: transaction, event, port calls."""
