"""What the commands on a histogram share: the spectrum with its options, and where results go."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from resonaut.errors import InputError, ResonautError

__all__ = (
    "Output",
    "Source",
    "check_writable",
    "counting",
    "mass_label_option",
    "option_pairs",
    "output_options",
    "quality",
    "seed_option",
    "spectrum_options",
)

Command = TypeVar("Command", bound=Callable[..., Any])

MASS_LABEL = "Mass [GeV]"
FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Source:
    """The spectrum that a command works on."""

    name: str
    counts: Any
    edges: Any
    function: str
    sqrts: float
    per_width: bool = False
    scale: float = 1.0

    @property
    def title(self) -> str:
        """Name for figures."""
        return Path(self.name).name

    @property
    def spectrum(self) -> tuple[Any, Any]:
        return self.counts, self.edges

    @property
    def model(self) -> dict[str, Any]:
        """Options of the background fit."""
        return {"function": self.function, "sqrts": self.sqrts}


@dataclass(frozen=True)
class Output:
    """Where the numbers, the figure and the HEPData tables of a command go."""

    json: Path | None
    plot: Path | None
    hepdata: Path | None
    title: str | None = None
    mass_label: str = MASS_LABEL

    def save(self, result: Any, name: str, **more: Any) -> None:
        """Write what was asked for; `more` is kept beside the result in the JSON, and beside the figure, `name` above it."""
        from resonaut.stats import write_hepdata, write_result
        from resonaut.stats.exchange.results import result_to_dict

        if self.plot:
            from resonaut.analysis.plots import save_figure
            from resonaut.analysis.plots.results import draw_result

            figure, _ = draw_result(result, title=name if self.title is None else self.title, x_label=self.mass_label)
            save_figure((figure, result_to_dict(result, **more)), _stem(self.plot))
        if self.json:
            write_result(self.json, result, **more)
        if self.hepdata:
            write_hepdata(self.hepdata, result)


def spectrum_options(command: Command) -> Command:
    """SPECTRUM and how it is read and fitted; the command gets them as one `Source`."""

    @functools.wraps(command)
    def reading(
        spectrum: str,
        low: float | None,
        high: float | None,
        per_width: bool,
        scale: float,
        function: str,
        sqrts: float,
        **options: Any,
    ) -> Any:
        from resonaut.analysis.histogram import read_range
        from resonaut.stats import background_function

        if function != "auto":
            background_function(function)  # a name that is unknown is told before anything is read or started
        with _in_words_of_options():
            counts, edges = read_range(spectrum, low, high, per_width=per_width, scale=scale)
            return command(Source(spectrum, counts, edges, function, sqrts, per_width, scale), **options)

    for option in reversed(
        (
            click.argument("spectrum"),
            click.option(
                "--function", default="dijet4", show_default=True, help="Background function, or 'auto' for an F-test."
            ),
            click.option("--sqrts", type=float, default=13000.0, show_default=True, help="Collision energy, GeV."),
            click.option("--low", type=float, help="Lower end of the range, GeV."),
            click.option("--high", type=float, help="Upper end of the range, GeV."),
            click.option("--per-width", is_flag=True, help="The values are per GeV: multiply by the width of the bin."),
            click.option(
                "--scale", type=float, default=1.0, show_default=True, help="Factor to events, such as a luminosity."
            ),
        )
    ):
        reading = option(reading)
    return reading  # type: ignore[return-value]


def output_options(command: Command) -> Command:
    """--json, --plot with --title and --mass-label, and --hepdata; the command gets them as one `Output`."""

    @functools.wraps(command)
    def writing(
        *arguments: Any,
        json: Path | None,
        plot: Path | None,
        hepdata: Path | None,
        title: str | None,
        mass_label: str,
        **options: Any,
    ) -> Any:
        if plot and plot.suffix.lower() in (".svg", ".eps", ".ps", ".jpg", ".jpeg", ".gif"):
            msg = f"--plot {plot}: figures are written as PNG and PDF, expected a name without {plot.suffix}"
            raise InputError(msg)
        figure = plot and _stem(plot).with_name(f"{_stem(plot).name}.png")
        for name, path in (("--json", json), ("--plot", figure), ("--hepdata", hepdata)):
            check_writable(name, path, folder=name == "--hepdata")
        return command(*arguments, output=Output(json, plot, hepdata, title, mass_label), **options)

    for option in reversed(
        (
            click.option("--json", type=FILE, help="Write the numbers here; `resonaut plot` draws them again."),
            click.option(
                "--plot", type=click.Path(path_type=Path), help="Write the figure as STEM.png, .pdf and .json."
            ),
            click.option("--title", help="Name above the figure.  [default: name of the file]"),
            mass_label_option,
            click.option(
                "--hepdata",
                type=click.Path(file_okay=False, path_type=Path),
                help="Write HEPData tables into this folder.",
            ),
        )
    ):
        writing = option(writing)
    return writing  # type: ignore[return-value]


def _stem(plot: Path) -> Path:
    return plot.with_suffix("") if plot.suffix in (".png", ".pdf", ".json") else plot


def check_writable(option: str, path: Path | None, *, folder: bool = False) -> None:
    """Tell before the work that its results could not be written.

    Raises
    ------
    InputError
        If the path is of the other kind, or neither it nor the folders above it can be written.
    """
    if path is None:
        return
    if path.exists() and path.is_dir() != folder:
        kinds = ("a file", "a folder") if folder else ("a folder", "a file")
        msg = f"{option} {path} is {kinds[0]}, expected the name of {kinds[1]}"
        raise InputError(msg)
    place = path if folder else path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        msg = f"{option} {path} cannot be written: {place}: {error.strerror or error}"
        raise InputError(msg) from error


_WORDS = (
    ("check per_width and scale", "check --per-width and --scale"),
    ("give per_width=True if it is per GeV and scale= (luminosity)", "give --per-width if it is per GeV and --scale"),
    ("; fractional=True takes it as an expectation", ""),
    (" for one full window", " for one full window: fewer --sr-bins or --sb-bins, or a wider --low and --high"),
)


@contextmanager
def _in_words_of_options() -> Iterator[None]:
    """Messages that speak of the arguments of functions speak of the command's options."""
    try:
        yield
    except ResonautError as error:
        text = str(error)
        for python, option in _WORDS:
            text = text.replace(python, option)
        if "expected 0 < edges <= sqrts" in text:
            text += ": use --low and --high, or --sqrts"
        error.args = (text,)
        raise


def mass_label_option(command: Command) -> Command:
    """--mass-label of the figure."""
    return click.option("--mass-label", default=MASS_LABEL, show_default=True, help="Label of the figure's mass axis.")(
        command
    )


def seed_option(command: Command) -> Command:
    """--seed of the toys."""
    return click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the toys.")(
        command
    )


def quality(fit: Any) -> str:
    """Chi2, degrees of freedom and p-value of a background fit, or that there are none."""
    if fit.ndf < 1:
        return "chi2: no degrees of freedom (bins with 5 expected events are fewer than parameters, or as many)"
    return f"chi2/ndf = {fit.chi2:.1f}/{fit.ndf}, p = {fit.p_value:.3g}"


def counting(title: str, total: int) -> AbstractContextManager[Callable[[int, int], None]]:
    """Progress bar for functions that report (done, total)."""
    from resonaut.analysis.progress import counting as bar

    return bar(title, total)


def option_pairs(options: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE as YAML reads the values: numbers are numbers, [a, b] is a list."""
    import yaml

    found = {}
    for text in options:
        key, sign, value = text.partition("=")
        if not sign:
            msg = f"executor option is {text!r}, expected KEY=VALUE"
            raise click.BadParameter(msg)
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            msg = f"the value of executor option {text!r} is not YAML: put it in quotes"
            raise click.BadParameter(msg) from error
    return found
