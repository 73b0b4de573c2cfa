"""Ray: calls on the cluster that this process is connected to, or on one of this machine that is started for them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Any

from mlflowish.errors import CapabilityError, MlflowishError, StateError, WorkerDiedError, missing_extra
from mlflowish.executors.base import OnMismatch, Submitted, when_done
from mlflowish.executors.futures import Future
from mlflowish.executors.gate import Gate
from mlflowish.executors.packing import departure, name_of, packed, receive
from mlflowish.executors.resources import ONE_CPU, Capacity, Resources
from mlflowish.executors.versions import here
from mlflowish.executors.worker import run_packed

_TRIES_AGAIN = 3


class RayExecutor:
    """Calls as tasks of Ray, which sees to it that cpus, memory and gpus are there, and calls again after a death.

    `address`: of a cluster ("auto", "ray://host:10001"); None uses the one that this process is connected to, or starts
    one here with `workers` cpus, which ends with the executor. Limits are kept here, for calls of this process.
    """

    in_process = False

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        limits: Mapping[str, int] | None = None,
        on_mismatch: OnMismatch = "raise",
    ) -> None:
        self.on_mismatch: OnMismatch = on_mismatch
        self._address, self._cpus = address, workers
        self._owned = False
        self._gate = Gate(Capacity(limits=dict(limits or {})))
        self._submitted = Submitted()
        self._connected()

    @property
    def workers(self) -> int:
        """How many cpus the cluster has now."""
        return int(self._connected().cluster_resources().get("CPU", 1)) or 1

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()` on some worker."""
        self._gate.capacity.fitted(resources)
        options = _options(self._connected(), resources)
        future = Future(function, after, runs_here=False)
        self._submitted.add(future)
        when_done(after, lambda: self._depart(future, function, resources, options))
        return future

    def _depart(self, future: Future, function: Any, resources: Resources, options: dict[str, Any]) -> None:
        if (travels := departure(future, function)) is not None:
            self._gate.enter(resources, lambda: self._send(future, function, travels, resources, options))

    def _send(self, future: Future, function: Any, travels: Any, resources: Resources, options: dict[str, Any]) -> None:
        if not future.claim():
            self._gate.leave(resources)
            return
        try:
            ray = self._connected()
            task = ray.remote(run_packed).options(max_retries=_TRIES_AGAIN, name=name_of(function), **options)
            reference = task.remote(packed(travels, function), here(), self.on_mismatch)
            sent = reference.future()
        except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
            self._gate.leave(resources)
            future.end_with(error=_translated(error, function))
            return
        future.on_stop = lambda: ray.cancel(reference, force=True)

        def arrived(done: concurrent.futures.Future[Any]) -> None:
            self._gate.leave(resources)
            try:
                answer = done.result()
            except BaseException as error:  # noqa: BLE001  as above
                future.end_with(error=_translated(error, function))
            else:
                receive(answer, future, function)

        sent.add_done_callback(arrived)

    def _connected(self) -> Any:
        try:
            import ray
        except ImportError as error:
            raise missing_extra("ray", needed_for="mf.executor('ray')", cause=error) from error
        if not ray.is_initialized():
            local = {"num_cpus": self._cpus, "include_dashboard": False} if self._address is None else {}
            try:
                ray.init(address=self._address, log_to_driver=False, **local)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise StateError(
                    f"The Ray cluster at {self._address or 'this machine'} cannot be reached or started: {error}",
                    address=self._address,
                ) from error
            self._owned = True
        return ray

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted; end the cluster, or the connection to it, if this made it."""
        self._submitted.finish(cancel=cancel)
        if self._owned:
            self._owned = False
            self._connected().shutdown()


def _options(ray: Any, resources: Resources) -> dict[str, Any]:
    """What Ray is told about a call. CapabilityError if no node has so much: Ray would wait for it for ever."""
    wanted: dict[str, Any] = {"num_cpus": resources.cpus}
    if resources.gpus:
        wanted["num_gpus"] = resources.gpus
    if resources.memory:
        wanted["memory"] = resources.memory
    if resources == ONE_CPU:
        return wanted
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(names[name], 0) >= amount for name, amount in wanted.items()) for node in nodes):
        shown = ", ".join(f"{names[name]}={amount:g}" for name, amount in wanted.items())
        raise CapabilityError(f"No node of the Ray cluster has {shown}: ask for less", wanted=resources)
    return wanted


def _translated(error: BaseException, function: Any) -> BaseException:
    """What a failure of Ray means; an error of ours as it is."""
    kind = type(error).__name__
    if isinstance(error, MlflowishError):
        return error
    if kind in ("TaskCancelledError",):
        translated: BaseException = concurrent.futures.CancelledError(f"{name_of(function)} was stopped")
    elif kind in ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "OwnerDiedError"):
        translated = WorkerDiedError(
            f"{name_of(function)} ended its Ray worker {_TRIES_AGAIN + 1} times, and is given up: {error}",
            step=name_of(function),
            exit_codes=[],
        )
    else:
        translated = StateError(f"Ray gave no answer to {name_of(function)} ({kind}: {error})")
    translated.__cause__ = error
    return translated
