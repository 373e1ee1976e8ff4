"""Runs jobs: durable workflows and the process around them."""
