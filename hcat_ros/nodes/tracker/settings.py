# SPDX-License-Identifier: Apache-2.0
"""The parameters of the tracker node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hcat_ros.engines import ENGINES
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS
from hcat_ros.models import DEFAULT_MODEL, TRACKING_FIELDS
from hcat_ros.nodes.manager_bond import BOND
from hcat_ros.nodes.message_bounds import LONGEST_NAME
from hcat_ros.nodes.parameters import Setting
from hcat_ros.tracking.target_requests import STAMP_TOLERANCE

FROM_CARD = TRACKING_FIELDS
"""Fields of TrackerConfig for which a model's card has values."""
FOR_TRACKER = (*FROM_CARD, 'scan_regions')
"""All fields of TrackerConfig."""

SETTINGS = (
    Setting('autostart', bool, False, 'Configure and activate by itself when the node starts.'),
    BOND,
    Setting('model', str, DEFAULT_MODEL, 'Name or folder of the model.'),
    Setting(
        'engine',
        str,
        'auto',
        'Inference runtime; auto takes the fastest one that passes the self-test (see hcat '
        'doctor).',
        choices=('auto', *ENGINES),
    ),
    Setting(
        'precision',
        str,
        'auto',
        "Arithmetic of the engine; auto takes int8 if the model's card accepts it and it is the "
        'fastest, otherwise the default float type of the runtime.',
        choices=('auto', 'fp32', 'fp16', 'bf16', 'int8'),
    ),
    Setting(
        'build_if_missing',
        bool,
        True,
        'Build TensorRT engines that are not in the cache when configuring, which takes minutes.',
    ),
    Setting(
        'workspace_mb',
        int,
        0,
        'Memory that a TensorRT kernel may use in a newly built engine [MiB], 0 for no limit.',
        0,
        65536,
    ),
    Setting(
        'dla_core',
        int,
        -1,
        'Core of a Jetson deep learning accelerator that TensorRT runs on, -1 for the GPU.',
        -1,
        7,
    ),
    Setting('threads', int, 0, 'CPU threads of the engine, 0 for one per core.', 0, 64),
    Setting(
        'window_penalty',
        float,
        None,
        'Weight of the Hanning window: 0 uses the scores alone, 1 never moves the box. If unset, '
        "the model card's value is used.",
        0,
        1,
        live=True,
    ),
    Setting(
        'size_smoothing',
        float,
        None,
        'Share of the measured size in the new size, 1 uses it unchanged. If unset, the model '
        "card's value is used.",
        0.01,
        1,
        live=True,
    ),
    Setting(
        'box_correction',
        float,
        None,
        "Share of the difference between the init box and the network's box in the first frame "
        'that is added to every later box, from the next target on; 0: no correction. If unset, '
        "the model card's value is used.",
        0,
        1,
        live=True,
    ),
    Setting(
        'lost_threshold',
        float,
        None,
        "Share of the target's own score (its score in its first frames) below which the target "
        "counts as lost, 0: never. If unset, the model card's value is used.",
        0,
        1,
        live=True,
    ),
    Setting(
        'uncertain_threshold',
        float,
        None,
        "Share of the target's own score below which the target counts as uncertain, 0: never. "
        "If unset, the model card's value is used.",
        0,
        1,
        live=True,
    ),
    Setting(
        'found_threshold',
        float,
        None,
        "Share of the target's own score from which a lost target counts as found again. If "
        "unset, the model card's value is used.",
        0,
        1,
        live=True,
    ),
    Setting(
        'scan_regions',
        int,
        1,
        'Number of additional search regions per frame for a lost target; each takes as long as '
        'tracking does.',
        0,
        16,
        live=True,
    ),
    Setting(
        'image_transport',
        str,
        'raw',
        'Type of the image topic: raw is sensor_msgs/Image, compressed is '
        'sensor_msgs/CompressedImage on image/compressed.',
        choices=('raw', 'compressed'),
    ),
    Setting(
        'mono16_bits',
        int,
        16,
        'Number of bits that the sensor fills in a mono16 image, for example 12 for a 12-bit '
        'sensor that uses the lower bits.',
        8,
        16,
        live=True,
    ),
    Setting(
        'max_image_pixels',
        int,
        MAX_IMAGE_PIXELS,
        'Maximum number of pixels of a compressed image. If its header has more, it is not '
        'decoded.',
        1,
        10**9,
        live=True,
    ),
    Setting(
        'max_age',
        float,
        0.0,
        "Maximum time from an image's stamp to its arrival [s]; older images are not tracked. 0: "
        'no limit.',
        0,
        3600,
        live=True,
    ),
    Setting(
        'frozen_timeout',
        float,
        0.3,
        'Seconds of identical images after which the camera counts as frozen. 0: never, for '
        'sources that really stand still (simulators, screens).',
        0,
        3600,
        live=True,
    ),
    Setting('init_box', list, None, 'Target in the first frame: x, y, w, h in pixels.'),
    Setting(
        'init_mode',
        str,
        'manual',
        'Which detection becomes the target while there is no target or it is lost. manual: none; '
        'best: the highest score; class: the highest score of the first class in detection_class '
        'that is present; nearest: the detection nearest to the last place of the target; all: as '
        'many detections as max_targets allows. With several targets, a lost target is found again '
        'in detections by its own template.',
        choices=('manual', 'best', 'class', 'nearest', 'all'),
        live=True,
    ),
    Setting(
        'detection_class',
        str,
        '',
        'Comma-separated classes of detections that can become targets; empty: all classes.',
        live=True,
    ),
    Setting(
        'class_id',
        str,
        'target',
        'Class of a track if its init box has no class.',
        live=True,
        longest=LONGEST_NAME,
    ),
    Setting(
        'buffer_mb',
        int,
        24,
        'Memory for past frames [MiB], in which a stamped init_box can name its target: 24 holds '
        '27 frames of 640x480 or 4 of 1920x1080 in 8-bit colour.',
        0,
        4096,
    ),
    Setting(
        'stamp_tolerance',
        float,
        STAMP_TOLERANCE,
        'Maximum difference between the stamp of an init_box and that of the nearest frame [s].',
        0,
        10,
        live=True,
    ),
    Setting(
        'max_targets',
        int,
        1,
        'Maximum number of targets. With 1, a new target replaces the previous target; with '
        'more, it is added, or refused if the maximum is reached, and `tracks` has all targets.',
        1,
        16,
    ),
    Setting('diagnostics_period', float, 1.0, 'Seconds between diagnostics.', 0.1, 60),
)


def engine_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that choose the engine as arguments of `load_engine`."""
    names = ('engine', 'precision', 'threads', 'build_if_missing')
    return {
        **{name: values[name] for name in names},
        'workspace': values['workspace_mb'] or None,
        'dla': None if values['dla_core'] < 0 else values['dla_core'],
    }
