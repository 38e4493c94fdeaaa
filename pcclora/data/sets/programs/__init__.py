"""Endless objects without categories: random programs of solids, tubes and struts, seen as a scanner sees them."""
