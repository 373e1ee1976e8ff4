"""Passwords, sessions, access tokens and permissions of users."""
