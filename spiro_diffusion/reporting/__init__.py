"""Plots, reports and cards made from stored figures."""
