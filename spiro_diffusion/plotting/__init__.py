"""The common style of all plots, and plots of curves."""
