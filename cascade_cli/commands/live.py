"""`live`: run a cascade, or one model, for real."""

from __future__ import annotations

from dataclasses import dataclass, replace

import typer

from cache import InputError, Store, one_of
from cascade_cli import options as opt
from cascade_cli.exit_codes import NOT_AS_PROMISED
from cascade_cli.inputs.cache_root import confirm_new_cache
from cascade_cli.inputs.dataset import dataset_in
from cascade_cli.inputs.flags import memory_or_none, refuse, threshold_or_fit
from cascade_cli.inputs.models import cached_names, required_pair, weights_files
from cascade_cli.inputs.original_yml import config_options
from cascade_cli.inputs.policy import policy_options, recorded_models
from cascade_cli.inputs.running import in_runtime
from cascade_cli.inputs.scores import report_split
from cascade_cli.show.finish import ENDINGS
from cascade_cli.show.live import show_live, timed_contenders
from cascade_cli.show.profile import warn_busy
from cascade_cli.show.text import print_json, say
from stages.runtimes import require_engine


@dataclass(frozen=True)
class RunOptions:
    """What says which cascade runs, and what is done when it is over."""

    policy: str | None = opt.option(None, "Run the cascade that `export` wrote there.")
    config: str | None = opt.option(None, "A config.yml of the original scripts.", "-y")
    end: str = opt.option("none", "When done: none, alarm or shutdown.", "-e")


@opt.grouped(
    "policy config model_1 model_2 dataset data scorefn threshold postcheck requests objective "
    "options split fit_split weights_1 weights_2 weights preprocess device precision runtime end "
    "cache as_json",
    runtime=opt.RUNS_IN,
)
def live(
    context: typer.Context,
    run: RunOptions,
    pair: opt.PairOptions,
    wanted: opt.RequestedOptions,
    decision: opt.DecisionOptions,
    requests: opt.MemoryOptions,
    options: opt.LiveOptions,
    common: opt.CommonOptions,
) -> None:
    """Answer every image for real, time it, and hold the answers against `simulate`.

    \b
    cascade live -m1 digits_wide -m2 digits_residual --batch-size 64
    """
    if run.end not in ENDINGS:
        raise one_of("ending", run.end, ENDINGS)
    if run.config is not None and run.policy is not None:
        raise InputError("--config and --policy each say what runs: leave out one of them")
    if run.config is not None:
        live(context, **config_options(context, run.config))
        return
    if run.policy is not None:
        live(context, **policy_options(context, run.policy))
        return
    deployed = context.obj
    (named_1, named_2), aliases = cached_names(pair.model_1, pair.model_2)
    if named_1 is None:
        raise InputError("live needs a model: give -m1 A, and -m2 B for a cascade")
    decision = threshold_or_fit(context, decision)
    memory_or_none(context, requests.memory)
    wanted = in_runtime(wanted)
    require_engine(wanted.runtime)
    store, files = Store(common.cache), weights_files(pair)
    recorded = {} if deployed is None else recorded_models(deployed)
    wanted = replace(wanted, files=files, aliases=aliases, recorded=recorded)
    dataset = dataset_in(store, wanted.dataset, (pair.model_1, pair.model_2))
    split = report_split(store, dataset, wanted.split)
    models: tuple[str, ...] = (named_1,)
    if deployed is not None:
        models = deployed.cascade.models_that_run
    elif named_2 is not None:
        models = required_pair(named_1, named_2)
    if len(models) == 1 and deployed is None:
        _check_alone(context, requests)
    else:
        confirm_new_cache(store)
    from cascade_cli.inputs.live import run_live  # an engine, which may not be there

    how = (decision, requests, options, deployed)
    result = run_live(store, (dataset, split), models, wanted, *how)
    warn_busy(timed_contenders(result))
    if common.as_json:
        print_json(result)
    else:
        show_live(result)
    ENDINGS[run.end]()
    if result["agreement"] and result["agreement"].outside_noise:
        say("the live run and the simulation disagree by more than float noise")
        raise typer.Exit(NOT_AS_PROMISED)


def _check_alone(context: typer.Context, requests: opt.MemoryOptions) -> None:
    """InputError for what is asked of one model and is for cascades."""
    if requests != opt.MemoryOptions():
        raise InputError("streams and memories are for cascades: give -m2 B")
    refuse(context, _OF_CASCADES, "is for cascades: give -m2 B")


_OF_CASCADES = ("scorefn", "threshold", "postcheck", "objective", "fit_split", "baseline")
