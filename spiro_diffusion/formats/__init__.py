"""File formats: what a file is by its content, archives, XPORT, SAS7BDAT and the text of SPXRAW."""
