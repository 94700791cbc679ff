"""`resonaut generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resonaut.errors import ConfigError, unknown_name

__all__ = ("generate",)

_OPTIONS_OF = (
    ("--pthat-min", float, "pTHat of the hard process at least this [GeV].  [default: 0.75 x --jet-pt]"),
    ("--pthat-max", float, "pTHat at most this [GeV]."),
    ("--bias", float, "Oversample by (pTHat / pthat-min)^BIAS; the events get weights (qcd)."),
    ("--m-zprime", float, "Mass of Z' [GeV].  [default: 3500]"),
    ("--m-x", float, "Mass of X [GeV].  [default: 500]"),
    ("--m-y", float, "Mass of Y [GeV].  [default: 100]"),
    ("--width-zprime", float, "Width of Z' [GeV].  [default: 1 % of its mass]"),
    ("--width-x", float, "Width of X [GeV].  [default: 0.1 % of its mass]"),
    ("--width-y", float, "Width of Y [GeV].  [default: 0.1 % of its mass]"),
    ("--prongs-x", int, "Quarks that X decays to, 2 or 3.  [default: 2]"),
    ("--prongs-y", int, "Quarks that Y decays to, 2 or 3.  [default: 2]"),
)
_PTHAT = 0.75  # of the cut on the leading jet: see docs/generate.md for what is lost


def _process_options(command: Any) -> Any:
    for name, kind, text in reversed(_OPTIONS_OF):
        command = click.option(name, type=kind, help=text)(command)
    return command


def _make_process(name: str, jet_pt: float, given: dict[str, Any]) -> Any:
    """The process with the options that were given.

    Raises
    ------
    ConfigError
        If there is no such process, or an option is not one of it.
    """
    from dataclasses import fields

    from resonaut.processors.generation.processes import PROCESSES

    if name not in PROCESSES:
        raise ConfigError(unknown_name("process", name, PROCESSES))
    known = [field.name for field in fields(PROCESSES[name])]
    chosen = {key: value for key, value in given.items() if value is not None}
    for key in chosen:
        if key not in known:
            options = ", ".join("--" + option.replace("_", "-") for option in known)
            msg = f"--{key.replace('_', '-')} is no option of the process {name!r}, expected {options}"
            raise ConfigError(msg)
    if "pthat_min" in known:
        chosen.setdefault("pthat_min", _PTHAT * jet_pt)
    return PROCESSES[name](**chosen)


def _make_detector(settings: tuple[str, ...]) -> Any:
    """The detector with parameters given as NAME=VALUE or NAME=CENTRAL,FORWARD."""
    from dataclasses import fields

    from resonaut.processors.generation.detector import Detector

    known = [field.name for field in fields(Detector)]
    chosen: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise ConfigError(unknown_name("parameter of the detector", name, known))
        try:
            numbers = tuple(float(x) for x in text.split(","))
        except ValueError as error:
            msg = f"--detector {setting}: expected NAME=NUMBER, or NAME=CENTRAL,FORWARD for the tracker"
            raise ConfigError(msg) from error
        pair = isinstance(getattr(Detector(), name), tuple)
        chosen[name] = numbers * (2 // len(numbers)) if pair and len(numbers) <= 2 else numbers
        if not pair:
            if len(numbers) != 1:
                msg = f"--detector {setting}: expected one number"
                raise ConfigError(msg)
            chosen[name] = numbers[0]
    return Detector(**chosen)


@click.command(short_help="Simulated events: Pythia 8 and a fast detector.")
@click.argument("process")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
@click.option("--events", type=click.IntRange(1), default=1000, show_default=True, help="Events after the selection.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["particles", "features", "root"]),
    default="particles",
    show_default=True,
    help="HDF5 frame of 700 particles, HDF5 frame of jet features, or ROOT tree of particles.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--label", type=int, help="Truth label of the events.  [default: 1 for zprime-xy, else 0]")
@_process_options
@click.option("--jet-pt", type=float, default=1200.0, show_default=True, help="Selection: a jet with more pT [GeV],")
@click.option("--jet-eta", type=float, default=2.5, show_default=True, help="within this |eta|,")
@click.option("--radius", type=float, default=1.0, show_default=True, help="of anti-kT jets with this R.")
@click.option("--sqrts", type=float, default=13000.0, show_default=True, help="Energy of the collision [GeV].")
@click.option("--shower", type=click.Choice(["simple", "vincia"]), default="simple", show_default=True)
@click.option("--tune", type=int, help="Pythia's Tune:pp, such as 21 (A14).  [default: Monash 2013]")
@click.option("--mpi/--no-mpi", default=False, show_default=True, help="Multiparton interactions.")
@click.option("--card", type=click.Path(exists=True, dir_okay=False), help="File of settings for Pythia.")
@click.option("--pythia", "lines", multiple=True, metavar="LINE", help="One setting for Pythia; may be repeated.")
@click.option("--detector", multiple=True, metavar="NAME=VALUE", help="Parameter of the detector; may be repeated.")
def generate(process: str, out: Path, events: int, layout: str, seed: int, workers: int, **options: Any) -> None:
    """Generate events of PROCESS: Pythia 8, a fast detector simulation, anti-kT jets, a selection.

    \b
    qcd         dijets: the background of a search for resonances
    zprime-xy   Z' -> X Y, each to two or three quarks: a signal with any masses
    ttbar, wz   pairs of top quarks; W and Z to quarks

    \b
    resonaut generate qcd       --out qcd.h5 --events 5000 --workers 4
    resonaut generate zprime-xy --out signal.h5 --events 200 --m-x 300 --m-y 300 --prongs-x 3 --prongs-y 3
    resonaut hunt qcd.h5 signal.h5 --out runs/mine

    \b
    A simulation that differs from the "data", for methods that use one:
    resonaut generate qcd --out simulation.h5 --events 5000 --seed 2 --shower vincia
    Any setting of Pythia and of the detector:
    resonaut generate qcd --out qcd.h5 --pythia "TimeShower:alphaSvalue = 0.13" --detector hcal_stochastic=1.5

    The files are those of the LHC Olympics: every command of resonaut reads them, and so does pandas. Truth (masses, pTHat,
    weights), settings, cross-section and books lie in the same file. Event i depends on the seed and the settings, not on
    --events or --workers. An interrupted command goes on where it was when it is given again. Needs Pythia 8: pip install
    'resonaut[generate]'. What the detector does, and how it compares: docs/generate.md.
    """
    from resonaut.analysis.commands.common import check_writable
    from resonaut.analysis.progress import counting
    from resonaut.processors.generation.blocks import JetTrigger
    from resonaut.processors.generation.pythia import Generator
    from resonaut.processors.generation.sample import generate as generate_events

    check_writable("--out", out)
    trigger = JetTrigger(options.pop("jet_pt"), options.pop("jet_eta"), options.pop("radius"))
    setup = {key: options.pop(key) for key in ("sqrts", "shower", "tune", "mpi", "card", "lines")}
    detector, label = _make_detector(options.pop("detector")), options.pop("label")
    made = _make_process(process, trigger.pt, options)
    with counting(f"generating {process}", events) as report:
        sample = generate_events(
            made,
            out,
            events,
            format=layout,
            seed=seed,
            workers=workers,
            generator=Generator(**setup),
            detector=detector,
            trigger=trigger,
            label=label,
            progress=report,
        )
    click.echo(f"{sample.ledger}")
    if sample.cross_section == sample.cross_section:
        luminosity = events / sample.cross_section / 1000
        click.echo(
            f"cross-section after the selection: {sample.cross_section:.4g} +- {sample.cross_section_error:.2g} pb "
            f"(the sample is {luminosity:.3g}/fb)"
        )
    click.echo(f"events: {sample.path}")
