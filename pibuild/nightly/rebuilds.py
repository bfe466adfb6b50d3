"""Artifacts that a night builds again, in turn, to show that what the store has still follows from its sources.

Of the cells that have a proven wheel, those artifacts are candidates that the store or the shared store has.
"""

from dataclasses import replace

from pibuild.build.rebuild import rebuild_artifact
from pibuild.build.wheelhouse import all_artifacts
from pibuild.errors import PibuildError
from pibuild.model import Artifact, Night, Plan, RebuildOutcome, Wheelhouse
from pibuild.nightly.cells import CellBuilder
from pibuild.nightly.history import History
from pibuild.store.rebuild_turns import RebuildTurns
from pibuild.times import iso_z

_Candidates = dict[str, tuple[Artifact, Plan]]


def rebuild_in_turn(night: Night, count: int, builder: CellBuilder, history: History) -> Night:
    """Build `count` artifacts of a night again, compare them, and return the night with the results.

    Artifacts that were never checked come first, then those that were checked longest ago. The night is recorded after
    each of them.
    """
    store, console = builder.context.store, builder.context.console
    if not count:
        return night
    candidates, turns = _candidates(night, builder), RebuildTurns(store.root)
    for key in turns.ordered([*candidates]):
        if len(night.rebuilds) == count:
            break
        artifact, plan = candidates[key]
        if not (store.artifact(key) or builder.context.remote.pull_artifact(artifact)):
            continue
        turns.begin(key, artifact.title)
        outcome = _outcome(artifact, plan, night.id, builder, history)
        turns.end(key, artifact.title, outcome.status, builder.context.now())
        night = replace(night, rebuilds=(*night.rebuilds, outcome))
        history.put(night)
    if len(night.rebuilds) < count:
        why = "the store has no other artifacts of this night"
        console.note(f"{len(night.rebuilds)} of {count} artifacts were rebuilt: {why}")
    return night


def _candidates(night: Night, builder: CellBuilder) -> _Candidates:
    """Return the artifacts of a night's proven wheels by key, each with a plan that needs it.

    An artifact of a wheel has the plan of that wheel, so that the wheel is compared, too.
    """
    candidates: _Candidates = {}
    for cell in (outcome.cell for outcome in night.outcomes if outcome.status != "failed"):
        house, _ = builder.plan(cell)
        plans = (*house.compiled, house.plan) if isinstance(house, Wheelhouse) else (house,)
        plan_of = {plan.wheel.key: plan for plan in plans}
        for artifact in all_artifacts(house):
            if artifact.key in plan_of or artifact.key not in candidates:
                candidates[artifact.key] = (artifact, plan_of.get(artifact.key, plans[-1]))
    return candidates


def _outcome(artifact: Artifact, plan: Plan, night_id: str, builder: CellBuilder, history: History) -> RebuildOutcome:
    context = builder.context
    began, began_s, log = iso_z(context.now()), context.clock(), ""
    result, failure = None, None
    try:
        result = rebuild_artifact(artifact, plan, context)
    except PibuildError as error:
        failure = error
        context.console.warn(f"{artifact.title} could not be built again: {error}")
        if error.log and error.log.exists():
            log = f"{night_id}-rebuild-{artifact.slug}.log"
            history.put_log(log, error.log.read_bytes())
    different = result.difference.text if result and result.difference else ""
    return RebuildOutcome(
        key=artifact.key,
        name=artifact.title,
        status="failed" if failure else "different" if different else "equal",
        began=began,
        wall_s=round(context.clock() - began_s, 2),
        cpu_s=result.cpu_s if result else 0.0,
        cause=str(failure) if failure else different,
        log=log,
    )
