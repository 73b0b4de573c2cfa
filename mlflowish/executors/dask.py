"""Dask `distributed`: calls on the workers of a cluster that somebody else runs, on as many machines as it has.

What is asked of the scheduler is what plain `client.submit` asks of it: which worker, again after a death, how often.
Answers are small, so all that have come are fetched together.
"""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflowish.errors import (
    CapabilityError,
    InvalidInputError,
    MlflowishError,
    StateError,
    WorkerDiedError,
    missing_extra,
)
from mlflowish.executors.base import OnMismatch, Submitted, when_done
from mlflowish.executors.futures import Future
from mlflowish.executors.gate import Gate
from mlflowish.executors.packing import Answer, departure, name_of, packed, receive
from mlflowish.executors.resources import ONE_CPU, Capacity, Resources
from mlflowish.executors.versions import here
from mlflowish.executors.worker import run_packed, ship_all

CONNECT_S = 10.0
_LABELS = {"cpus": "CPU", "gpus": "GPU", "memory": "MEMORY"}
_MOST_LOSSES = 3


@dataclass(slots=True)
class _Sent:
    """A call on its way: what was sent, the answer that is waited for, and how often one was lost with a worker."""

    future: Future
    function: Any
    resources: Resources
    payload: Any
    wanted: dict[str, Any]
    answer: Any = None
    losses: int = 0


class DaskExecutor:
    """Calls on the workers of a Dask cluster. The cluster is used as it is, and stays open.

    Resources are what its workers offer: `gpus` is their resource GPU, `memory` their MEMORY, or else their memory
    limit, `cpus` above one their CPU, or else their threads; limits are kept here, for calls of this process.
    """

    in_process = False

    def __init__(
        self, cluster: Any, *, limits: Mapping[str, int] | None = None, on_mismatch: OnMismatch = "raise"
    ) -> None:
        self._address = cluster if isinstance(cluster, str) else None
        self._client = connected(cluster) if isinstance(cluster, str) else cluster
        if self._client.asynchronous:
            raise CapabilityError("An asynchronous Dask client cannot be waited for: make one with Client(address)")
        self.on_mismatch: OnMismatch = on_mismatch
        self._gate = Gate(Capacity(limits=dict(limits or {})))
        self._submitted = Submitted()
        self._done: queue.SimpleQueue[_Sent] = queue.SimpleQueue()
        self._collector: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        """The client that calls go through: of an address, a new one after a shutdown."""
        if self._address is not None and self._client.status == "closed":
            self._client = connected(self._address)
        return self._client

    @property
    def workers(self) -> int:
        """How many threads the cluster has now."""
        return sum(self.client.nthreads().values()) or 1

    def submit(
        self, function: Callable[[], Any], *, after: tuple[Future, ...] = (), resources: Resources = ONE_CPU
    ) -> Future:
        """A future of `function()` on some worker."""
        self._gate.capacity.fitted(resources)
        wanted = _placement(self.client, resources)
        future = Future(function, after, runs_here=False)
        self._submitted.add(future)
        when_done(after, lambda: self._depart(future, function, resources, wanted))
        return future

    def _depart(self, future: Future, function: Any, resources: Resources, wanted: dict[str, Any]) -> None:
        if (travels := departure(future, function)) is not None:
            self._gate.enter(resources, lambda: self._send(future, function, travels, resources, wanted))

    def _send(self, future: Future, function: Any, travels: Any, resources: Resources, wanted: dict[str, Any]) -> None:
        if not future.claim():
            self._gate.leave(resources)
            return
        try:
            sent = _Sent(future, function, resources, packed(travels, function), wanted)
            self._post(sent)
        except BaseException as error:  # noqa: BLE001  it belongs to whoever asks for the result
            self._gate.leave(resources)
            future.end_with(error=_lost(error, self.client))
            return
        self._ensure_collector()
        future.on_stop = lambda: self._stop(sent.answer)
        sent.answer.add_done_callback(lambda _: self._done.put(sent))

    def _post(self, sent: _Sent) -> None:
        key = f"{name_of(sent.function)}-{uuid.uuid4().hex}"
        arguments = (sent.payload, here(), self.on_mismatch)
        sent.answer = self.client.submit(run_packed, *arguments, key=key, pure=False, **sent.wanted)

    def _again(self, sent: _Sent) -> bool:
        """The worker of an answer died before it was asked: send the call once more, which reads what it had stored."""
        sent.losses += 1
        if sent.losses > _MOST_LOSSES:
            return False
        try:
            self._post(sent)
        except Exception:  # noqa: BLE001  the cluster is gone, which the first answer says as well
            return False
        sent.answer.add_done_callback(lambda _: self._done.put(sent))
        return True

    def _stop(self, sent: Any) -> None:
        # A worker that has begun goes on to the end of the call; nobody waits for it any more.
        self.client.cancel([sent], force=True)

    def _ensure_collector(self) -> None:
        with self._lock:
            if self._collector is None or not self._collector.is_alive():
                self._collector = threading.Thread(target=self._collect, name="mlflowish-dask", daemon=True)
                self._collector.start()

    def _collect(self) -> None:
        """Fetch the answers of what is done, all that there are in one request."""
        while True:
            items = [self._done.get()]
            while not self._done.empty():
                items.append(self._done.get())
            answers = self._answers([sent.answer for sent in items if sent.answer.status == "finished"])
            for sent in items:
                answer = answers.get(sent.answer.key)
                if answer is None and sent.answer.status not in ("error", "cancelled") and self._again(sent):
                    continue
                self._gate.leave(sent.resources)
                if answer is not None:
                    receive(answer, sent.future, sent.function)
                else:
                    sent.future.end_with(error=self._error(sent.answer, sent.function))
            items.clear()
            answers.clear()

    def _answers(self, finished: list[Any]) -> dict[str, Answer]:
        if not finished:
            return {}
        try:
            return dict(zip([one.key for one in finished], self.client.gather(finished), strict=True))
        except Exception:  # noqa: BLE001  one of them is lost: which, each is asked
            found = {}
            for one in finished:
                try:
                    found[one.key] = one.result()
                except Exception:  # noqa: BLE001  `_error` asks again and says so
                    continue
            return found

    def _error(self, done: Any, function: Any) -> BaseException:
        if done.status == "cancelled":
            return concurrent.futures.CancelledError(f"{name_of(function)} was cancelled on the cluster")
        try:
            error: BaseException = done.exception(timeout=CONNECT_S) or StateError("The answer of a worker is lost")
        except Exception as unknown:  # noqa: BLE001  the scheduler is gone
            error = unknown
        if type(error).__name__ == "KilledWorker":
            died = WorkerDiedError(
                f"{name_of(function)} was on workers of the Dask cluster that died, as often as the scheduler allows "
                f"(distributed.scheduler.allowed-failures), and is given up: {error}",
                step=name_of(function),
                exit_codes=[],
            )
            died.__cause__ = error
            return died
        return _lost(error, self.client)

    def shutdown(self, *, cancel: bool = False) -> None:
        """Finish what was submitted, and have what the workers logged shipped; the cluster stays as it is."""
        self._submitted.finish(cancel=cancel)
        if not cancel and self._client.status == "running":
            self._client.run(ship_all, on_error="ignore")
        if self._address is not None:
            self._client.close()


def connected(address: str) -> Any:
    """A client of the scheduler at this address. MissingExtraError without `distributed`, StateError if it does not
    answer."""
    try:
        from distributed import Client
    except ImportError as error:
        raise missing_extra("dask", needed_for=f"An executor on {address}", cause=error) from error
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise StateError(
            f"The Dask scheduler at {address} did not answer within {CONNECT_S:g} s ({error or type(error).__name__}). "
            "Is it running, and can it be reached from here? `dask scheduler` prints its address.",
            address=address,
        ) from error
    except ValueError as error:
        raise InvalidInputError(f"{address} is no address of a Dask scheduler: {error}", found=address) from error


def _placement(client: Any, resources: Resources) -> dict[str, Any]:
    """What `client.submit` is told about resources. CapabilityError if there are workers, and none has so much."""
    wanted = {name: amount for name, amount in resources.amounts.items() if name in _LABELS}
    if wanted.get("cpus", 1) <= 1:
        wanted.pop("cpus", None)
    if not wanted:
        return {}
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:  # not yet, or not any more: what those offer that come, the scheduler learns first
        return {"resources": {_LABELS["gpus"]: wanted["gpus"]}} if "gpus" in wanted else {}
    fitting = dict(workers)
    taken: dict[str, float] = {}
    for name, amount in wanted.items():
        label = _LABELS[name]
        offering = {at: about for at, about in fitting.items() if about["resources"].get(label, 0) >= amount}
        if offering:
            taken[label] = amount
        elif name != "gpus":  # not counted by this cluster: at least it goes where there is so much
            offering = {at: about for at, about in fitting.items() if _has(about, name, amount)}
        if not offering:
            raise CapabilityError(
                f"No worker of the Dask cluster offers {label}={amount:g} (of {len(workers)}). Start one with "
                f"`dask worker ... --resources {label}={amount:g}`, or ask for less.",
                wanted=resources,
                resource=label,
            )
        fitting = offering
    placement: dict[str, Any] = {"resources": taken} if taken else {}
    if len(fitting) < len(workers):
        placement["workers"] = list(fitting)
    return placement


def _has(worker: Mapping[str, Any], name: str, amount: float) -> bool:
    has = worker["nthreads"] if name == "cpus" else worker["memory_limit"] or float("inf")
    return bool(has >= amount)


def _lost(error: BaseException, client: Any) -> BaseException:
    """What a failure of the cluster means; an error of ours as it is."""
    if isinstance(error, (MlflowishError, concurrent.futures.CancelledError)):
        return error
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "mlflowish":
        lost: MlflowishError = CapabilityError(
            "The workers of the Dask cluster cannot import mlflowish: install it there, in the version of the driver"
        )
    else:
        lost = StateError(
            f"The Dask cluster gave no answer ({type(error).__name__}: {error}; the client is {client.status}). What "
            "was finished is stored: run it again to go on from there."
        )
    lost.__cause__ = error
    return lost
