"""Secret values: ENC(...), the registry of secret parameters, generation."""
