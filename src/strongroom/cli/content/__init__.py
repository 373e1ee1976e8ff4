"""Commands of what is published: sites, users, tokens, extracts, and the jobs on extracts."""
