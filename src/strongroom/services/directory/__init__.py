"""Sites, projects, users, groups and access tokens, and signing in."""
