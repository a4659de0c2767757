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
"""Fields of TrackerConfig that a model's card knows the best values of."""
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
        'Inference runtime; auto takes the fastest of hcat doctor that gives the right answers.',
        choices=('auto', *ENGINES),
    ),
    Setting(
        'precision',
        str,
        'auto',
        "Arithmetic of the engine; auto takes int8 where the model's card accepts it and it is the "
        'fastest, fp32 is float.',
        choices=('auto', 'fp32', 'fp16', 'bf16', 'int8'),
    ),
    Setting(
        'build_if_missing',
        bool,
        True,
        'Build TensorRT engines that the cache lacks while configuring, which takes minutes.',
    ),
    Setting(
        'workspace_mb',
        int,
        0,
        'Memory that a kernel of TensorRT may take in an engine that is built, 0 for all there is.',
        0,
        65536,
    ),
    Setting(
        'dla_core',
        int,
        -1,
        'Deep learning accelerator of a Jetson that TensorRT runs on, -1 for the GPU.',
        -1,
        7,
    ),
    Setting('threads', int, 0, 'CPU threads of the engine, 0 for one a core.', 0, 64),
    Setting(
        'window_penalty',
        float,
        None,
        "Weight of the Hanning window: 0 trusts the scores alone, 1 never moves. The model's own "
        'value unless given.',
        0,
        1,
        live=True,
    ),
    Setting(
        'size_smoothing',
        float,
        None,
        "Share of the measured size in the new size, 1 takes it as it is. The model's own value "
        'unless given.',
        0.01,
        1,
        live=True,
    ),
    Setting(
        'box_correction',
        float,
        None,
        'Share of the difference between the init box and what the network sees there by which the '
        "boxes of the track are corrected, from the next target on; 0 never. The model's own value "
        'unless given.',
        0,
        1,
        live=True,
    ),
    Setting(
        'lost_threshold',
        float,
        None,
        "Share of the score of a target's first frames below which it counts as lost, 0 never. "
        "The model's own value unless given.",
        0,
        1,
        live=True,
    ),
    Setting(
        'uncertain_threshold',
        float,
        None,
        "Share of it below which the target counts as uncertain, 0 never. The model's own value "
        'unless given.',
        0,
        1,
        live=True,
    ),
    Setting(
        'found_threshold',
        float,
        None,
        "Share of it from which a lost target counts as found again. The model's own value unless "
        'given.',
        0,
        1,
        live=True,
    ),
    Setting(
        'scan_regions',
        int,
        1,
        'Search regions a frame in which a lost target is looked for elsewhere; each takes as long '
        'as tracking does.',
        0,
        16,
        live=True,
    ),
    Setting(
        'image_transport', str, 'raw', 'Type of the image topic.', choices=('raw', 'compressed')
    ),
    Setting(
        'mono16_bits',
        int,
        16,
        'Bits of a mono16 image that the sensor fills, 12 for one of 12 bits in the lower bits.',
        8,
        16,
        live=True,
    ),
    Setting(
        'max_image_pixels',
        int,
        MAX_IMAGE_PIXELS,
        'Pixels of a compressed image, by its header, above which it is refused undecoded.',
        1,
        10**9,
        live=True,
    ),
    Setting(
        'max_age',
        float,
        0.0,
        "Seconds from an image's stamp to its arrival from which on it is not tracked, 0: any.",
        0,
        3600,
        live=True,
    ),
    Setting(
        'frozen_timeout',
        float,
        0.3,
        'Seconds for which images may be the same to the last bit until the camera counts as '
        'frozen, 0: for ever, for sources that really stand still (simulators, screens).',
        0,
        3600,
        live=True,
    ),
    Setting('init_box', list, None, 'Target in the first frame: x, y, w, h in pixels.'),
    Setting(
        'init_mode',
        str,
        'manual',
        'Which detection is taken while there is no target or it is lost: manual none, best the '
        'highest score, class the best of the first of detection_class that is there, nearest the '
        'one nearest to where the target was last seen, all as many as max_targets has room for. '
        'Of several targets a lost one is found again in detections by its own template.',
        choices=('manual', 'best', 'class', 'nearest', 'all'),
        live=True,
    ),
    Setting(
        'detection_class',
        str,
        '',
        'Take detections of these classes alone, with commas between; empty: any.',
        live=True,
    ),
    Setting(
        'class_id',
        str,
        'target',
        'Class of tracks whose init box names none.',
        live=True,
        longest=LONGEST_NAME,
    ),
    Setting(
        'buffer_mb',
        int,
        24,
        'Memory for past frames, on which a stamped init_box can name its target: 24 holds 27 of '
        '640x480, 4 of 1920x1080, as 8-bit colours.',
        0,
        4096,
    ),
    Setting(
        'stamp_tolerance',
        float,
        STAMP_TOLERANCE,
        'Seconds by which the frame nearest to a stamped init_box may miss its stamp.',
        0,
        10,
        live=True,
    ),
    Setting(
        'max_targets',
        int,
        1,
        'Targets that are followed at a time. With 1 a new one takes the place of the one before; '
        'with more it is added, or refused once all are taken, and `tracks` has all of them.',
        1,
        16,
    ),
    Setting('diagnostics_period', float, 1.0, 'Seconds between diagnostics.', 0.1, 60),
)


def engine_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that choose the engine as `load_engine` takes them."""
    names = ('engine', 'precision', 'threads', 'build_if_missing')
    return {
        **{name: values[name] for name in names},
        'workspace': values['workspace_mb'] or None,
        'dla': None if values['dla_core'] < 0 else values['dla_core'],
    }
