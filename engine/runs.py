"""A run's folder and its fits: one, or one per seed and fold."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datasets.train_val import TrainVal
from engine.config import RunConfig
from engine.log import RunLog
from utils import device
from utils.cli import describe, quoted
from utils.distributed import from_first, meet, rank
from utils.files import held, remove_leftovers, write_json
from utils.run_folder import create_run_folder
from utils.stop import Terminated


class Job(NamedTuple):
    """One fit of a run: its folder, the configuration with its seed, its train set and validation set."""

    folder: Path
    config: RunConfig
    data: TrainVal


def new_folder(config: RunConfig) -> Path:
    """Make the run's folder; of several processes the first one does. ValueError where it has a run already."""
    folder = create_run_folder(config.output, config.name, config.automatic_name) if rank() == 0 else None
    return Path(from_first(str(folder)))


@contextmanager
def in_use(folder: Path, config: RunConfig) -> Iterator[None]:
    """Hold the folder for the duration, so that no second run trains in it, clear up and write args.json.

    Of several processes the first one does, and the others wait for it. Whoever stops the run is told how it goes on.
    """
    with held(folder) if rank() == 0 else nullcontext():
        if rank() == 0:
            for part in (folder, *filter(Path.is_dir, folder.rglob("*"))):
                remove_leftovers(part)
            write_json(folder / "args.json", config.as_json())
        meet()
        how = f"continue with: python train.py --resume {quoted(folder)}"
        try:
            yield
        except (KeyboardInterrupt, Terminated) as error:
            if rank() == 0:
                RunLog(folder).line(f"{'terminated' if isinstance(error, Terminated) else 'interrupted'}; {how}")
            raise
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, say
            raise ValueError(f"{describe(error)}; when that is mended, {how}") from error


def enough_memory(config: RunConfig, folder: Path | None = None) -> AbstractContextManager[None]:
    """For the duration, running out of memory is a ValueError with a way on; folder: of the run, once it has one."""
    recipe = config.recipe
    half = max(2, recipe.batch_size // 2)
    smaller = f"--batch-size {half} --lr {recipe.lr * half / recipe.batch_size:g}"
    instead = f"give {smaller}"
    if folder:
        instead = f"once more is free: python train.py --resume {quoted(folder)}; or a new run: {smaller}"
    return device.enough_memory(f"--batch-size {recipe.batch_size}", instead)


def list_jobs(folder: Path, config: RunConfig, splits: Sequence[TrainVal]) -> list[Job]:
    """Every seed with every fold, each in a folder of its own (seed-3, fold-07); a single fit has the run's folder."""
    jobs = []
    for seed in range(config.seed, config.seed + config.seeds):
        of_seed = folder / f"seed-{seed}" if config.seeds > 1 else folder
        for data in splits:
            of_fold = of_seed / f"fold-{data.fold:02d}" if data.fold else of_seed
            jobs.append(Job(of_fold, replace(config, seed=seed), data))
    return jobs
