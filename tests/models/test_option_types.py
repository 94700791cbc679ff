"""Options of scorers have the types that their annotations promise, or the error says which one does not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError
from resonaut.models import available, make_scorer


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vae", {"epochs": 2.5}, "option epochs is 2.5, expected a valid integer"),
        ("deep-sets", {"hidden": 16}, "option hidden is 16, expected an instance of Sequence"),
        ("vae", {"beta": "1"}, "option beta is '1', expected a valid number"),
        ("cwola-trees", {"members": True}, "option members is True, expected a valid integer"),
        ("deep-svdd", {"targets": [1, "a"]}, "option targets[1] is 'a', expected a valid number"),
    ],
)
def test_wrong_types_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"scorer {name!r}: {message}")):
        make_scorer(name, **options)


def test_what_yaml_and_numpy_give_passes() -> None:
    assert make_scorer("deep-sets", hidden=[16, 16], beta=1)
    assert make_scorer("cwola-trees", members=np.int64(2)).options["members"] == 2  # type: ignore[attr-defined]


def test_defaults_of_every_scorer_fit_their_annotations() -> None:
    import inspect

    from resonaut.models.option_types import check_option_types
    from resonaut.models.registry import scorer_class

    for name in available():
        parameters = inspect.signature(scorer_class(name)).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        check_option_types(name, scorer_class(name), defaults)
