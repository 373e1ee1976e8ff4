"""The repository: sites, users, content, jobs; SQLAlchemy Core."""
