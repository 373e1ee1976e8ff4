"""The services of a node; each has a folder with a keystore replica of its own (C-09)."""

SERVICES = (
    "tabadmincontroller",
    "tabadminagent",
    "vizportal",
    "vizqlserver",
    "backgrounder",
    "filestore",
)
"""The services of a node; the keystore replica of the first one is the primary."""
