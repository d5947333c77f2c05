"""Random programs: drawn from a seed, run as Python and as machine code, and compared with NumPy."""
