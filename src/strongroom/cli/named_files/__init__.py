"""Files that options name, on their way in and out: small ones, sealed ones, private outputs, passwords."""
