"""Clusters that executors run on: dask (local, given, or of batch jobs), parsl and TaskVine."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from resonaut.errors import ConfigError, InputError, MissingDependencyError

__all__ = ("OPTIONS", "batch_cluster", "dask_client", "parsl_executor", "taskvine_executor")

BATCH = (
    "cores", "memory", "processes", "queue", "account", "walltime", "disk", "prologue", "directives", "log_directory",
    "local_directory", "interface", "python",
)  # fmt: skip
OPTIONS: dict[str, tuple[str, ...]] = {
    "iterative": (),
    "futures": (),
    "dask": (),
    "slurm": BATCH,
    "htcondor": BATCH,
    "parsl": ("config", "executor"),
    "taskvine": (
        "port", "manager", "password_file", "ssl", "cores", "memory", "disk", "gpus", "environment_file", "x509_proxy",
        "extra_input_files", "filepath",
    ),
}  # fmt: skip
"""Options that each executor takes."""

# our name of an option: dask-jobqueue's, where it is another
SLURM = {"prologue": "job_script_prologue", "directives": "job_extra_directives"}
HTCONDOR = {"prologue": "job_script_prologue", "directives": "job_extra_directives"}
OURS = {
    "distributed.scheduler.allowed-failures": 1,  # then dask gives the chunk back to us, and we try it alone
    "distributed.worker.profile.enabled": False,  # a hundred looks a second at what a worker does, for a dashboard
    "distributed.admin.tick.interval": "500ms",  # fifty looks a second at the event loop's delay
    # without dask's MALLOC_TRIM_THRESHOLD_, which makes every array come fresh from the kernel and go back to it
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
}
"""Settings of dask for clusters that we start."""


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        msg = "the dask executor needs dask.distributed: pip install 'resonaut[dask]'"
        raise MissingDependencyError(msg) from error


def batch_cluster(name: str, workers: int, options: Mapping[str, Any]) -> Any:
    """A dask cluster whose workers are jobs of a batch system; nothing is submitted before it is scaled.

    Parameters
    ----------
    name : "slurm" or "htcondor".
    workers : jobs that will be asked for.
    options : `cores`, `memory` ("4GB") and `processes` of a job, `queue`, `account`, `walltime`, `disk`, `prologue` (lines
        of shell before the worker starts), `directives` (further lines of the job's head; for HTCondor a mapping),
        `log_directory`, `local_directory`, `interface`, `python`. See dask-jobqueue for their meaning.

    Returns
    -------
    dask_jobqueue.JobQueueCluster
        `job_script()` shows what would be submitted.

    Raises
    ------
    MissingDependencyError
        If dask-jobqueue is not installed.
    ConfigError
        If an option is missing or does not fit.
    """
    try:
        import dask_jobqueue
    except ImportError as error:
        msg = f"the {name} executor needs dask-jobqueue: pip install 'resonaut[jobqueue]'"
        raise MissingDependencyError(msg) from error
    kind, names = {
        "slurm": (dask_jobqueue.SLURMCluster, SLURM),
        "htcondor": (dask_jobqueue.HTCondorCluster, HTCONDOR),
    }[name]
    settings = {names.get(key, key): value for key, value in options.items()}
    settings.setdefault("cores", 1)
    if "memory" not in settings:
        msg = f"the {name} executor needs the memory of a job: executor: {{name: {name}, memory: 4GB, ...}}"
        raise ConfigError(msg)
    settings.setdefault("processes", settings["cores"])  # one chunk per process: the kernels use one core each
    if name == "htcondor":
        settings.setdefault("disk", "1GB")
        if "queue" in settings or "walltime" in settings or "account" in settings:
            msg = 'htcondor has no queue, walltime or account: use directives, such as {"+JobFlavour": \'"workday"\'}'
            raise ConfigError(msg)
    elif "disk" in settings:
        msg = "slurm has no option disk: use directives, such as [--tmp=10G]"
        raise ConfigError(msg)
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        msg = f"the {name} cluster cannot be set up with {dict(options)} for {workers} jobs: {error}"
        raise ConfigError(msg) from error


@contextmanager
def dask_client(name: str, workers: int, scheduler: str | None, options: Mapping[str, Any]) -> Iterator[Any]:
    """A client of a running scheduler, of a cluster of batch jobs, or of a local cluster; closed with the block.

    Raises
    ------
    InputError
        If no scheduler answers at the address.
    MissingDependencyError
        If dask.distributed is not installed.
    """
    distributed = _distributed()
    import dask

    with ExitStack() as stack:
        if scheduler is not None:
            try:
                client = distributed.Client(scheduler)
            except (OSError, ValueError) as error:
                msg = f"no dask scheduler answers at {scheduler!r} ({error}): start one (`dask scheduler`) or mend the address"
                raise InputError(msg) from error
            yield stack.enter_context(client)
            return
        stack.enter_context(dask.config.set(OURS))
        if name == "dask":
            cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        else:
            cluster = batch_cluster(name, workers, options)
            cluster.scale(jobs=workers)
        stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(cluster))


def _named_object(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"config is {name!r}, expected module:name of a parsl Config that can be imported ({error})"
        raise ConfigError(msg) from error
    return found() if callable(found) else found


def parsl_config(workers: int, options: Mapping[str, Any]) -> Any:
    """A parsl Config: the one that `config` names ("module:name"), or workers on this machine (`executor`: htex or threads).

    Raises
    ------
    MissingDependencyError
        If parsl is not installed.
    """
    try:
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
        from parsl.providers import LocalProvider
    except ImportError as error:
        msg = "the parsl executor needs parsl: pip install 'resonaut[parsl]'"
        raise MissingDependencyError(msg) from error
    if "config" in options:
        return _named_object(str(options["config"]))
    kind = options.get("executor", "htex")
    tools = Path(sys.executable).parent
    if kind == "threads":
        executor = ThreadPoolExecutor(label="threads", max_threads=workers)
    elif kind == "htex":
        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            max_workers_per_node=workers,
            cores_per_worker=1e-6,
            provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init=f"export PATH={tools}:$PATH"),
        )
    else:
        msg = f"executor of parsl is {kind!r}, expected 'htex', 'threads', or config: module:name for your own"
        raise ConfigError(msg)
    folder = tempfile.mkdtemp(prefix="resonaut-parsl-")
    return Config(executors=[executor], strategy="none", retries=2, run_dir=folder, usage_tracking=0)


@contextmanager
def parsl_executor(workers: int, options: Mapping[str, Any], labels: Mapping[str, Any]) -> Iterator[Any]:
    """coffea's parsl executor, on a kernel of its own or on the one that is loaded; ours is ended with the block."""
    from coffea.processor import ParslExecutor

    config = None if _parsl_is_loaded() and not options else parsl_config(workers, options)
    if config is None:
        yield ParslExecutor(**labels)
        return
    import parsl

    # coffea loads a config only where parsl.dfk() raises a RuntimeError, which newer versions of parsl do not
    with _own_tools_on_path():
        kernel = parsl.load(config)
    try:
        yield ParslExecutor(**labels)
    finally:
        kernel.cleanup()
        parsl.clear()
        if "config" not in options:
            shutil.rmtree(config.run_dir, ignore_errors=True)


@contextmanager
def _own_tools_on_path() -> Iterator[None]:
    """parsl starts its helpers by name: those of this interpreter, also where its environment is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _parsl_is_loaded() -> bool:
    try:
        import parsl

        parsl.dfk()
    except Exception:  # noqa: BLE001 (its kind depends on the version)
        return False
    return True


def taskvine_executor(options: Mapping[str, Any], labels: Mapping[str, Any]) -> Any:
    """coffea's TaskVine executor.

    Raises
    ------
    MissingDependencyError
        If TaskVine is not installed; it comes with conda alone.
    """
    try:
        importlib.import_module("ndcctools.taskvine")
    except ImportError as error:
        msg = (
            "the taskvine executor needs TaskVine, which pip does not have: conda install -c conda-forge ndcctools "
            "(https://cctools.readthedocs.io), in the environment of resonaut and of the workers"
        )
        raise MissingDependencyError(msg) from error
    from coffea.processor import TaskVineExecutor

    names = {"manager": "manager_name"}
    settings = {names.get(key, key): value for key, value in options.items()}
    for key in ("memory", "disk"):
        if isinstance(settings.get(key), str):
            from resonaut.processors.running.footprint import parse_bytes

            settings[key] = parse_bytes(settings[key]) // 1_000_000  # TaskVine counts megabytes
    return TaskVineExecutor(**{**labels, **settings, "compression": 1})
