"""Injection campaigns: bookkeeping against numpy, and what a user may do wrong."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.analysis.injections import describe_campaign, run_campaign
from resonaut.analysis.injections.campaign import trainings_of
from resonaut.analysis.injections.curves import curves_of
from resonaut.analysis.injections.grid import check_weights
from resonaut.errors import ConfigError, InputError
from resonaut.files import read_json
from resonaut.models import Sample
from resonaut.models.base import BaseScorer
from resonaut.models.registry import register
from resonaut.models.storage import Tensors
from resonaut.processors import write_table
from resonaut.stats import Signal, log_edges, upper_limit

DATA, SIGNAL, FOUND = 20_000, 4_000, 0.75
EDGES = log_edges(2800, 5200, 30)
INSIDE = float(np.diff(norm.cdf((EDGES[[9, 13]] - 3500) / 80))[0])
"""Part of the signal in the signal region, 3371-3661 GeV: 92 %."""
BUMP: dict[str, Any] = {"name": "bump", "files": ["signal.parquet"], "mass": 3500}
Array = np.ndarray[Any, Any]


@register("test-column")
class Column(BaseScorer):
    """The first feature is the score: nothing is learnt, so that all numbers of a campaign are known."""

    uses_window: ClassVar[bool] = False

    def __init__(self, features: tuple[str, ...] = ("x", "y"), *, seed: int = 0) -> None:
        self.features = tuple(features)
        self.seed = seed

    fitted = True

    def fit(self, sample: Sample, window: Any) -> Self:
        del sample, window
        return self

    def score(self, sample: Sample) -> Array:
        return np.asarray(sample.features[:, 0], dtype=np.float64)

    def learnt_tensors(self) -> Tensors:
        return {"nothing": np.zeros(1)}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Nothing."""


def events(rng: np.random.Generator, mass: Array, x: Array) -> dict[str, Array]:
    return {"mjj": mass, "x": x, "y": rng.random(len(mass)), "weight": np.ones(len(mass))}


def config_of(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "toy", "seed": 3, "workers": 1, "input": {"files": ["data.parquet"]}, "luminosity": 50.0,
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 2, "only": [3500]},
        "methods": [{"name": "test-column"}],
        "selection": {"cuts": [0.1], "folds": 2}, "limits": {"cuts": [1.0, 0.1]},
        "signals": [BUMP],
        "injections": {"events": [0, 100, 800], "seeds": 2},
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("injections")
    rng = np.random.default_rng(4)
    u, ends = rng.random(DATA), (2800.0**-5, 5200.0**-5)
    data = events(rng, (ends[0] + u * (ends[1] - ends[0])) ** -0.2, rng.random(DATA))
    write_table(made / "data.parquet", data)
    x = np.where(np.arange(SIGNAL) < FOUND * SIGNAL, 0.99, 0.5)  # the cut at 10 % selects three quarters
    write_table(made / "signal.parquet", events(rng, rng.normal(3500, 80, SIGNAL), x))
    narrow = events(rng, rng.normal(3500, 80, SIGNAL), x)
    write_table(made / "narrow.parquet", {name: narrow[name] for name in ("mjj", "x", "weight")})
    run_campaign(parse_config(config_of()), made, made / "run")
    return made


@pytest.fixture(scope="module")
def selections(folder: Path) -> dict[float, dict[str, Any]]:
    (signal,) = read_json(folder / "run" / "campaign.json")["signals"]
    assert (signal["name"], signal["mass"]) == ("bump", 3500)
    return {each["cut"]: each for each in signal["selections"]}


def test_efficiencies_are_those_of_the_cut(selections: dict[float, dict[str, Any]]) -> None:
    assert selections[1.0]["efficiency"] == pytest.approx([1.0] * 3, abs=1e-3)
    # events that were not injected, 3,200 of them at the largest strength: binomial error below 0.8 %
    assert selections[0.1]["efficiency"] == pytest.approx([FOUND] * 3, abs=0.02)


def test_injected_events_are_found_where_the_cut_keeps_them(selections: dict[float, dict[str, Any]]) -> None:
    assert selections[1.0]["signal"][0] == 0
    assert selections[0.1]["signal"][2] == pytest.approx(800 * FOUND * INSIDE, rel=0.03)
    assert selections[0.1]["significance"][2] > 8 > abs(selections[0.1]["significance"][0])


@pytest.mark.parametrize("cut", [1.0, 0.1])
def test_a_selection_that_learns_nothing_has_the_limit_of_a_fixed_cut(
    folder: Path, selections: dict[float, dict[str, Any]], cut: float
) -> None:
    """The cut, the spectrum and the template by numpy, in produced events."""
    from resonaut.processors import read_table

    data, signal = (read_table(folder / f"{name}.parquet") for name in ("data", "signal"))
    x = np.asarray(data["x"])
    kept = x >= np.quantile(x, 1 - cut)
    chosen = np.asarray(signal["x"]) >= (0.9 if cut < 1 else 0.0)
    counts = np.histogram(np.asarray(data["mjj"])[kept], EDGES)[0]
    template = np.histogram(np.asarray(signal["mjj"])[chosen], EDGES)[0] / SIGNAL
    truth = upper_limit((counts, EDGES), Signal(template), mass=3500.0)
    found = selections[cut]["limit"]
    # the threshold moves with the injected events, by 4 % of the events at most, and half of the signal makes the template
    assert found["observed"] == pytest.approx(truth.observed / template.sum(), rel=0.10)
    assert found["expected"][2] == pytest.approx(truth.expected[2] / template.sum(), rel=0.07)
    assert found["status"][0] == "ok"


def one_point(folder: Path, run: Path, events: float, **signal: Any) -> dict[float, dict[str, Any]]:
    """Selections of a campaign with one unit."""
    changes = {"injections": {"events": [events]}, "signals": [{**BUMP, **signal}]}
    content = read_json(run_campaign(parse_config(config_of(**changes)), folder, run))
    return {each["cut"]: each for each in content["signals"][0]["selections"]}


def test_weighted_signals_are_injected_and_measured_by_their_weights(folder: Path, tmp_path: Path) -> None:
    """Half of the events have the weight 4 and pass the cut: 80 % of the signal, in the data and in the efficiency."""
    rng = np.random.default_rng(5)
    heavy = np.arange(SIGNAL) % 2 == 0
    signal = events(rng, rng.normal(3500, 80, SIGNAL), np.where(heavy, 0.99, 0.5))
    write_table(folder / "weighted.parquet", {**signal, "weight": np.where(heavy, 4.0, 1.0)})
    # a quarter of half of the light events and half of the heavy ones: 250 + 1,000 unweighted events
    found = one_point(folder, tmp_path / "run", 1200, files=["weighted.parquet"])
    assert found[0.1]["efficiency"][0] == pytest.approx(0.8, abs=0.02)
    assert found[0.1]["signal"][0] == pytest.approx(1200 * 0.8 * INSIDE, rel=0.04)
    with pytest.raises(InputError, match="1250 unweighted events: ask for at most 1250"):
        one_point(folder, tmp_path / "run", 1300, files=["weighted.parquet"])


def test_negative_weights_are_told(folder: Path, tmp_path: Path) -> None:
    """A quarter of the events has the weight -1: they take away a third of what the others add."""
    rng = np.random.default_rng(7)
    signal = events(rng, rng.normal(3500, 80, SIGNAL), rng.random(SIGNAL))
    write_table(tmp_path / "signal.parquet", {**signal, "weight": np.where(np.arange(SIGNAL) % 4 == 0, -1.0, 1.0)})
    sample: Any = SimpleNamespace(
        config=SimpleNamespace(name="bump"), table=tmp_path / "signal.parquet", generated=SIGNAL / 2
    )
    (warning,) = check_weights(parse_config(config_of()), [sample])
    assert "33.3% of its weight is negative" in warning
    told = read_json(folder / "run" / "campaign.json")["warnings"]
    assert any("relative to the events of its table" in each for each in told)


def test_what_the_limit_depends_on_makes_units_anew(folder: Path, tmp_path: Path) -> None:
    sure = one_point(folder, tmp_path / "run", 100)[0.1]["observed"][0]
    unsure = one_point(folder, tmp_path / "run", 100, uncertainties={"model": 0.5})[0.1]["observed"][0]
    assert unsure > 1.05 * sure


def test_a_template_of_a_few_events_gives_no_limit(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    signal = events(rng, rng.normal(3500, 80, SIGNAL), np.where(np.arange(SIGNAL) < 5, 0.99, 0.5))
    write_table(folder / "hardly.parquet", signal)
    found = one_point(folder, tmp_path / "run", 0, files=["hardly.parquet"])
    assert found[0.1]["observed"] == [None]
    assert "5.0 simulated events are left" in found[0.1]["status"][0]
    assert found[1.0]["limit"]["status"][0] == "ok"


def test_finished_units_are_kept(folder: Path) -> None:
    cards = sorted((folder / "run" / "injections").rglob("unit.json"))
    assert len(cards) == 6
    before = {card: card.stat().st_mtime_ns for card in cards}
    (cards[0].parent / "result.json").unlink()
    stale = folder / "run" / "campaign" / "observed_renamed.png"
    stale.touch()
    run_campaign(parse_config(config_of()), folder, folder / "run")
    changed = [card for card in cards if card.stat().st_mtime_ns != before[card]]
    assert changed == [cards[0]]
    left = {path.name for card in cards for path in card.parent.iterdir()}
    assert left == {"unit.json", "result.json"}  # no events, no scorers
    assert not stale.exists()


def unit_of(method: str, events: float | None, repeat: int, **limits: float | None) -> tuple[Any, dict[str, Any]]:
    """A unit's result: {cut: observed limit}, where the five expected ones are 0.5, 0.7, 1, 1.4 and 2 times that."""
    job = SimpleNamespace(
        sample=SimpleNamespace(config=SimpleNamespace(name="bump", mass=3500.0)),
        window=SimpleNamespace(low=3371.0, high=3661.0), method=SimpleNamespace(title=method), events=events, repeat=repeat,
    )  # fmt: skip
    rows = []
    for name, value in {"inclusive": 400.0, **limits}.items():
        cut = 1.0 if name == "inclusive" else 0.01
        limit = {"status": "failed: toys", "observed": None, "expected": None}
        if value is not None:
            limit = {"status": "ok", "observed": value, "expected": [f * value for f in (0.5, 0.7, 1.0, 1.4, 2.0)]}
        row = {"method": name if cut == 1.0 else method, "cut": cut, "signal": 0, "efficiency": 0.1 * (1 + repeat)}
        rows.append({**row, "excess": None if events is None else {"local_significance": 1.0 + repeat}, "limit": limit})
    return job, {"rows": rows, "skipped": None}


def test_medians_and_spread_over_the_runs() -> None:
    """limit(s) = x exp((x - s) / 100) is x at x: 250, 200 and 150 for three runs."""

    def limit(x: float, s: float) -> float:
        return x * float(np.exp((x - s) / 100))

    results = [unit_of("a", s, k, a=limit(250.0 - 50 * k, s)) for s in (0.0, 100.0, 300.0) for k in (2, 0, 1)]
    signal, *others = curves_of(results)
    inclusive, learnt = signal["selections"]
    assert not others
    assert (inclusive["kind"], learnt["kind"], learnt["runs"]) == ("inclusive", "learnt", [3] * 3)
    assert inclusive["limit"]["observed"] == 400
    assert learnt["limit"]["observed"] == pytest.approx(200)
    assert learnt["limit"]["observed_runs"] == pytest.approx([250, 200, 150])
    assert learnt["limit"]["expected_runs"] == pytest.approx([250, 200, 150])
    assert learnt["observed"] == pytest.approx([limit(200, s) for s in (0, 100, 300)])
    assert learnt["expected"][1][4] == pytest.approx(2 * limit(200, 100))
    assert learnt["spread"]["observed"][1] == pytest.approx([limit(150, 100), limit(250, 100)])
    assert learnt["efficiency"] == pytest.approx([0.2] * 3)
    assert learnt["spread"]["significance"] == [[1.0, 3.0]] * 3


def test_a_run_that_selects_nothing_excludes_nothing() -> None:
    """Two of three runs without a cut at 200, and one limit that failed at 300: the median is infinite, then finite."""
    results = [unit_of("a", s, k, a=50.0) for s in (0.0, 100.0) for k in range(3)]
    results += [unit_of("a", 200.0, 0, a=50.0), unit_of("a", 200.0, 1), unit_of("a", 200.0, 2)]
    results += [unit_of("a", 300.0, 0, a=50.0), unit_of("a", 300.0, 1, a=50.0), unit_of("a", 300.0, 2, a=None)]
    learnt = curves_of(results)[0]["selections"][1]
    assert learnt["observed"] == [50, 50, np.inf, 50]
    assert learnt["limit"]["observed"] == 300  # 50 if the runs that selected nothing were left out
    assert len(learnt["status"]) == 3
    assert learnt["runs"] == [3, 3, 3, 3]


def test_the_reach_is_where_the_median_search_passes_a_significance_for_good() -> None:
    """Significance s / 50, and 0 for two of three runs at 200: 3 at 150 without these, but for good only on the way from 200 to 300."""
    results = [unit_of("a", s, k, a=50.0) for s in (0.0, 100.0, 200.0, 300.0) for k in range(3)]
    for job, found in results:
        for row in found["rows"]:
            row["excess"]["local_significance"] = job.events / 50
    inclusive, learnt = curves_of(results)[0]["selections"]
    assert learnt["reach"] == inclusive["reach"] == {"3": pytest.approx(150), "5": pytest.approx(250)}
    for job, found in results:
        if job.events == 200 and job.repeat:
            found["rows"][1]["excess"] = None
    learnt = curves_of(results)[0]["selections"][1]
    assert learnt["reach"] == {"3": pytest.approx(200 + 100 * 3 / 6), "5": pytest.approx(200 + 100 * 5 / 6)}
    assert curves_of(results[:9])[0]["selections"][1]["reach"] == {"3": None, "5": None}
    assert curves_of([unit_of("truth", None, 0, a=20.0)])[0]["selections"][1]["reach"] == {"3": None, "5": None}


def test_references_alone_have_the_inclusive_limit_too() -> None:
    inclusive, reference = curves_of([unit_of("truth", None, k, a=20.0 + k) for k in range(3)])[0]["selections"]
    assert (inclusive["limit"]["observed"], reference["limit"]["observed"]) == (400, 21)
    assert (inclusive["kind"], reference["kind"], reference["events"]) == ("inclusive", "reference", [])


def test_figures_are_there(folder: Path) -> None:
    names = {path.stem for path in (folder / "run" / "campaign").glob("*.png")}
    assert names == {"limits", "efficiency_bump", "significance_bump", "observed_bump"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"injections": {"events": [0, 2500]}}, InputError, "other half tells the efficiency.*ask for at most 2000"),
        ({"injections": {"events": [0, 10], "signals": ["bum"]}}, ConfigError, "bump"),
        ({"signals": []}, ConfigError, "signals to inject"),
        ({"signals": [{**BUMP, "generated": 3_999}]}, ConfigError, "before any cut"),
        ({"blind": True}, ConfigError, "blind"),
        ({"signals": [{**BUMP, "files": ["narrow.parquet"]}]}, InputError, "no y, which the data have and test-column"),
        ({"injections": None}, ConfigError, "injections: {events"),
        ({"signals": [{**BUMP, "mass": 5100}]}, ConfigError, "no signal region"),
    ],
)
def test_what_cannot_be_done_is_told(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_campaign(parse_config(config_of(**changes)), folder, tmp_path / "run")


def test_a_dask_cluster_gives_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        executor = {"name": "dask", "scheduler": cluster.scheduler_address}
        config = parse_config(config_of(injections={"events": [100], "seeds": 2, "executor": executor}))
        assert describe_campaign(config).endswith("on dask")
        run_campaign(config, folder, tmp_path / "run")
    found = sorted((tmp_path / "run" / "injections").rglob("result.json"))
    assert len(found) == 2
    assert read_json(found[0]) != read_json(found[1])  # other signal events, other folds
    for path in found:
        assert read_json(path) == read_json(folder / path.relative_to(tmp_path))


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ({"name": "futures"}, "dask, slurm, htcondor, got 'futures'"),
        ({"name": "dask", "chunksize": 100}, "chunksize: runs of a campaign"),
        ({"name": "slurm", "queu": "short"}, "queue"),
    ],
)
def test_executors_that_runs_cannot_go_to(executor: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(config_of(injections={"events": [0], "executor": executor}))


def test_strengths_must_rise() -> None:
    with pytest.raises(ConfigError, match="must rise"):
        parse_config(config_of(injections={"events": [100, 100]}))


def test_dry_run_counts_the_trainings(folder: Path) -> None:
    told = describe_campaign(parse_config(config_of(methods=[{"name": "cwola-nn"}, {"name": "supervised"}])))
    # 2 folds x 4 rounds x 10 initialisations, 3 strengths, 2 seeds; the reference once for each seed
    assert "cwola-nn: 6 units, 480 trainings" in told
    assert f"supervised: 2 units, {2 * 2 * trainings_of('supervised', {})} trainings (reference" in told
    path = folder / "search.yaml"
    path.write_text(json.dumps(config_of()))  # which is YAML too
    result = CliRunner().invoke(main, ["inject", str(path), "--dry-run", "--executor", "slurm", "-E", "memory=4GB"])
    assert result.exit_code == 0
    assert "6 units, 12 trainings" in result.output
    assert result.output.endswith("on slurm\n")
    assert CliRunner().invoke(main, ["inject", str(path), "--dry-run", "-E", "memory=4GB"]).exit_code == 2
