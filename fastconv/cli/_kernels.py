"""Filters by formula for the demonstration: what eyes and trained networks look for, untrained.

Each function returns weights as conv2d takes them, (K, C, R, S) float32. The kernel is not
flipped (correlation), which matters for none but the sign of a derivative.
"""

from __future__ import annotations

import numpy as np


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y (down) and x (right) of a window's pixels, zero in its middle."""
    axis = np.arange(size) - (size - 1) / 2
    return np.meshgrid(axis, axis, indexing="ij")


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Blur: a Gaussian bell of this many pixels, with sum 1; (1, 1, size, size)."""
    y, x = _grid(size)
    bell = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return (bell / bell.sum()).astype(np.float32)[None, None]


def sobel() -> np.ndarray:
    """Derivatives to the right and down (Sobel and Feldman 1968); (2, 1, 3, 3)."""
    right = np.outer([1, 2, 1], [-1, 0, 1])
    return (np.stack([right, right.T]) / 8).astype(np.float32)[:, None]


def gabor(size: int, angle: float, wavelength: float, phase: float, sigma: float) -> np.ndarray:
    """A wave under a bell, the response of a simple cell in the visual cortex (Daugman 1985).

    Parameters
    ----------
    size : int
        Pixels along each side.
    angle : float
        Direction in which the wave runs, radians from the x axis; its stripes stand across.
    wavelength, sigma : float
        Pixels from crest to crest, and the bell's standard deviation.
    phase : float
        Radians; 0 gives a bright line in the middle, -pi/2 an edge.

    Returns
    -------
    ndarray, (size, size) float64
        With mean 0, so that even light gives no response, and sum of squares 1.
    """
    y, x = _grid(size)
    along = x * np.cos(angle) + y * np.sin(angle)
    bell = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    wave = bell * np.cos(2 * np.pi * along / wavelength + phase)
    wave -= bell * (wave.sum() / bell.sum())
    return wave / np.sqrt((wave**2).sum())


def gabor_bank(size: int, directions: int, wavelength: float, sigma: float) -> np.ndarray:
    """Gabor filters all round, lines first and then edges; (2 * directions, 1, size, size)."""
    angles = np.arange(directions) * np.pi / directions
    bank = [
        gabor(size, angle, wavelength, phase, sigma)
        for phase in (0, -np.pi / 2)
        for angle in angles
    ]
    return np.stack(bank).astype(np.float32)[:, None]


# Colour axes of the first layer: what a filter's pattern adds to red, green and blue.
LIGHT = (1, 1, 1)
RED_GREEN = (1, -1, 0)
BLUE_YELLOW = (-0.5, -0.5, 1)
ORANGE_BLUE = (1, 0, -1)


def first_layer(size: int = 11) -> np.ndarray:
    """Filters like those that AlexNet's first layer learned, made by formula; (96, 3, size, size).

    Half of them see light only: Gabor filters in eight directions, at three wavelengths, as line
    and as edge. The other half see colour opponents (red against green, blue against yellow,
    orange against blue): wide Gabor filters, and blobs of either sign and three sizes.
    Krizhevsky, Sutskever, Hinton 2012 (figure 3) show the learned ones.
    """
    angles = np.arange(8) * np.pi / 8
    light = [
        (LIGHT, gabor(size, angle, wavelength, phase, wavelength * 0.45))
        for wavelength in (3.5, 5.0, 7.5)
        for phase in (0, -np.pi / 2)
        for angle in angles
    ]
    waves = [
        (colours, gabor(size, angle, wavelength, -np.pi / 2, 2.8))
        for colours, wavelength in ((RED_GREEN, 9.0), (BLUE_YELLOW, 9.0), (ORANGE_BLUE, 6.0))
        for angle in angles
    ]
    blobs = [
        (colours, sign * _blob(size, sigma))
        for colours in (RED_GREEN, BLUE_YELLOW, ORANGE_BLUE, LIGHT)
        for sigma in (1.3, 2.0, 2.8)
        for sign in (1, -1)
    ]
    bank = [np.multiply.outer(colours, pattern) for colours, pattern in light + waves + blobs]
    bank = [filters / np.sqrt((filters**2).sum()) for filters in bank]
    return np.stack(bank).astype(np.float32)


def _blob(size: int, sigma: float) -> np.ndarray:
    return gaussian(size, sigma)[0, 0].astype(np.float64)


def digit_strokes() -> np.ndarray:
    """Edges of a stroke from eight sides, 3x3; (8, 1, 3, 3)."""
    y, x = _grid(3)
    angles = np.arange(8) * np.pi / 4
    slopes = [x * np.cos(angle) + y * np.sin(angle) for angle in angles]
    return np.stack([slope / np.abs(slope).sum() for slope in slopes]).astype(np.float32)[:, None]
