"""Other libraries as whole processes: each driver reads a file and writes a file, and knows nothing of the product."""
