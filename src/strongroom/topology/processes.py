"""The services of a node; each has a folder with a keystore replica of its own (C-09)."""

SERVICES = (
    "tabadmincontroller",
    "tabadminagent",
    "vizportal",
    "vizqlserver",
    "backgrounder",
    "filestore",
)
"""The first one's keystore replica is the primary."""
