"""What the stages of dvc.yaml do, one module a stage, and running them."""
