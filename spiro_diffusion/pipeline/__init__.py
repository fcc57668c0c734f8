"""The stages of dvc.yaml, one module a stage, and their runner."""
