"""The version of the product, without reading the package's metadata (which is slow), and the version in folder names."""

VERSION = "0.2.0"
FOLDER_VERSION = "0.1.0"
"""The version in the names of a data directory's folders of services, which hold the keystore's replicas.

It changes only together with the layout of data directories, by a migration that renames the folders. If it changed
with each release, no node of an older version would open.
"""
