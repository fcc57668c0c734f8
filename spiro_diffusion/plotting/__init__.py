"""The common style of plots, and plots of curves."""
