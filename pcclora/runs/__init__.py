"""One run of any task, from its configuration to its finished folder, and what is made of that folder later."""
