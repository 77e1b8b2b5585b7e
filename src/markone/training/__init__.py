"""Training: the loop, what it records, and how it is resumed."""
