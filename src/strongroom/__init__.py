"""strongroom keeps the keys and the secrets of a self-hosted data server and encrypts its extracts at rest."""
