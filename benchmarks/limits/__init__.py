"""What is measured beside a limit of its own, a line each: `python -m benchmarks.limits [NAME ...]`."""
