"""The embedded data sets, made from a seed: clouds of sixteen categories with their parts, and images."""
