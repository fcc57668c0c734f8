"""The CDC's files: codebook, addresses, fetching, validation and repair."""
