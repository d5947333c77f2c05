"""Compiled functions without machine code: their loops are interpreted, and every access is checked."""
