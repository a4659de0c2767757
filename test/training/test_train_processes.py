# SPDX-License-Identifier: Apache-2.0
"""`hcat train` in processes of its own: killed and restarted, and two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')


from hcat_ros.commands.main import main
from hcat_ros.training.log import read_rows


def assert_same(one: Path, other: Path) -> None:
    """Assert that the states of two runs are bit-identical."""
    states = [torch.load(path / 'state.pt') for path in (one, other)]
    assert states[0]['step'] == states[1]['step']
    for part in ('model', 'average'):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name
    assert (one / 'weights.safetensors').read_bytes() == (
        other / 'weights.safetensors'
    ).read_bytes()


START = 'import sys; from hcat_ros.commands.main import main; sys.exit(main())'
HANG = """
import sys, time
from hcat_ros.commands.main import main
from hcat_ros.training.loop import Trainer
step = Trainer.train_step
def hanging(self, group):
    if self.step == 5:
        print('in the sixth step', flush=True)
        time.sleep(600)
    return step(self, group)
Trainer.train_step = hanging
sys.exit(main())
"""


def test_a_run_killed_during_a_step_resumes_and_ends_with_the_same_weights(
    config_file: Path, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PYTHONPATH', str(checkout))
    text = config_file.read_text().replace('steps: 6', 'steps: 8')
    config_file.write_text(text.replace('workers: 0', 'workers: 1'))
    options = ['--save-every', '2', '--log-every', '2']
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'

    def command(code: str, out: Path) -> list[str]:
        return [sys.executable, '-c', code, 'train', str(config_file), '--out', str(out), *options]

    subprocess.run(command(START, whole), check=True, capture_output=True)
    with subprocess.Popen(command(HANG, killed), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert 'in the sixth step' in process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert torch.load(killed / 'state.pt')['step'] == 4
    # Partially written files do not matter either.
    (killed / 'state.pt.partial').write_bytes(b'half')
    with (killed / 'log.jsonl').open('a') as file:
        file.write('{"step": 6, ')
    done = subprocess.run(command(START, killed), check=True, capture_output=True, text=True)
    assert 'resuming from step 4' in done.stdout
    assert_same(whole, killed)
    assert [row['step'] for row in read_rows(killed / 'log.jsonl')] == [2, 4, 6, 8]


SHOW_RANKS = """
import os, sys, torch
from pathlib import Path
from hcat_ros.commands.main import main
from hcat_ros.training.loop import Trainer
run, save = Trainer.run, Trainer.save
def shown(self, *args):
    run(self, *args)
    states = {'model': self.model.state_dict(), 'average': self.ema_model.state_dict()}
    torch.save(states, Path(os.environ['SHOWN']) / f'rank{self.rank}.pt')
def saved(self):
    (Path(os.environ['SHOWN']) / f'saved{self.rank}').touch()
    save(self)
Trainer.run, Trainer.save = shown, saved
sys.exit(main())
"""


def torchrun(script: str, checkout: Path, *options: str, **environment: str) -> None:
    """Run the script in two processes."""
    paths = os.pathsep.join([str(checkout), str(checkout / 'test' / 'training')])
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run(
        [*command, script, *options],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1', **environment},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_train_the_same_network(
    config_file: Path, tmp_path: Path, checkout: Path
) -> None:
    out, shown = tmp_path / 'out', tmp_path / 'shown'
    shown.mkdir()
    (tmp_path / 'run.py').write_text(SHOW_RANKS)
    options = ['train', str(config_file), '--out', str(out), '--steps', '3', '--log-every', '1']
    torchrun(str(tmp_path / 'run.py'), checkout, *options, SHOWN=str(shown))
    ranks = [torch.load(shown / f'rank{rank}.pt') for rank in range(2)]
    alone = tmp_path / 'alone'
    assert main(['train', str(config_file), '--out', str(alone), '--steps', '3']) == 0
    single = torch.load(alone / 'state.pt')
    for part in ('model', 'average'):
        values = [torch.cat([v.float().flatten() for v in rank[part].values()]) for rank in ranks]
        assert torch.equal(*values)
        # They also learn from other views than a single process does.
        other = torch.cat([v.float().flatten() for v in single[part].values()])
        assert not torch.equal(values[0], other)
    assert [path.name for path in shown.glob('saved*')] == ['saved0']
    assert torch.load(out / 'state.pt')['step'] == 3
    assert [row['step'] for row in read_rows(out / 'log.jsonl')] == [1, 2, 3]


STOP_AND_GO_ON = """
import sys, torch
from pathlib import Path
from torch import distributed
from runs import Stopped, stop_at, trainer
from hcat_ros.training.config import load_config

def shown(made, path):
    made.run()
    states = made.model, made.ema_model
    torch.save([part.state_dict() for part in states], f'{path}{made.rank}.pt')

distributed.init_process_group('gloo')
for path in map(Path, sys.argv[1:]):
    config = load_config(path)
    path.with_suffix('').mkdir(exist_ok=True)
    folders = [path.with_suffix('') / name for name in ('whole', 'parts')]
    shown(trainer(config, folders[0]), folders[0])
    try:
        trainer(config, folders[1]).run(stop_at(2), save_every=1)
    except Stopped:
        distributed.barrier()  # the first has written what all are to read
    resumed = trainer(config, folders[1])
    torch.manual_seed(12345)
    assert resumed.resume() and resumed.step == 1
    shown(resumed, folders[1])
distributed.destroy_process_group()
"""


def test_two_processes_resume_where_they_stopped(
    config_file: Path, tmp_path: Path, checkout: Path
) -> None:
    """With and without teachers, resumed runs end with the weights of a run that did not stop."""
    pytest.importorskip('onnx', reason='needs ONNX')
    pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')
    from nanotracks import nanotrack

    config_file.write_text(config_file.read_text().replace('steps: 6', 'steps: 3'))
    teacher = nanotrack(tmp_path / 'teacher', np.eye(3))
    content = {**yaml.safe_load(config_file.read_text()), 'teachers': [vars(teacher)]}
    content['network'] |= {'template_size': 128, 'search_size': 256}
    taught = tmp_path / 'taught.yaml'
    taught.write_text(yaml.safe_dump(content))
    (tmp_path / 'run.py').write_text(STOP_AND_GO_ON)
    torchrun(str(tmp_path / 'run.py'), checkout, str(config_file), str(taught))

    for path in (config_file, taught):
        folder = path.with_suffix('')
        names = [f'{part}{rank}.pt' for part in ('whole', 'parts') for rank in range(2)]
        expected, *others = (torch.load(folder / name) for name in names)
        for other in others:
            torch.testing.assert_close(other, expected, rtol=0, atol=0)
        assert_same(folder / 'whole', folder / 'parts')
