"""What the machine is, and what it takes by itself: every figure depends on it."""
import os
import pathlib
import platform
import subprocess
import tempfile
import time

BLOCK = 4096  # bytes of a synchronous write
SECONDS = 2   # that the disk is measured for


def load():
    return [round(value, 2) for value in os.getloadavg()]


def _field(path, name):
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return "unknown"


def _disk():
    """Small writes a second, each synced, one after the other."""
    with tempfile.NamedTemporaryFile() as file:
        block, n, start = os.urandom(BLOCK), 0, time.monotonic()
        while time.monotonic() - start < SECONDS:
            os.pwrite(file.fileno(), block, n % 1024 * BLOCK)
            os.fdatasync(file.fileno())
            n += 1
        return round(n / (time.monotonic() - start))


def _commit():
    here = pathlib.Path(__file__).parent
    done = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _built(build):
    try:
        return _field_of_cache(build / "CMakeCache.txt", "CMAKE_BUILD_TYPE")
    except OSError:
        return "unknown"


def _field_of_cache(path, name):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return line.partition("=")[2]
    return "unknown"


def describe(build):
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(),
        "build": _built(build),
        "kernel": platform.release(),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / (1 << 20), 1),
        "fdatasync_rate": _disk(),
        "load_before": load(),
    }
