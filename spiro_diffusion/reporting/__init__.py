"""Plots, reports and model cards made from stored figures."""
