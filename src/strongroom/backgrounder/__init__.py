"""Runs jobs as durable workflows; the one door to dbos."""
