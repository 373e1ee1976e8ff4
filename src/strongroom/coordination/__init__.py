"""The coordination service: versioned values, transactions and locks."""
