"""Objects whose constructor arguments are their options: listed, copied and printed without writing them twice."""

from __future__ import annotations

import inspect
from typing import Any, Self

__all__ = ("Configured",)


class Configured:
    """Base of classes that keep each constructor argument as an attribute of the same name."""

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments, JSON-able."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def clone(self, **changes: Any) -> Self:
        """Unfitted twin, with some options changed."""
        return type(self)(**{**self.options, **changes})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"
