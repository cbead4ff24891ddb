"""Colours that all figures share."""

INK, QUIET, RULE = "#1d2327", "#6b7480", "#d9dde2"
OURS, NUMPY = "#0f766e", "#c9a227"
