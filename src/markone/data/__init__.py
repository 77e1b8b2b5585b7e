"""Data: from a source to a Dataset, its split, its statistics and its batches."""
