"""Random programs: drawn from a seed, run as Python and as machine code, compared with the interpreter and with NumPy."""
