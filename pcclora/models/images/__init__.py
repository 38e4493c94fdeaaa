"""Transformers of images: timm's, and the small one that comes with the package. Only here is timm imported."""
