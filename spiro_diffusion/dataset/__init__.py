"""The tables and arrays of the pipeline: schema, raw curves, cohort, resampling, agreement."""
