# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from hcat_ros.frames import DEFAULT_FPS, PATIENCE, FrameSource

COUNT = 12


def grey_level(index: int) -> int:
    """The brightness of frame `index` of the files made here."""
    return 20 + 18 * index


def image(index: int) -> np.ndarray:
    return np.full((48, 64, 3), grey_level(index), np.uint8)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG of one black pixel whose header claims another size."""
    encoded = bytearray(cv2.imencode('.png', np.zeros((1, 1, 3), np.uint8))[1].tobytes())
    encoded[16:24] = struct.pack('>II', width, height)
    encoded[29:33] = struct.pack('>I', zlib.crc32(encoded[12:29]))
    return bytes(encoded)


def write_video(path: Path, fourcc: str) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 25.0, (64, 48))
    assert writer.isOpened()
    for index in range(COUNT):
        writer.write(image(index))
    writer.release()
    return str(path)


def indices(source: FrameSource) -> list[int]:
    """Indices in the file of the frames that were read, recognised by their brightness."""
    return [round((frame.image.mean() - 20) / 18) for frame in source]


@pytest.fixture
def avi(tmp_path: Path) -> str:
    return write_video(tmp_path / 'video.avi', 'MJPG')


@pytest.fixture
def mp4(tmp_path: Path) -> str:
    return write_video(tmp_path / 'video.mp4', 'mp4v')


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Images whose natural order is not alphabetical, and a file that is not an image."""
    tmp_path = tmp_path / 'images'
    tmp_path.mkdir()
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / f'{index}{(".png", ".PNG", ".bmp")[index % 3]}'), image(index))
    (tmp_path / 'groundtruth.txt').write_text('0,0,10,10\n')
    return str(tmp_path)


@pytest.mark.parametrize('kind', ['avi', 'mp4'])
def test_video_yields_all_frames_in_order_at_its_own_rate(
    request: pytest.FixtureRequest, kind: str
) -> None:
    source = FrameSource(request.getfixturevalue(kind))
    assert (source.fps, source.count, source.is_camera) == (25.0, COUNT, False)
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(COUNT)])
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    assert indices(source) == list(range(COUNT))


def test_folder_yields_its_images_in_natural_order(folder: str) -> None:
    source = FrameSource(folder)
    assert (source.fps, source.count) == (DEFAULT_FPS, COUNT)
    assert indices(source) == list(range(COUNT))


def test_names_with_several_numbers_sort_part_by_part(tmp_path: Path) -> None:
    names = ['a_2.png', 'a_10.png', 'b_1_3.png', 'b_1_20.png', 'b_2_1.png']
    for index, name in reversed(list(enumerate(names))):
        cv2.imwrite(str(tmp_path / name), image(index))
    assert indices(FrameSource(str(tmp_path))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ('start', 'count', 'expected'),
    [
        (0, 0, range(COUNT)),
        (0, 3, range(3)),
        (5, 0, range(5, COUNT)),
        (5, 3, range(5, 8)),
        (COUNT - 1, 0, [COUNT - 1]),
        (9, 100, range(9, COUNT)),
    ],
)
@pytest.mark.parametrize('kind', ['avi', 'mp4', 'folder'])
def test_start_and_count_select_a_range_of_frames(
    request: pytest.FixtureRequest, kind: str, start: int, count: int, expected: range
) -> None:
    source = FrameSource(request.getfixturevalue(kind), start=start, count=count)
    assert source.count == len(expected)
    assert indices(source) == list(expected)
    assert indices(source) == list(expected)  # and once more, from the start
    assert next(iter(source)).index == 0
    assert next(iter(source)).time == 0


def test_fps_argument_overrides_the_rate_of_the_file(avi: str) -> None:
    assert FrameSource(avi, fps=10.0).fps == 10.0
    times = [frame.time for frame in FrameSource(avi, fps=10.0, count=3)]
    assert times == pytest.approx([0, 0.1, 0.2])


def test_closed_video_yields_no_frames(avi: str) -> None:
    source = FrameSource(avi)
    source.close()
    assert list(source) == []


@pytest.mark.parametrize('name', ['missing.mp4', 'no/such/folder', 'camera'])
def test_missing_path_is_refused(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(FileNotFoundError) as error:
        FrameSource(path)
    assert f'{path} does not exist; expected a video' in str(error.value)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(ValueError) as error:
        FrameSource(str(tmp_path))
    assert f'{tmp_path} holds no images' in str(error.value)
    assert '.png' in str(error.value)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'run git lfs pull'),
        ('<!DOCTYPE html><title>Virus scan warning</title>', 'is an HTML page; download the file'),
    ],
)
def test_file_in_place_of_a_video_is_identified(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / 'a.mp4').write_text(content)
    with pytest.raises(ValueError, match=rf'a\.mp4 .*{reason}'):
        FrameSource(str(tmp_path / 'a.mp4'))


def test_folder_whose_name_is_a_number_is_not_a_camera(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sequences of KITTI are folders with names such as 0001."""
    monkeypatch.chdir(Path(folder).parent)
    Path(folder).rename('0001')
    source = FrameSource('0001', start=5)
    assert not source.is_camera
    assert indices(source) == list(range(5, COUNT))


@pytest.mark.parametrize('content', [b'', b'not a video at all\n' * 50])
@pytest.mark.parametrize('name', ['video', 'video.mp4', 'video.avi'])
def test_file_that_is_not_a_video_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        FrameSource(str(path))
    assert f'OpenCV cannot open {path} as a video or camera' in str(error.value)


def test_unreadable_image_is_skipped_and_reported(folder: str) -> None:
    broken = Path(folder) / '3.png'
    broken.write_bytes(b'no image')
    source = FrameSource(folder)
    assert [frame.index for frame in source] == [0, 1, 2, *range(4, COUNT)]
    why = f'{broken} is not a readable image (8 bytes)'
    assert source.remarks == [f'1 of {COUNT} images left out: {why}']


def test_folder_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / '1.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'no readable image: .*1\.png is not a readable'):
        list(FrameSource(str(tmp_path)))


def test_macos_metadata_files_are_ignored(folder: str) -> None:
    (Path(folder) / '._0.png').write_bytes(b'Mac OS X')
    assert indices(FrameSource(folder)) == list(range(COUNT))


def test_16_bit_image_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / '1.png'), np.full((8, 9), 7500, np.uint16))
    with pytest.raises(ValueError, match=r'1\.png has 16 bits per channel'):
        list(FrameSource(str(tmp_path)))


def test_a_single_16_bit_picture_is_refused(tmp_path: Path) -> None:
    """FFmpeg would keep the high byte of each colour: 7500 becomes 29."""
    path = tmp_path / 'thermal.png'
    cv2.imwrite(str(path), np.full((8, 9, 3), 7500, np.uint16))
    with pytest.raises(ValueError, match=r'thermal\.png has 16 bits per channel'):
        list(FrameSource(str(path)))


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (png_of_size(30_000, 30_000), r'bomb\.png has 900000000 pixels by its header'),
        (b'hello', r'bomb\.png is not a readable image \(5 bytes\)'),
    ],
)
def test_a_single_picture_that_cannot_be_read_gives_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / 'bomb.png').write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        FrameSource(str(tmp_path / 'bomb.png'))


def test_a_picture_named_like_a_pattern_is_read_itself(tmp_path: Path) -> None:
    """FFmpeg would read a001.png in place of a%03d.png."""
    for name, level in (('a%03d.png', 40), ('a001.png', 90)):
        cv2.imwrite(str(tmp_path / name), np.full((8, 9, 3), level, np.uint8))
    (frame,) = FrameSource(str(tmp_path / 'a%03d.png'))
    assert (frame.image == 40).all()


def test_16_bit_grey_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'thermal.mkv'
    flags = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    fourcc = cv2.VideoWriter.fourcc(*'FFV1')
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25.0, (64, 48), flags)
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no grey video of 16 bits')
    writer.write(np.full((48, 64), 7500, np.uint16))
    writer.release()
    with pytest.raises(ValueError, match='grey video of 16 bits'):
        FrameSource(str(path))


def long_video(path: Path, count: int, seed: int = 0) -> bytes:
    """Writes a textured video whose file is large enough to damage only a part of it."""
    ground = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    fourcc = cv2.VideoWriter.fourcc(*('MJPG' if path.suffix == '.avi' else 'mp4v'))
    writer = cv2.VideoWriter(str(path), fourcc, 30.0, (160, 120))
    assert writer.isOpened()
    for number in range(count):
        frame = cv2.resize(np.roll(ground, number, axis=1), (160, 120))
        writer.write(frame)
    writer.release()
    return path.read_bytes()


def test_frames_after_a_damaged_part_keep_their_times(tmp_path: Path) -> None:
    path = tmp_path / 'damaged.mp4'
    content = bytearray(long_video(path, 100))
    middle = len(content) * 2 // 5
    noise = np.random.default_rng(1).integers(0, 255, len(content) // 10, np.uint8).tobytes()
    content[middle : middle + len(noise)] = noise
    path.write_bytes(content)
    source = FrameSource(str(path))
    frames = list(source)
    assert 80 < len(frames) < 100
    assert frames[-1].index == 99
    assert frames[-1].time == pytest.approx(99 / 30, abs=0.001)
    assert source.remarks[-1] == f'100 frames stated, {len(frames)} read'
    lost = sum(int(text.split()[0]) for text in source.remarks[:-1])
    assert lost == 100 - len(frames)


def test_frames_after_a_long_damaged_part_are_read(tmp_path: Path) -> None:
    """More frames are damaged than follow the damaged part, by more than `PATIENCE`."""
    path = tmp_path / 'damaged.mp4'
    content = bytearray(long_video(path, 500))
    noise = np.random.default_rng(1).integers(0, 255, len(content) * 11 // 20, np.uint8).tobytes()
    begin = len(content) // 5
    content[begin : begin + len(noise)] = noise
    path.write_bytes(content)
    source = FrameSource(str(path))
    frames = list(source)
    indices = np.array([frame.index for frame in frames])
    gap = int(np.diff(indices).argmax())
    lost, behind = int(indices[gap + 1] - indices[gap] - 1), len(frames) - gap - 1
    assert lost > behind + PATIENCE
    assert indices[-1] == 499
    assert frames[-1].time == pytest.approx(499 / 30, abs=0.001)


def test_a_video_without_a_readable_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'damaged.mp4'
    content = bytearray(long_video(path, 20))
    begin, end = content.index(b'mdat') + 4, content.index(b'moov') - 4
    content[begin:end] = np.random.default_rng(1).integers(0, 255, end - begin, np.uint8).tobytes()
    path.write_bytes(content)
    expected = r"damaged\.mp4 has no readable frame \(20 are stated, codec 'FMP4'\)\. If players"
    with pytest.raises(ValueError, match=expected):
        list(FrameSource(str(path)))


def test_start_frame_is_refused_for_a_camera() -> None:
    with pytest.raises(ValueError, match='expected 0, a camera starts with its next frame'):
        FrameSource('0', start=5)


def test_truncated_video_is_reported(tmp_path: Path) -> None:
    path = tmp_path / 'cut.avi'
    content = long_video(path, 60)
    path.write_bytes(content[: len(content) // 2])
    source = FrameSource(str(path))
    count = len(list(source))
    assert 20 < count < 40
    assert source.remarks == [f'60 frames stated, {count} read']


def test_concatenated_videos_are_read_to_the_end(tmp_path: Path) -> None:
    """`cat one.ts two.ts`: the container states the frame count of the first file."""
    path = tmp_path / 'joined.ts'
    path.write_bytes(long_video(tmp_path / 'a.ts', 30) + long_video(tmp_path / 'b.ts', 30, 1))
    source = FrameSource(str(path))
    frames = list(source)
    assert len(frames) == 60
    assert [frame.time for frame in frames] == pytest.approx([i / 30 for i in range(60)], abs=1e-3)
    assert source.remarks == []


@pytest.mark.parametrize('name', ['stack.tif', 'STACK.TIFF', 'moving.webp'])
def test_file_with_several_images_is_refused(tmp_path: Path, name: str) -> None:
    """FFmpeg reads the first page of a TIFF and reports one frame."""
    pages = [PIL.Image.fromarray(image(index)) for index in range(3)]
    kind = 'WEBP' if name.endswith('webp') else 'TIFF'
    pages[0].save(tmp_path / name, format=kind, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match='holds several pictures; FFmpeg reads'):
        FrameSource(str(tmp_path / name))
    pages[0].save(tmp_path / 'one.tif')
    assert len(list(FrameSource(str(tmp_path / 'one.tif')))) == 1


def test_the_first_frames_of_a_transport_stream_are_read(tmp_path: Path) -> None:
    """A seek to frame 0 lands on frame 3 in MPEG-2; in H.264 nothing is decoded after it."""
    path = tmp_path / 'broadcast.ts'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mpg2'), 30.0, (64, 48))
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no MPEG-2')
    for number in range(60):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    source = FrameSource(str(path))
    for _ in range(2):
        levels = [frame.image.mean() for frame in source]
        assert levels == pytest.approx([4 * number for number in range(60)], abs=6)
        assert source.remarks == []


@pytest.mark.parametrize('name', ['12:30:05.mp4', 'http:x.mp4', 'data:x.mp4', 'a%03d.mp4'])
def test_a_relative_name_with_a_colon_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mp4: str, name: str
) -> None:
    """FFmpeg takes the part of a path before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    Path(mp4).rename(name)
    assert indices(FrameSource(name)) == list(range(COUNT))


def test_start_far_after_the_end_is_refused_at_once(avi: str) -> None:
    """This once took minutes, because each of the missing frames was read in turn."""
    with pytest.raises(ValueError, match=f'has {COUNT} frames, none at 1000000000'):
        list(FrameSource(avi, start=1_000_000_000))


def test_unreadable_frames_before_the_start_are_counted(tmp_path: Path) -> None:
    path = tmp_path / 'damaged.mp4'
    content = bytearray(long_video(path, 100))
    middle = len(content) // 5
    noise = np.random.default_rng(1).integers(0, 255, len(content) // 10, np.uint8).tobytes()
    content[middle : middle + len(noise)] = noise
    path.write_bytes(content)
    whole, part = FrameSource(str(path)), FrameSource(str(path), start=60)
    expected = {frame.index - 60: frame.image for frame in whole if frame.index >= 60}
    assert whole.remarks
    assert 0 in expected
    frames = list(part)
    assert [frame.index for frame in frames] == list(expected)
    assert all((frame.image == expected[frame.index]).all() for frame in frames)


def test_superscript_digit_is_not_a_camera_number() -> None:
    with pytest.raises(FileNotFoundError, match='² does not exist; expected a video'):
        FrameSource('²')


def test_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'video.mp4')
    with pytest.raises(ValueError, match='is a FIFO, socket or device; expected a video file'):
        FrameSource(str(tmp_path / 'video.mp4'))


def test_a_name_that_is_not_utf8_is_shown_escaped(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.mp4')
    Path(path).write_bytes(b'')
    with pytest.raises(ValueError, match=r'caf\\xe9\.mp4: the name is not UTF-8'):
        FrameSource(path)


def test_a_relative_name_in_a_folder_that_is_not_utf8_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mp4: str
) -> None:
    """OpenCV gets the absolute path, and ended the process by SIGSEGV."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9'))
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path(mp4).rename('a.mp4')
    with pytest.raises(ValueError, match=r'caf\\xe9/a\.mp4: the name is not UTF-8'):
        FrameSource('a.mp4')


@pytest.mark.parametrize('wrong', [{'fps': -1.0}, {'start': -1}, {'count': -2}])
def test_negative_numbers_are_refused(folder: str, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r'-[12].*: expected 0 or more'):
        FrameSource(folder, **wrong)  # type: ignore[arg-type]


def test_start_after_the_end_is_refused(avi: str, folder: str) -> None:
    for path in (avi, folder):
        with pytest.raises(ValueError, match=r'has [0-9]+ frames, none at 40'):
            list(FrameSource(path, start=40))


def test_grey_and_alpha_images_are_converted_to_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / '1.png'), np.full((8, 9), 70, np.uint8))
    cv2.imwrite(str(tmp_path / '2.png'), np.full((8, 9, 4), 70, np.uint8))
    assert [frame.image.shape for frame in FrameSource(str(tmp_path))] == [(8, 9, 3)] * 2


def test_exif_orientation_is_ignored(tmp_path: Path, turned_jpeg: Any) -> None:
    """Boxes are annotated in the stored pixels, whatever orientation EXIF states."""
    wide = np.full((24, 64, 3), 90, np.uint8)
    (tmp_path / '0.jpg').write_bytes(turned_jpeg(wide))
    assert [frame.image.shape for frame in FrameSource(str(tmp_path))] == [(24, 64, 3)]
