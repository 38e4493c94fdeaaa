"""Transformers of point clouds: tokeniser, trunk, heads, and the networks of the papers, a file each."""
