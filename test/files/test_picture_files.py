# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from hcat_ros.files.pictures import (
    PictureError,
    count_pictures,
    decode_picture,
    file_size,
    image_files,
    picture_size,
    read_mask,
    read_picture,
    write_picture,
)


def png_with_header_size(width: int, height: int) -> bytes:
    """A small PNG of black pixels: its header states this size, its data holds 8 rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', check)

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((1 + 3 * width) * 8), 9)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp', '.webp', '.tif'])
def test_picture_size_is_read_from_the_header(suffix: str, tmp_path: Path) -> None:
    _, data = cv2.imencode(suffix, np.zeros((24, 32, 3), np.uint8))
    assert picture_size(data.tobytes(), 'it') == (32, 24)
    path = tmp_path / f'a{suffix}'
    write_picture(path, np.full((24, 32, 3), 90, np.uint8))
    assert file_size(path) == (32, 24)
    assert abs(float(read_picture(path).mean()) - 90) < 2


def test_header_with_a_giant_size_is_refused() -> None:
    data = png_with_header_size(20000, 20000)
    assert len(data) < 50_000
    with pytest.raises(PictureError, match=r'it has 400000000 pixels by its header, more than'):
        decode_picture(data, 'it')
    jpeg = bytearray(cv2.imencode('.jpg', np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    at = jpeg.index(b'\xff\xc0') + 5
    jpeg[at : at + 4] = struct.pack('>HH', 16000, 65500)
    with pytest.raises(PictureError, match='pixels'):
        decode_picture(bytes(jpeg), 'it')


def test_picture_with_a_giant_size_counts_as_unreadable(tmp_path: Path) -> None:
    """The error comes from the code that decodes it."""
    data = struct.pack('<2sIHH', b'BM', 0, 0, 0) + struct.pack('<I', 54)
    data += struct.pack('<IiiHHIIiiII', 40, 20000, 20000, 1, 24, 0, 0, 0, 0, 0, 0)
    path = tmp_path / 'giant.bmp'
    path.write_bytes(data)
    assert count_pictures(path) == 0


@pytest.mark.parametrize('claimed', [3 << 30, 2**32 - 1, 10**5])
def test_png_chunk_with_a_giant_length_is_refused(claimed: int) -> None:
    """OpenCV 5 needed 3.3 GB and 8 s to decode such a file of 320x240 pixels and 37 KB."""
    data = cv2.imencode('.png', np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    assert decode_picture(data + b'after the end', 'it').shape == (24, 32, 3)
    end = data.index(b'IEND') - 4
    longer = data[:end] + struct.pack('>I', claimed) + b'tEXt' + bytes(100) + data[end:]
    with pytest.raises(PictureError, match=f'a chunk claims {claimed} bytes'):
        decode_picture(longer, 'it')


def test_max_pixels_limits_the_picture_size() -> None:
    data = cv2.imencode('.png', np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    assert decode_picture(data, 'it', max_pixels=768).shape == (24, 32, 3)
    reason = 'it has 32 x 24 pixels by its header, more than the 767 of max_image_pixels'
    with pytest.raises(PictureError, match=reason):
        decode_picture(data, 'it', max_pixels=767)


@pytest.mark.parametrize('shape', [(24, 32), (24, 32, 3)])
def test_16_bit_picture_is_refused(shape: tuple[int, ...]) -> None:
    data = cv2.imencode('.png', np.full(shape, 7500, np.uint16))[1].tobytes()
    with pytest.raises(PictureError, match='it has 16 bits per channel; expected 8'):
        decode_picture(data, 'it')


@pytest.mark.parametrize('data', [b'', b'no image', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0'])
def test_data_that_is_not_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match=rf'it is not a readable image \({len(data)} bytes\)'):
        decode_picture(data, 'it')


def test_damaged_tiff_gives_one_error_and_no_warning(tmp_path: Path) -> None:
    """Pillow warns of the directory at the end of the file, without the file's name."""
    whole = tmp_path / 'a.tif'
    cv2.imwrite(str(whole), np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        with pytest.raises(PictureError, match='cut is not a readable image'):
            decode_picture(whole.read_bytes()[:4000], 'cut')
    assert not found


def test_path_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    """OpenCV 5 ends the process on such a name."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.png'))
    write_picture(path, np.full((8, 9, 3), 70, np.uint8))
    assert read_picture(path).shape == (8, 9, 3)
    path.write_bytes(b'no image')
    with pytest.raises(PictureError, match=r'caf\\xe9\.png is not a readable image'):
        read_picture(path)


def test_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='is a FIFO'):
        read_picture(tmp_path / 'a.png')


def test_exif_orientation_is_ignored() -> None:
    picture, written = PIL.Image.new('RGB', (64, 24), (90, 90, 90)), io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture.save(written, 'JPEG', exif=exif)
    assert decode_picture(written.getvalue(), 'it').shape == (24, 64, 3)


def test_mask_values_are_palette_indices(tmp_path: Path) -> None:
    indices = np.zeros((24, 32), np.uint8)
    indices[2:6, 3:9], indices[10:14, 20:30] = 2, 1
    mask = PIL.Image.fromarray(indices, 'P')
    mask.putpalette([0, 0, 0, 0, 0, 250, 250, 0, 0])  # 1 is blue, 2 is red
    mask.save(tmp_path / 'mask.png')
    found, has_palette = read_mask(tmp_path / 'mask.png')
    assert has_palette
    assert (found == indices).all()


def test_image_files_skips_hidden_and_macos_metadata_files(tmp_path: Path) -> None:
    for name in ('10.jpg', '2.PNG', '._2.PNG', '.hidden.jpg', 'a.txt'):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ['2.PNG', '10.jpg']


def test_unknown_picture_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'a\.xyz: expected a name that ends in \.bmp'):
        write_picture(tmp_path / 'a.xyz', np.zeros((8, 9, 3), np.uint8))


def test_a_git_lfs_pointer_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / 'a.jpg').write_bytes(b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n')
    with pytest.raises(
        PictureError, match=r'a\.jpg is a pointer of Git LFS, not the file; run git lfs pull'
    ):
        read_picture(tmp_path / 'a.jpg')


@pytest.mark.parametrize('kind', [np.float32, np.int32])
def test_a_32_bit_image_is_refused_as_such(tmp_path: Path, kind: type[np.generic]) -> None:
    """OpenCV reads it only unchanged; it was called not readable, as if it were damaged."""
    path = tmp_path / '1.tiff'
    PIL.Image.fromarray(np.full((8, 9), 300, kind)).save(path)
    with pytest.raises(
        PictureError, match=r'1\.tiff has 32 bits per channel; expected 8\. Convert'
    ):
        read_picture(path)
