"""pcclora."""
