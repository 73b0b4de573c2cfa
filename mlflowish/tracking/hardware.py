"""What the machine and the process do meanwhile, as series of the run: psutil, and NVML where there is a GPU."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable
from typing import Any

from mlflowish.tracking.environment import cpu_limit, memory_limit_bytes
from mlflowish.tracking.folding import HARDWARE

EVERY_S = 10.0
_MEGA = 1e6
_log = logging.getLogger("mlflowish.tracking")


class Sampler:
    """One sample at a time: values by name, those of MLflow where it has the same. Nothing without psutil."""

    def __init__(self) -> None:
        self._probes: list[Callable[[], dict[str, float]]] = []
        if importlib.util.find_spec("psutil") is not None:
            import psutil

            self._psutil: Any = psutil
            self._process: Any = psutil.Process()
            self._process.cpu_percent()  # percentages count from the last question
            psutil.cpu_percent()
            self._sent, self._received = self._network()
            self._memory_limit = memory_limit_bytes()
            self._probes = [self._of_machine, self._of_disk, self._of_network, self._of_process]
        if (gpus := _gpus()) is not None:
            self._probes.append(gpus)
        self._last_s = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Is it time for a sample?"""
        return bool(self._probes) and time.monotonic() - self._last_s >= EVERY_S

    def sample(self) -> dict[str, float]:
        """The present values; a probe that fails is left out from then on."""
        self._last_s = time.monotonic()
        found: dict[str, float] = {}
        for probe in list(self._probes):
            try:
                found.update(probe())
            except Exception as error:  # noqa: BLE001  drivers fail in ways of their own
                _log.info("A hardware series ends: %s", error)
                self._probes.remove(probe)
        return {HARDWARE + name: value for name, value in found.items()}

    def _of_machine(self) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGA,
            "system_memory_usage_percentage": memory.percent,
        }

    def _of_disk(self) -> dict[str, float]:
        disk = self._psutil.disk_usage(".")
        return {"disk_usage_megabytes": disk.used / _MEGA, "disk_usage_percentage": disk.percent}

    def _of_network(self) -> dict[str, float]:
        sent, received = self._network()
        return {
            "network_transmit_megabytes": (sent - self._sent) / _MEGA,
            "network_receive_megabytes": (received - self._received) / _MEGA,
        }

    def _of_process(self) -> dict[str, float]:
        resident = self._process.memory_info().rss
        found = {
            "process_cpu_percentage": self._process.cpu_percent() / (cpu_limit() or 1.0),
            "process_memory_megabytes": resident / _MEGA,
            "process_threads": float(self._process.num_threads()),
        }
        if self._memory_limit:
            found["process_memory_percentage_of_limit"] = 100.0 * resident / self._memory_limit
        return found

    def _network(self) -> tuple[int, int]:
        counters = self._psutil.net_io_counters()
        return (counters.bytes_sent, counters.bytes_recv) if counters is not None else (0, 0)


def _gpus() -> Callable[[], dict[str, float]] | None:
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        _log.info("No GPU is watched: %s", error)
        return None

    def probe() -> dict[str, float]:
        found = {}
        for number, handle in enumerate(handles):
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found[f"gpu_{number}_utilization_percentage"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            found[f"gpu_{number}_memory_usage_megabytes"] = memory.used / _MEGA
            found[f"gpu_{number}_memory_usage_percentage"] = 100.0 * memory.used / memory.total
            found[f"gpu_{number}_power_usage_watts"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000.0
        return found

    return probe if handles else None
