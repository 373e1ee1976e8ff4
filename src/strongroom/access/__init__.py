"""Who may come in: passwords, sessions, tokens, permissions."""
