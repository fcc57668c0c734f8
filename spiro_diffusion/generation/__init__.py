"""Generation: subjects, requests, the trained generator, drawn curves and populations."""
