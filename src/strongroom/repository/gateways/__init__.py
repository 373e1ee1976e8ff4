"""One class per table: small typed methods, all SQL of the product."""
