"""The table gateways: a class for each table, with small typed methods that hold all SQL of the product."""
