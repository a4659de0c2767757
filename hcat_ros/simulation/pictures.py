# SPDX-License-Identifier: Apache-2.0
"""The pictures of a simulated world: photographs from a folder, or generated pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hcat_ros.files.pictures import AS_STORED, UNCHANGED, is_image, read_picture
from hcat_ros.simulation import made_pictures
from hcat_ros.tracking.encodings import Image

PANORAMA_PHOTOS = 9
_DRAWN = 120
"""Largest number of photographs to read for one world; more would delay the start."""
_ASPECTS = (0.35, 1.5)
"""Smallest and largest ratio of width to height of a target."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of a world."""

    panorama: list[Image]
    """Views that are placed side by side around the horizon, BGR."""
    ground: Image
    """Picture of the ground, BGR."""
    targets: list[Image]
    """Pictures of the target, then of others of its kind, BGRA, without transparent margins."""
    board: Image
    """Picture of the board that hides the target, BGR."""


def load_pictures(folder: Path | None, rng: np.random.Generator, targets: int = 1) -> Pictures:
    """Return pictures for a world, chosen by `rng`.

    folder: contains the subfolders `photos` (photographs) and `cutouts` (objects with alpha); if
    None, the pictures are generated. Raises FileNotFoundError, naming the folder, if a subfolder
    has no images, and ValueError if none of them can be used.
    """
    if folder is None:
        return Pictures(
            made_pictures.panorama(rng),
            made_pictures.ground(rng),
            [made_pictures.target(rng) for _ in range(targets)],
            made_pictures.board(rng),
        )
    photos = _drawn_photos(_files(folder / 'photos'), rng)
    outdoors = sorted(range(len(photos)), key=lambda i: -_outdoors(photos[i]))
    backdrop = [photos[i] for i in outdoors[:PANORAMA_PHOTOS]]
    rest = [photos[i] for i in outdoors[PANORAMA_PHOTOS:]] or photos
    flat = max(rest, key=_evenness)
    board = max((photo for photo in rest if photo is not flat), key=_detail, default=flat)
    return Pictures(
        backdrop, _evened(flat), _drawn_targets(_files(folder / 'cutouts'), rng, targets), board
    )


def _files(folder: Path) -> list[Path]:
    files = [path for path in folder.glob('*') if is_image(path)]
    if not files:
        raise FileNotFoundError(
            f'no images in {folder}: expected a folder with photos/ and cutouts/ (with alpha), '
            'or none for made pictures'
        )
    return sorted(files)


def _readable(path: Path, flags: int) -> Image | None:
    try:
        return read_picture(path, flags)
    except (OSError, ValueError):
        return None


def _drawn_photos(files: list[Path], rng: np.random.Generator) -> list[Image]:
    photos = []
    for index in rng.permutation(len(files))[:_DRAWN]:
        photo = _readable(files[index], AS_STORED)
        if photo is not None and min(photo.shape[:2]) >= 64:
            photos.append(photo)
    if not photos:
        raise ValueError(f'no image of 64 pixels or more can be read in {files[0].parent}')
    return photos


def _drawn_targets(files: list[Path], rng: np.random.Generator, count: int) -> list[Image]:
    found: list[Image] = []
    for index in rng.permutation(len(files)):
        cutout = _readable(files[index], UNCHANGED)
        if cutout is None or cutout.shape[2:] != (4,):
            continue
        cutout = trimmed(cutout)
        if _is_target(cutout):
            found.append(cutout)
            if len(found) == count:
                return found
    if not found:
        raise ValueError(
            f'no target in {files[0].parent}: expected images with alpha, 100 pixels or more tall, '
            f'{_ASPECTS[0]:g} to {_ASPECTS[1]:g} times as wide as tall, less than half transparent'
        )
    return [found[i % len(found)] for i in range(count)]


def trimmed(cutout: Image) -> Image:
    """Return a BGRA picture without its transparent margins, empty if all of it is transparent."""
    solid = cutout[..., 3] >= 128
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not rows.size:
        return cutout[:0, :0]
    return cutout[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _is_target(cutout: Image) -> bool:
    height, width = cutout.shape[:2]
    if height < 100 or not _ASPECTS[0] <= width / height <= _ASPECTS[1]:
        return False
    solid = cutout[..., 3] >= 128
    grey = cv2.cvtColor(cutout[..., :3], cv2.COLOR_BGR2GRAY)
    # A black or white silhouette has no texture that a tracker could follow.
    return bool(solid.mean() > 0.5 and grey[solid].std() > 25)


def _outdoors(photo: Image) -> float:
    """Rate how much a photograph looks like a landscape: wide, with sky only in its upper part."""
    height, width = photo.shape[:2]
    small = cv2.resize(photo, (96, 96), interpolation=cv2.INTER_AREA).astype(np.int16)
    blue, red = small[..., 0], small[..., 2]
    rough = np.abs(cv2.Laplacian(small.mean(2).astype(np.float32), cv2.CV_32F))
    sky = (blue >= red - 4) & (blue > 110) & (rough < 16)
    above, below = float(sky[:32].mean()), float(sky[40:].mean())
    plain = float((small[:32].min(2) > 245).mean())  # white background of a studio
    detail = min(1.0, float(rough[40:].mean()) / 15)
    return above - 1.2 * below - 0.8 * plain + 0.6 * detail + 0.4 * min(1.5, width / height)


def _evenness(photo: Image) -> float:
    """Rate how uniform and detailed a photograph is; a picture of the ground should be both."""
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)
    fine = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), 4))
    parts = cv2.resize(fine, (6, 6), interpolation=cv2.INTER_AREA)
    colours = cv2.resize(photo, (6, 6), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(4 * min(8.0, parts.min()) - parts.std() - colours.std((0, 1)).mean() / 2)


def _evened(photo: Image) -> Image:
    """Return the photograph without its large patches of light and colour."""
    wide = photo.astype(np.float32)
    patches = cv2.GaussianBlur(wide, (0, 0), 40)
    return np.asarray(np.clip(wide - 0.8 * (patches - patches.mean((0, 1))), 0, 255), np.uint8)


def _detail(photo: Image) -> float:
    return float(np.abs(cv2.Laplacian(photo, cv2.CV_32F)).mean())
