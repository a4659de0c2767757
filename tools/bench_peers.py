# SPDX-License-Identifier: Apache-2.0
"""Accuracy of this package and of other trackers, as the mean of several starts on each sequence.

--tracker takes the names that `hcat evaluate` takes. --peers takes a folder with the files of
NanoTrack and LightFC, which then run in this package's tracker (window penalty 0.35, size smoothing
0.3, never lost), with and without box correction. Prints the AO, its deviation over the starts, and
the AO of each sequence.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hcat_ros.evaluation.clips import read_clips
from hcat_ros.evaluation.one_pass import measures
from hcat_ros.evaluation.passes import PassTask, run_passes
from hcat_ros.evaluation.trackers import MakeTracker, TrackerSpec, parse_tracker
from hcat_ros.markdown import markdown_table
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.training.teachers import Committee, TeacherConfig, load_teacher

FILES = {
    'NanoTrack v2': (
        'nanotrack',
        'nanotrack_v2/nanotrack_backbone_sim.onnx',
        'nanotrack_v2/nanotrack_head_sim.onnx',
    ),
    'NanoTrack v3': (
        'nanotrack',
        'nanotrack_v3/nanotrack_backbone.onnx',
        'nanotrack_v3/nanotrack_head.onnx',
    ),
    'LightFC w8a8': (
        'lightfc',
        'lightfc/lightfc_w8a8_backbone_opset12.onnx',
        'lightfc/lightfc_w8a8_tracking_opset12.onnx',
    ),
}
"""Kind of a peer, and its files in the folder of peers."""


@dataclass(frozen=True)
class PeerSpec:
    """A peer, or several as a committee, in this package's tracker; see `TrackerSpec`."""

    names: tuple[str, ...]
    folder: str
    box_correction: float

    @property
    def title(self) -> str:
        """Name of the tracker, with a note if boxes are corrected."""
        return ' + '.join(self.names) + (', boxes corrected' if self.box_correction else '')

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`. The tracker always uses one thread."""
        teachers = []
        for name in self.names:
            kind, *files = FILES[name]
            backbone, head = (str(Path(self.folder) / file) for file in files)
            teachers.append(load_teacher(TeacherConfig(backbone, head, kind)))
        config = TrackerConfig(0.35, 0.3, box_correction=self.box_correction)
        engine = Committee(teachers)
        return (lambda: Tracker(engine, config)), {}

    def resolve(self, loaded: dict[str, Any]) -> PeerSpec:
        """See `TrackerSpec`."""
        return self


def main() -> None:
    """Run every tracker from every start and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sequences', type=Path, help='folder of sequences with groundtruth.txt')
    parser.add_argument('--tracker', nargs='*', default=[], metavar='MODEL[:ENGINE[:PRECISION]]')
    parser.add_argument('--peers', type=Path, help='folder with nanotrack_v2, _v3 and lightfc')
    parser.add_argument('--starts', type=int, default=6)
    parser.add_argument('--jobs', type=int, default=1, help='processes')
    arguments = parser.parse_args()
    specs: list[TrackerSpec] = [parse_tracker(text) for text in arguments.tracker]
    if arguments.peers:
        groups = [(name,) for name in FILES] + [('LightFC w8a8', 'NanoTrack v2')]
        specs += [
            PeerSpec(names, str(arguments.peers), correction)
            for names in groups
            for correction in (0.0, 1.0)
        ]
    clips = read_clips('plain', arguments.sequences)
    starts = range(arguments.starts)
    tasks = [PassTask(spec, clip, start) for spec in specs for clip in clips for start in starts]
    results = tqdm(run_passes(tasks, arguments.jobs), total=len(tasks), disable=None)
    aos = np.reshape(
        [
            measures(result, task.clip.boxes[task.clip.visible[0] :]).ao
            for task, result in zip(tasks, results)
        ],
        (len(specs), len(clips), len(starts)),
    )
    rows = [
        (
            spec.title,
            f'{ao.mean():.3f} ± {ao.mean(axis=0).std():.3f}',
            *(f'{value:.3f}' for value in ao.mean(axis=1)),
        )
        for spec, ao in zip(specs, aos)
    ]
    print(markdown_table(['', 'AO', *(clip.name for clip in clips)], rows))


if __name__ == '__main__':
    main()
