"""cuDNN's times, through PyTorch, of the problems in a file of gonvolve's records, as records of the same form:

    gonvolve bench --suite field --format json -o ours.json
    python3 cudnn.py ours.json > cudnn.json
    gonvolve bench compare cudnn.json ours.json

f32 without TF32, f16 with f32 accumulation, cuDNN's own choice of algorithm (benchmark mode), tensors in the problem's
layout on the device, times by CUDA events around runs in a row. Problems that PyTorch has no one call for are left out,
each with a line on stderr. --list prints what would be timed, without PyTorch; --device cpu times PyTorch's own CPU path
by the host's clock, which shows that the script works where there is no GPU.
"""

import argparse
import json
import re
import statistics
import sys
import time

ROUNDS, SECONDS = 30, 10  # timed at most, one at least
POOLS = {"max", "avg_np", "avg_p", "avg_ip"}
WORDS = {"conv", "pool", "FWD", "f16", "nhwc", "bias"} | POOLS


def parse(text):
    """The fields of a problem's text, or why PyTorch isn't asked for it."""
    text = re.sub(r'n"[^"]*"$', "", text)
    *words, sizes = text.split(":")
    strange = set(words) - WORDS
    if strange:
        return None, "it has " + ", ".join(sorted(strange))
    fields = {k: int(v) for k, v in re.findall(r"([a-z]+)(-?\d+)", sizes)}
    if any(k.endswith("d") for k in fields):
        return None, "it is three-dimensional"
    layer = {
        "pool": next((w for w in words if w in POOLS), None),
        "f16": "f16" in words, "nhwc": "nhwc" in words, "bias": "bias" in words,
        "mb": fields.get("mb", 2), "g": fields.get("g", 1), "ic": fields["ic"], "oc": fields.get("oc", fields["ic"]),
    }
    for key, default in (("i", None), ("o", None), ("k", 1), ("s", 1), ("p", 0), ("d", 0)):
        h = fields.get(key + "h", fields.get(key + "w", default))
        layer[key] = (h, fields.get(key + "w", h))
    need = [(i + 2 * p - (k - 1) * (d + 1) - 1) // s + 1
            for i, p, k, d, s in zip(*(layer[key] for key in "ipkds"))]
    if layer["o"] != (None, None) and list(layer["o"]) != need:
        return None, "its padding is not the same on both sides"
    return layer, ""


def operation(torch, device, layer):
    """A function that runs the layer on the device."""
    F = torch.nn.functional
    kind = {"device": device, "dtype": torch.float16 if layer["f16"] else torch.float32}
    order = torch.channels_last if layer["nhwc"] else torch.contiguous_format
    x = torch.randn(layer["mb"], layer["ic"], *layer["i"], **kind).to(memory_format=order)
    if layer["pool"] == "max":
        return lambda: F.max_pool2d(x, layer["k"], layer["s"], layer["p"], tuple(d + 1 for d in layer["d"]))
    if layer["pool"]:
        include = layer["pool"] != "avg_np"
        return lambda: F.avg_pool2d(x, layer["k"], layer["s"], layer["p"], count_include_pad=include)
    w = torch.randn(layer["oc"], layer["ic"] // layer["g"], *layer["k"], **kind).to(memory_format=order)
    b = torch.randn(layer["oc"], **kind) if layer["bias"] else None
    dilation = tuple(d + 1 for d in layer["d"])
    return lambda: F.conv2d(x, w, b, layer["s"], layer["p"], dilation, layer["g"])


class HostClock:
    """What CUDA's events do, for a device that has finished when the call returns."""

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


def timed(event, run):
    """Milliseconds of one run, several times; event makes a mark in the device's time."""
    start, end = event(), event()

    def span(repeat):
        start.record()
        for _ in range(repeat):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / repeat

    first = span(1)  # chooses the algorithm
    for _ in range(1 if first > 1e3 else 10):
        last = span(1)
    repeat = max(1, min(50, int(2 / max(last, 1e-3))))
    rounds = max(1, min(ROUNDS, int(1e3 * SECONDS / max(last * repeat, 1e-3))))
    return sorted(span(repeat) for _ in range(rounds))


def described(torch, device):
    """The device as a record names it, and a maker of marks in its time."""
    library = f"PyTorch {torch.__version__}"
    if device == "cpu":
        return {"device": "torch", "device_name": "CPU", "api": "PyTorch", "driver": library}, HostClock
    return {
        "device": "cudnn", "device_name": torch.cuda.get_device_name(), "api": "CUDA " + torch.version.cuda,
        "driver": f"{library}, cuDNN {torch.backends.cudnn.version()}",
    }, lambda: torch.cuda.Event(enable_timing=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("records", help="written by gonvolve bench --format json")
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options.add_argument("--list", action="store_true", help="print the layers, time nothing")
    options = options.parse_args()
    problems = {}
    for line in open(options.records):
        record = json.loads(line)
        problems.setdefault(record["problem"], record)
    torch = None
    if not options.list:
        import torch
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        device, event = described(torch, options.device)
    for text, record in problems.items():
        layer, reason = parse(text)
        if layer is None:
            print(f"cudnn.py: {text}: left out, {reason}", file=sys.stderr)
            continue
        if torch is None:
            print(text, json.dumps(layer))
            continue
        with torch.inference_mode():
            times = timed(event, operation(torch, options.device, layer))
        span = {"min": times[0], "median": statistics.median(times), "p95": times[int(0.95 * (len(times) - 1))]}
        print(json.dumps({
            "problem": text, "op": record["op"], "dir": record["dir"], "dt": record["dt"], **device, "algorithm": "",
            "runs": len(times), "device_ms": span, "status": "passed",
        }), flush=True)


if __name__ == "__main__":
    main()
