"""From an optimised graph to kernels: what is computed together, what is stored where, in which order."""
