"""Steps that are done once: the workflow of one claimed row, kept by DBOS (https://docs.dbos.dev).

The only file that imports it. DBOS writes what each finished step returned, so a process that is
killed at any moment goes on at the unfinished step when the next one starts.
"""

from collections.abc import Callable
from typing import Any, Protocol


class Step(Protocol):
    """Does one step, or returns what it returned when it was done."""

    def __call__(self, name: str, *arguments: Any) -> dict[str, Any]: ...


def run(
    id: str, url: str, name: str, do: Callable[..., dict[str, Any]], line: Callable[[Step], Any]
) -> Any:
    """Run a workflow, or go on with it, and return what it returned.

    Args:
        id: The row that it works on; also the workflow's.
        url: The database of DBOS.
        name: Of the kind of workflow.
        do: Does one step: its name, and what else `line` hands on. Killed in it, it is called
            again; what it returned must go into JSON, and so must what it is given.
        line: The steps, in a line: it calls them one after the other, and decides by nothing but
            what they return.

    Raises:
        Exception: What a step raised; it is its outcome, and raised again the next time.
    """
    from dbos import DBOS, SetWorkflowID

    @DBOS.step(name="step")  # type: ignore[untyped-decorator]
    def step(name: str, *arguments: Any) -> dict[str, Any]:
        return do(name, *arguments)

    @DBOS.workflow(name=name)  # type: ignore[untyped-decorator]
    def workflow() -> Any:
        return line(step)

    # The version of an application is what DBOS binds its workflows to: with the row's id no
    # executor of another row takes this one, and a new release of Driftgate goes on with it.
    DBOS(
        config={
            "name": "driftgate",
            "system_database_url": url,
            "executor_id": id,
            "application_version": id,
            "enable_otlp": False,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()  # takes up a workflow that was interrupted
    if DBOS.get_workflow_status(id) is None:
        with SetWorkflowID(id):
            DBOS.start_workflow(workflow)
    handle: Any = DBOS.retrieve_workflow(id)
    return handle.get_result()
