# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stations import Heard


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    from stations import Heard  # needs pymavlink

    made: list[Heard] = []

    def make(*arguments: Any) -> Heard:
        made.append(Heard(*arguments))
        return made[-1]

    yield make
    for heard in made:
        heard.link.close()
