"""Spirometry: indices, ATS/ERS rules, reference equations, the counter, the time grid, faults."""
