"""Samples a process and its data folder while it is under load (`sample`), and says whether it grew (`report`)."""

import json
import os
import platform
import sys
import time


def sample(pid, data, path):
    """One line every ten seconds: time, resident KiB, descriptors, bytes of the data folder on disk."""
    with open(path, "w") as out:
        while True:
            try:
                with open(f"/proc/{pid}/status") as status:
                    rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            except (OSError, StopIteration):
                return
            out.write(f"{time.time():.1f} {rss} {descriptors} {on_disk(data)}\n")
            out.flush()
            time.sleep(10)


def on_disk(folder):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:
                pass  # removed by retention meanwhile
    return total


def slope_per_hour(samples, column):
    """Least squares over the second half: the first half is caches filling."""
    half = samples[len(samples) // 2 :]
    times = [line[0] for line in half]
    values = [line[column] for line in half]
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times)
    if spread == 0:
        return 0.0
    return 3600 * sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values)) / spread


def report(folder, rate, retained, commit):
    with open(os.path.join(folder, "samples")) as lines:
        samples = [[float(word) for word in line.split()] for line in lines]
    with open(os.path.join(folder, "soak.rows")) as lines:
        rows = [json.loads(line) for line in lines]
    if len(samples) < 3:
        sys.exit("too short: fewer than three samples")

    def edges(column, factor=1):
        values = [line[column] * factor for line in samples]
        return {"first": values[0], "least": min(values), "most": max(values), "last": values[-1]}

    def latency(name):
        seen = [row[name] for row in rows if row.get(name)]
        return {
            "p50_median": sorted(one["p50"] for one in seen)[len(seen) // 2],
            "p99_median": sorted(one["p99"] for one in seen)[len(seen) // 2],
            "p99_worst": max(one["p99"] for one in seen),
            "max": max(one["max"] for one in seen),
        }

    slope = slope_per_hour(samples, 1) / 1024
    print(json.dumps({
        "case": "soak",
        "command": "bench/soak",
        "commit": commit,
        "machine": {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"},
        "seconds": round(samples[-1][0] - samples[0][0]),
        "rate": int(float(rate)),
        "acknowledged": sum(row["acknowledged"] for row in rows),
        "delivered": sum(row["deliveries"] for row in rows),
        "missing": sum(row["deliveries_missing"] for row in rows),
        "repeated": sum(row["deliveries_repeated"] for row in rows),
        "errors": sum(row["errors"] for row in rows),
        "ack_micros": latency("ack_micros"),
        "end_to_end_micros": latency("end_to_end_micros"),
        "rss_mib": edges(1, 1 / 1024),
        "rss_slope_mib_per_hour": round(slope, 3),
        "descriptors": edges(2),
        "disk_mib": edges(3, 1 / (1 << 20)),
        "retained_mib": int(retained) >> 20,
        "samples": [[round(line[0] - samples[0][0])] + [int(value) for value in line[1:]] for line in samples[:: max(1, len(samples) // 120)]],
        "sample_columns": ["seconds", "rss_kib", "descriptors", "disk_bytes"],
    }, indent=2))


if __name__ == "__main__":
    {"sample": sample, "report": report}[sys.argv[1]](*sys.argv[2:])
