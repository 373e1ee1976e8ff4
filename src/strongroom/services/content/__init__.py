"""Published content: publishing, uploading in parts, listing, changing, reading and deleting, and embedded credentials."""
