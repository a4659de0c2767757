# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import (
    BEGIN,
    CAMERA,
    DELAY,
    SECOND,
    BagWriter,
    raw_image,
    stamps_of,
    write_bag,
)

from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    DETECTION,
    IMAGE,
    build_message,
    header,
)
from hcat_ros.evaluation.bags.reading import METADATA, open_bag
from hcat_ros.tracking.encodings import ENCODINGS, to_bgr

KINDS = [
    {'storage': 'sqlite3'},
    {'storage': 'sqlite3', 'packed': 'file'},
    {'storage': 'sqlite3', 'packed': 'message'},
    {'storage': 'sqlite3', 'definitions': False},
    {'storage': 'mcap'},
    {'storage': 'mcap', 'packed': 'file'},
    {'storage': 'mcap', 'packed': 'message'},
    {'storage': 'mcap', 'packed': 'storage'},
]


def named(kind: dict[str, object]) -> str:
    return '-'.join(str(value or 'humble') for value in kind.values())


every_kind = pytest.mark.parametrize('kind', KINDS, ids=named)


@pytest.fixture(scope='module')
def images(picture: Callable[..., np.ndarray]) -> list[np.ndarray]:
    return [picture(48, 64, number) for number in range(7)]


@every_kind
def test_images_are_read_as_they_were_published(
    tmp_path: Path, images: list[np.ndarray], kind: dict
) -> None:
    truth = np.array([[3.0, 4, 20, 10]] * 7)
    path = write_bag(tmp_path / 'walk', images, init_box=(3, 4, 20, 10), truth=truth, **kind)
    with open_bag(path) as bag:
        assert bag.name == 'walk'
        assert {name: (topic.type, topic.count) for name, topic in bag.topics.items()} == {
            CAMERA: (IMAGE, 7),
            '/init_box': (DETECTION, 1),
            '/truth': (DETECTION, 7),
        }
        frames = list(bag.frames(bag.image_topic()))
        assert [frame.index for frame in frames] == list(range(7))
        assert [frame.stamp for frame in frames] == stamps_of(7)
        assert [frame.log_time - DELAY for frame in frames] == stamps_of(7)
        assert {(frame.encoding, frame.frame_id) for frame in frames} == {('bgr8', 'camera')}
        assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, images))
        assert list(bag.findings) == []


@every_kind
def test_a_single_storage_file_is_read_as_a_bag(
    tmp_path: Path, images: list[np.ndarray], kind: dict
) -> None:
    folder = write_bag(tmp_path / 'walk', images, **kind)
    file = next(path for path in folder.iterdir() if path.name != METADATA)
    with open_bag(file) as bag:
        assert bag.name == 'walk'
        frames = list(bag.frames(bag.image_topic()))
        assert [np.array_equal(f.image, i) for f, i in zip(frames, images)] == [True] * 7
        assert list(bag.findings) == []


@pytest.mark.parametrize('encoding', [*ENCODINGS, 'jpeg', 'png'])
def test_images_keep_their_encoding(tmp_path: Path, encoding: str) -> None:
    """The tracker cuts its crop from the original encoding, so reading does not convert it."""
    channels = ENCODINGS[encoding].channels if encoding in ENCODINGS else 3
    image = np.full((8, 10, channels), 120, np.uint8)
    image = image[:, :, 0] if channels == 1 else image
    with open_bag(write_bag(tmp_path / 'bag', [image] * 2, kind=encoding)) as bag:
        topic = bag.image_topic()
        assert topic.type == (IMAGE if encoding in ENCODINGS else COMPRESSED)
        for frame in bag.frames(topic):
            assert frame.encoding == (encoding if encoding in ENCODINGS else 'bgr8')
            assert np.abs(frame.image.astype(int) - 120).max() <= 2
            assert to_bgr(frame.image, frame.encoding).shape == (8, 10, 3)


def test_mono16_of_a_12_bit_sensor_is_scaled_to_8_bits(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        deep = np.full((8, 10), 2048, np.uint16)
        bag.add(CAMERA, BEGIN, raw_image(BEGIN, deep, 'mono16'))
    with open_bag(tmp_path / 'bag') as bag:
        topic = bag.image_topic()
        frame = next(bag.frames(topic, mono16_bits=12))
        assert (frame.encoding, int(frame.image.max())) == ('mono8', 128)
        again = bag.frame_at(topic, frame.log_time, frame.stamp, mono16_bits=12)
        assert np.array_equal(again.image, frame.image)


def test_images_are_read_in_recording_order(tmp_path: Path, images: list[np.ndarray]) -> None:
    for storage in ('sqlite3', 'mcap'):
        with BagWriter(tmp_path / storage, storage) as bag:
            for number in (2, 0, 3, 1):
                bag.add(CAMERA, BEGIN + number, raw_image(number, images[number]))
        with open_bag(tmp_path / storage) as bag:
            assert [frame.stamp for frame in bag.frames(bag.image_topic())] == [0, 1, 2, 3]


def test_an_image_is_found_by_its_recording_time_and_stamp(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    for kind in KINDS:
        with open_bag(write_bag(tmp_path / named(kind), images, **kind)) as bag:
            topic = bag.image_topic()
            stamp = stamps_of(7)[4]
            assert np.array_equal(bag.frame_at(topic, stamp + DELAY, stamp).image, images[4])
            with pytest.raises(ValueError, match='no image with stamp 5'):
                bag.frame_at(topic, stamp + DELAY, 5)


@every_kind
def test_times_are_the_stamps_and_recording_times_of_the_images(
    tmp_path: Path, images: list[np.ndarray], kind: dict
) -> None:
    with open_bag(write_bag(tmp_path / 'walk', images, **kind)) as bag:
        expected = [(stamp, stamp + DELAY) for stamp in stamps_of(7)]
        assert bag.times(bag.image_topic()) == expected


# What cannot be read


def test_unusable_images_are_counted(tmp_path: Path, images: list[np.ndarray]) -> None:
    good, bad = raw_image(1, images[0]), raw_image(2, images[1])
    bad.step = 1
    with BagWriter(tmp_path / 'bag') as bag:
        for number, (message, data) in enumerate(
            [(good, None), (bad, None), (bad, None), (good, b'\0\1\0\0nothing'), (good, None)]
        ):
            bag.add(CAMERA, BEGIN + number, message, data)
    with open_bag(tmp_path / 'bag') as bag:
        frames = list(bag.frames(bag.image_topic()))
        assert [frame.index for frame in frames] == [0, 4]
        unread, unused = sorted(bag.findings, key=len, reverse=True)
        assert (
            'that cannot be read: 1, the first: number 3: 11 bytes cannot be decoded as sensor_msgs'
            in unread
        )
        assert 'images that cannot be used: 2, the first: image 1: image step 1 is' in unused


def test_an_invalid_jpeg_is_counted_as_unusable(tmp_path: Path) -> None:
    message = build_message(
        COMPRESSED, header=header(0, ''), format='jpeg', data=np.frombuffer(b'text', np.uint8)
    )
    with BagWriter(tmp_path / 'bag') as written:
        for number in range(2):
            written.add('/a/compressed', BEGIN + number, message)
    with open_bag(tmp_path / 'bag') as bag:
        assert list(bag.frames(bag.image_topic())) == []
        (finding,) = bag.findings
        assert 'images that cannot be used: 2, the first: image 0: compressed image' in finding


def test_a_file_that_is_listed_twice_is_read_once(tmp_path: Path, images: list[np.ndarray]) -> None:
    path = write_bag(tmp_path / 'walk', images)
    content = yaml.safe_load((path / METADATA).read_text())
    content['rosbag2_bagfile_information']['relative_file_paths'] *= 2
    (path / METADATA).write_text(yaml.safe_dump(content))
    with open_bag(path) as bag:
        assert len(list(bag.frames(bag.image_topic()))) == len(images)


def test_only_a_message_with_text_in_a_numeric_or_binary_column_is_lost(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    path = write_bag(tmp_path / 'walk', images, storage='sqlite3')
    with closing(sqlite3.connect(path / 'walk.db3')) as database, database:
        database.execute("UPDATE messages SET timestamp = 'now' WHERE id = 3")
        database.execute("UPDATE messages SET data = 'text' WHERE id = 5")
    with open_bag(path) as bag:
        frames = list(bag.frames(bag.image_topic()))
        assert len(frames) == len(images) - 2
        assert any(
            'the time or content of a message is text' in line for line in bag.findings.left_out
        )


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'metadata.yaml is missing'),
        ('', 'metadata.yaml is damaged'),
        ('- a list', 'metadata.yaml is damaged'),
        ('rosbag2_bagfile_information: {version: 5', 'metadata.yaml is damaged'),
        ('rosbag2_bagfile_information: {relative_file_paths: null}', 'metadata.yaml is damaged'),
        (
            'rosbag2_bagfile_information: {relative_file_paths: [], topics_with_message_count: '
            '[{topic_metadata: {name: /a}, message_count: .inf}]}',
            'metadata.yaml is damaged',
        ),
        (
            'rosbag2_bagfile_information: {relative_file_paths: [], topics_with_message_count: '
            '[{topic_metadata: {name: /a}, message_count: -5}]}',
            'metadata.yaml is damaged (-5 messages of /a)',
        ),
    ],
)
@every_kind
def test_missing_or_damaged_metadata_is_reported_and_the_files_are_read(
    tmp_path: Path, images: list[np.ndarray], kind: dict, content: str | None, said: str
) -> None:
    path = write_bag(tmp_path / 'walk', images, **kind)
    (path / METADATA).unlink()
    if content is not None:
        (path / METADATA).write_text(content)
    for file in list(path.iterdir()):  # macOS leaves such files beside others
        file.with_name(f'._{file.name}').write_bytes(b'\x00\x05\x16\x07Mac OS X')
    with open_bag(path) as bag:
        assert len(list(bag.frames(bag.image_topic()))) == 7
        (finding,) = bag.findings
        assert finding.startswith(said)


def split_bag(folder: Path, images: list[np.ndarray], **kind: object) -> list[str]:
    """Write a bag of eleven files with one image each and return their names in order."""
    folder.mkdir()
    names = []
    for number in range(11):
        part = folder / f'walk_{number}'
        with BagWriter(part, **kind) as bag:
            stamp = BEGIN + number * SECOND
            bag.add(CAMERA, stamp, raw_image(stamp, images[number % len(images)]))
        content = yaml.safe_load((part / METADATA).read_text())['rosbag2_bagfile_information']
        names += content['relative_file_paths']
        shutil.move(part / names[-1], folder / names[-1])
        shutil.rmtree(part)
    content['relative_file_paths'] = names
    content['topics_with_message_count'][0]['message_count'] = 11
    content['message_count'] = 11
    whole = {'rosbag2_bagfile_information': content}
    (folder / METADATA).write_text(yaml.safe_dump(whole))
    return names


@every_kind
def test_a_split_bag_is_read_with_and_without_all_its_files(
    tmp_path: Path, images: list[np.ndarray], kind: dict
) -> None:
    folder = tmp_path / 'walk'
    names = split_bag(folder, images, **kind)
    expected = [BEGIN + number * SECOND for number in range(11)]
    with open_bag(folder) as bag:
        topic = bag.image_topic()
        assert topic.count == 11
        assert [frame.stamp for frame in bag.frames(topic)] == expected
        assert list(bag.findings) == []
    (folder / METADATA).rename(folder / 'other.yaml')
    with open_bag(folder) as bag:
        assert [frame.stamp for frame in bag.frames(bag.image_topic())] == expected
    (folder / 'other.yaml').rename(folder / METADATA)
    (folder / names[3]).unlink()
    (folder / names[5]).write_bytes(b'')
    with open_bag(folder) as bag:
        stamps = [frame.stamp for frame in bag.frames(bag.image_topic())]
        assert stamps == [stamp for n, stamp in enumerate(expected) if n not in (3, 5)]
        text = '\n'.join(bag.findings)
        assert f'{names[3]} is missing' in text
        assert f'{names[5]}: ' in text
        assert f'{CAMERA}: read 9 of 11 messages' in text


def test_an_sqlite_journal_with_unread_messages_is_reported(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    path = write_bag(tmp_path / 'walk', images, storage='sqlite3')
    (path / 'walk.db3-wal').write_bytes(b'')
    with open_bag(path) as bag:
        assert list(bag.findings) == []
    (path / 'walk.db3-wal').write_bytes(b'pages')
    with open_bag(path) as bag:
        (finding,) = bag.findings
    assert 'walk.db3-wal has messages that are not in walk.db3 and are not read' in finding


def test_paths_that_are_not_a_bag_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no bag .*missing'):
        open_bag(tmp_path / 'missing')
    (tmp_path / 'notes.txt').write_text('notes')
    with pytest.raises(ValueError, match=r'notes.txt is no rosbag2: expected a folder, or a .mcap'):
        open_bag(tmp_path / 'notes.txt')
    with pytest.raises(ValueError, match=r'is no rosbag2: it holds no .mcap or .db3 file'):
        open_bag(tmp_path)


def test_nothing_stays_in_the_temporary_folder(
    tmp_path: Path, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bag(tmp_path / 'walk', images, packed='file')
    scratch = tmp_path / 'scratch'
    scratch.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(scratch))
    with open_bag(path) as bag:
        assert len(list(bag.frames(bag.image_topic()))) == 7
        assert [file.name for file in scratch.rglob('*.mcap')] == ['walk.mcap']
    assert list(scratch.iterdir()) == []


def test_split_files_that_overlap_in_time_are_merged(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    """Two recorders on one robot, or a split by topic, give such files."""
    folder = tmp_path / 'walk'
    folder.mkdir()
    for part in (0, 1):
        whole = tmp_path / f'part_{part}'
        with BagWriter(whole) as bag:
            for number in range(part, 8, 2):
                stamp = BEGIN + number * SECOND
                bag.add(CAMERA, stamp, raw_image(stamp, images[number % 7]))
        next(whole.glob('*.mcap')).rename(folder / f'walk_{part}.mcap')
    with open_bag(folder) as bag:
        stamps = [frame.stamp for frame in bag.frames(bag.image_topic())]
    assert stamps == [BEGIN + number * SECOND for number in range(8)]


def test_a_file_that_the_metadata_do_not_list_is_named(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    """A copy in another form, such as one compressed by hand, is no further part of the bag."""
    walk = write_bag(tmp_path / 'walk', images[:2])
    part = write_bag(tmp_path / 'part', images[:3]) / 'part.mcap'
    shutil.copy(walk / 'walk.mcap', walk / 'walk.mcap.zstd')
    with open_bag(walk) as bag:
        assert list(bag.findings) == []
    part.rename(walk / 'walk_1.mcap')
    with open_bag(walk) as bag:
        (text,) = bag.findings.left_out
        assert text.startswith('walk_1.mcap is not read: metadata.yaml does not list it')
        assert bag.topics[CAMERA].count == 2


def test_a_bag_whose_file_is_named_by_a_superscript_is_read(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    """Python calls it a digit, but reads no number from it."""
    path = write_bag(tmp_path / 'walk', images)
    (path / METADATA).unlink()
    (path / 'walk.mcap').rename(path / '\u00b20.mcap')
    with open_bag(path) as bag:
        assert len(list(bag.frames(bag.topics[CAMERA]))) == len(images)
