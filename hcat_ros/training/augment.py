# SPDX-License-Identifier: Apache-2.0
"""Augmentations of a crop that imitate cameras, light and other objects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from hcat_ros.boxes import Box, iou
from hcat_ros.tracking.encodings import Image


def recolour(image: Image, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """Change gain, saturation and brightness of a BGR image at random."""
    gain = np.exp(rng.normal(0, 0.12 * strength, 3))
    saturation = math.exp(rng.normal(0, 0.25 * strength))
    # New colour = gain (grey + saturation (colour - grey)) + brightness: one 3 x 4 matrix.
    grey = np.tile([0.114, 0.587, 0.299], (3, 1))
    matrix = gain[:, None] * (saturation * np.eye(3) + (1 - saturation) * grey)
    matrix = np.column_stack((matrix, np.full(3, rng.normal(0, 14 * strength))))
    return np.asarray(cv2.transform(image, matrix), np.uint8)


def brighten(image: Image, rng: np.random.Generator, share: float) -> Image:
    """Multiply all colours by a random factor from 1 - share to 1 + share."""
    factor = rng.uniform(1 - share, 1 + share)
    return np.asarray(cv2.convertScaleAbs(image, alpha=factor), np.uint8)


def random_square(photo: Image, size: int, rng: np.random.Generator) -> Image:
    """Return a random square of a photograph, 0.4 to 1 times its shorter side, (size, size, 3)."""
    side = max(1, int(min(photo.shape[:2]) * rng.uniform(0.4, 1.0)))
    x = int(rng.integers(0, photo.shape[1] - side + 1))
    y = int(rng.integers(0, photo.shape[0] - side + 1))
    return np.asarray(cv2.resize(photo[y : y + side, x : x + side], (size, size)), np.uint8)


def grey(image: Image) -> Image:
    """Return the image without colour, still with three channels."""
    return np.asarray(
        cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8
    )


def low_resolution(image: Image, rng: np.random.Generator) -> Image:
    """Reduce the resolution by a factor of 0.15 to 1, as if the target were small in its frame."""
    scale = rng.uniform(0.15, 1.0)
    size = image.shape[1]
    small = cv2.resize(image, (max(8, round(size * scale)),) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size)), np.uint8)


def motion_blur(image: Image, rng: np.random.Generator) -> Image:
    """Blur along a random direction over 3 to 14 pixels."""
    length = int(rng.integers(3, 15))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
    turned = cv2.warpAffine(kernel, turn, (length, length))
    return np.asarray(cv2.filter2D(image, -1, turned / max(turned.sum(), 1e-6)), np.uint8)


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Add sensor noise with a standard deviation of 2 to 12 grey levels."""
    # Draw a small block and tile it: drawing every pixel costs more than the rest of the view.
    block = rng.normal(0, rng.uniform(2, 12), (64, 64, 3)).astype(np.float32)
    repeats = -(-image.shape[0] // 64)
    field = np.tile(block, (repeats, repeats, 1))[: image.shape[0], : image.shape[1]]
    return np.clip(image + field, 0, 255).astype(np.uint8)


def occlude(image: Image, box: Box, rng: np.random.Generator) -> Image:
    """Cover up to half of the box with a piece of the same image or a plain colour."""
    share = rng.uniform(0.15, 0.5)
    w, h = box.w, box.h
    if rng.random() < 0.5:
        w *= share
    else:
        h *= share
    x = round(box.x + rng.choice([0.0, box.w - w]))
    y = round(box.y + rng.choice([0.0, box.h - h]))
    size = image.shape[0]
    x0, y0, x1, y1 = max(0, x), max(0, y), min(size, x + round(w)), min(size, y + round(h))
    if x1 <= x0 or y1 <= y0:
        return image
    image = image.copy()
    if rng.random() < 0.6:
        sx = int(rng.integers(0, size - (x1 - x0) + 1))
        sy = int(rng.integers(0, size - (y1 - y0) + 1))
        image[y0:y1, x0:x1] = image[sy : sy + y1 - y0, sx : sx + x1 - x0]
    else:
        image[y0:y1, x0:x1] = rng.integers(0, 256, 3)
    return image


def paste(image: Image, cutout: Image, box: Box) -> None:
    """Blend a BGRA cut-out, resized to the box, into a BGR image, in place."""
    w, h = max(2, round(box.w)), max(2, round(box.h))
    x, y = round(box.x), round(box.y)
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(image.shape[1], x + w), min(image.shape[0], y + h)
    if x1 <= x0 or y1 <= y0:
        return
    patch = cv2.resize(cutout, (w, h), interpolation=cv2.INTER_AREA)
    patch = patch[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = patch[:, :, 3:].astype(np.float32) / 255
    under = image[y0:y1, x0:x1]
    image[y0:y1, x0:x1] = (under + alpha * (patch[:, :, :3] - under.astype(np.float32))).astype(
        np.uint8
    )


def choose_distractor(
    image: Image, box: Box, cutouts: Sequence[Image], twin: float, rng: np.random.Generator
) -> Image:
    """Return a cut-out or, with the probability `twin`, a recoloured copy of the target, BGRA.

    Without cut-outs the result is always a copy. If too little of the target is visible to be
    copied, the result is a cut-out or, without cut-outs, a copy of a corner of the image.
    """
    size = image.shape[0]
    x0, y0 = max(0, round(box.x)), max(0, round(box.y))
    x1, y1 = min(size, round(box.x + box.w)), min(size, round(box.y + box.h))
    visible = x1 - x0 > 8 and y1 - y0 > 8
    if cutouts and not (visible and rng.random() < twin):
        return cutouts[int(rng.integers(len(cutouts)))]
    if not visible:
        x0, y0, x1, y1 = 0, 0, size // 4, size // 4
    copied = recolour(image[y0:y1, x0:x1], rng, 2.0)
    # Only an ellipse is opaque, because the corners of a box show background.
    h, w = copied.shape[:2]
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    alpha = np.where(x**2 + y**2 <= 1, 255, 0).astype(np.uint8)
    return np.dstack((copied, alpha))


def add_distractor(image: Image, box: Box, other: Image, rng: np.random.Generator) -> Image:
    """Paste another object (BGRA), resized to about the target's size, beside the target."""
    size = image.shape[0]
    extent = math.sqrt(box.w * box.h) * math.exp(rng.normal(0, 0.25))
    ratio = math.sqrt(other.shape[1] / other.shape[0])
    w, h = extent * ratio, extent / ratio
    for _ in range(6):
        place = Box.from_center(rng.uniform(0, size), rng.uniform(0, size), w, h)
        if iou(place, box) < 0.05:
            image = image.copy()
            paste(image, other, place)
            break
    return image
