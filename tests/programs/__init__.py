"""Random programs: drawn from a seed, interpreted loop by loop and run as machine code, and compared with NumPy."""
