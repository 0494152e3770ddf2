#!/usr/bin/python3
"""The training loop that one would write without fedclock: plain PyTorch, one client at a time.

    tools/bench/pytorch_loop.py WORKLOAD_DIR [--threads N] [--blas-threads N] [--seconds S]

WORKLOAD_DIR is written by `bench_training --write` and holds workload.json (shape, settings, rows
and every client's batches), base.safetensors and adapter.safetensors. Prints one JSON object: the
losses of the first steps of client 0, and the median seconds per step over passes over all clients.
The loop is meant to be a good one: frozen weights get no gradient and nothing is recorded below the
tuned depth, activations stay matrices so that biases are added within the products, denormals
are flushed, batches are made beforehand. Needs Debian's python3-torch. Exit code 2: a workload that
it does not handle.
"""
import argparse
import inspect
import json
import math
import os
import statistics
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("workload", metavar="WORKLOAD_DIR")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)),
                        help="of PyTorch's own kernels (default: all cores)")
    parser.add_argument("--blas-threads", type=int, help="of its BLAS (default: as --threads)")
    parser.add_argument("--seconds", type=float, default=20.0, help="to measure (default: 20)")
    options = parser.parse_args()
    if options.blas_threads is None:
        options.blas_threads = options.threads
    if min(options.threads, options.blas_threads) < 1:
        parser.error("--threads and --blas-threads: at least 1 is needed")
    return options


if __name__ == "__main__":
    OPTIONS = arguments()
    # OpenBLAS and OpenMP read these once, when torch loads them; torch.set_num_threads does not
    # reach the threads of OpenBLAS.
    os.environ["OMP_NUM_THREADS"] = str(OPTIONS.threads)
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(OPTIONS.blas_threads)

import numpy  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

LOSSES = 10  # steps of client 0 whose losses are reported
HEAD = "head."
FIELDS = {
    "name": str, "kind": str, "layers": int, "width": int, "heads": int, "kv_heads": int,
    "head_width": int, "inner": int, "max_tokens": int, "vocabulary": int, "activation": str,
    "norm": str, "norm_place": str, "positions": str, "position_offset": int, "rope_theta": float,
    "norm_epsilon": float, "embedding_norm": bool, "token_types": int, "tied_head": bool,
    "rank": int, "alpha": float, "targets": list, "depth": int, "optimizer": str,
    "learning_rate": float, "weight_decay": float, "clip_norm": float, "classes": int,
    "rows": list, "labels": list, "response_begin": list, "clients": list,
}
CHOICES = {
    "kind": ("encoder", "decoder"),
    "activation": ("gelu", "gelu_tanh", "relu", "swiglu"),
    "norm": ("layer_norm", "rms_norm"),
    "norm_place": ("before_block", "after_block"),
    "positions": ("learned", "rotary"),
    "optimizer": ("adamw", "sgd"),
}
TARGETS = ("q", "k", "v", "o", "up", "gate", "down")


class Refused(Exception):
    """A workload that this loop does not handle; says which field and value."""


def require(condition, message):
    if not condition:
        raise Refused(message)


def check_fields(work):
    for field, kind in FIELDS.items():
        require(field in work, f"workload.json has no field '{field}'")
        value = work[field]
        fits = type(value) in (int, float) if kind is float else type(value) is kind
        require(fits, f"{field} is {value!r}: a {kind.__name__} is needed")
    for field in work:
        # A setting that is passed over would compare two different trainings.
        require(field in FIELDS, f"field '{field}' is not known to this loop")
    for field, known in CHOICES.items():
        require(work[field] in known, f"{field} is {work[field]!r}: only {', '.join(known)}")
    for target in work["targets"]:
        known = target in TARGETS and (target != "gate" or work["activation"] == "swiglu")
        require(known, f"targets names {target!r}, which this model does not have")
    require(1 <= work["depth"] <= work["layers"], f"depth is {work['depth']}: 1 to layers")


def check_rows(work):
    rows, labels, begins = work["rows"], work["labels"], work["response_begin"]
    require(len(rows) == len(labels) == len(begins),
            "rows, labels and response_begin have different sizes")
    require(rows and work["clients"] and all(work["clients"]), "there are no rows or no batches")
    tokens = len(rows[0])
    require(all(len(row) == tokens for row in rows),
            "rows of different lengths: there is no padding mask, write rows of one length")
    require(2 <= tokens <= work["max_tokens"], f"rows have {tokens} tokens: 2 to max_tokens")
    require(all(0 <= token < work["vocabulary"] for row in rows for token in row),
            "a token is outside the vocabulary")
    if work["kind"] == "encoder":
        require(all(begin <= 0 for begin in begins), "an encoder's rows have no response")
        require(all(0 <= label < work["classes"] for label in labels), "a label is no class")
    else:
        require(all(begin == begins[0] for begin in begins) and 1 <= begins[0] < tokens,
                "response_begin must be the same, from 1 up, in all rows of a decoder")
    require(all(batch and all(0 <= row < len(rows) for row in batch)
                for client in work["clients"] for batch in client),
            "clients name a row that is not there, or have an empty batch")


def read_workload(folder):
    with open(os.path.join(folder, "workload.json"), encoding="utf-8") as file:
        work = json.load(file)
    require(isinstance(work, dict), "workload.json is no object")
    check_fields(work)
    check_rows(work)
    return work


def read_safetensors(path):
    """All tensors by name: 8 bytes little-endian header length, JSON header, row-major values."""
    with open(path, "rb") as file:
        image = file.read()
    begin = 8 + int.from_bytes(image[:8], "little")
    tensors = {}
    for name, entry in json.loads(image[8:begin]).items():
        if name == "__metadata__":
            continue
        require(entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}: only F32 is read")
        first, last = entry["data_offsets"]
        values = numpy.frombuffer(image[begin + first:begin + last], dtype="<f4")
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def check_adapter(work, tensors):
    expected = {f"layers.{layer}.{target}.lora_{side}"
                for layer in range(work["layers"] - work["depth"], work["layers"])
                for target in work["targets"] for side in "ab"}
    if work["kind"] == "encoder":
        expected |= {HEAD + "weight", HEAD + "bias"}
    different = sorted(expected.symmetric_difference(tensors))
    require(not different, f"adapter.safetensors lacks, or has beyond the workload: {different}")


class Model:
    """A frozen base; activations are matrices [rows x tokens, width]."""

    def __init__(self, work, weights):
        self.work = work
        self.weights = weights
        self.maps = {(layer, target): (weights[f"layers.{layer}.{target}.weight"],
                                       weights.get(f"layers.{layer}.{target}.bias"))
                     for layer in range(work["layers"]) for target in TARGETS
                     if target != "gate" or work["activation"] == "swiglu"}
        self.lora_scale = work["alpha"] / work["rank"]
        tokens = len(work["rows"][0])
        self.mask = torch.full((tokens, tokens), -math.inf).triu(1)
        if work["positions"] == "rotary":
            half = work["head_width"] // 2
            exponents = torch.arange(half, dtype=torch.float64) * (-2.0 / work["head_width"])
            turns = torch.arange(tokens, dtype=torch.float64)[:, None] * (
                work["rope_theta"] ** exponents)
            self.cos, self.sin = turns.cos().float(), turns.sin().float()  # [tokens, half]

    def norm(self, x, name):
        weight, epsilon = self.weights[name + ".weight"], self.work["norm_epsilon"]
        if self.work["norm"] == "layer_norm":
            return F.layer_norm(x, weight.shape, weight, self.weights[name + ".bias"], epsilon)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight

    def map(self, layer, target, x, pairs):
        weight, bias = self.maps[layer, target]
        y = F.linear(x, weight, bias)
        pair = pairs.get((layer, target))
        if pair is None:
            return y
        return torch.addmm(y, F.linear(x, pair[0]), pair[1].t(), alpha=self.lora_scale)

    def rotate(self, x):
        first, second = x.chunk(2, -1)
        return torch.cat((first * self.cos - second * self.sin,
                          second * self.cos + first * self.sin), -1)

    def attention(self, layer, x, rows, pairs):
        work = self.work
        heads, kv_heads, head_width = work["heads"], work["kv_heads"], work["head_width"]

        def heads_first(target, count):  # [rows, count, tokens, head_width]
            y = self.map(layer, target, x, pairs)
            return y.view(rows, -1, count, head_width).transpose(1, 2)

        q, k = heads_first("q", heads), heads_first("k", kv_heads)
        v = heads_first("v", kv_heads)
        if work["positions"] == "rotary":
            q, k = self.rotate(q), self.rotate(k)
        if kv_heads != heads:
            k = k.repeat_interleave(heads // kv_heads, 1)
            v = v.repeat_interleave(heads // kv_heads, 1)
        scores = torch.matmul(q * head_width ** -0.5, k.transpose(2, 3))
        if work["kind"] == "decoder":
            scores = scores + self.mask
        mixed = torch.matmul(torch.softmax(scores, -1), v)
        return self.map(layer, "o", mixed.transpose(1, 2).reshape(-1, heads * head_width), pairs)

    def feed_forward(self, layer, x, pairs):
        up = self.map(layer, "up", x, pairs)
        activation = self.work["activation"]
        if activation == "swiglu":
            inner = F.silu(self.map(layer, "gate", x, pairs)) * up
        elif activation == "relu":
            inner = F.relu(up)
        else:
            inner = F.gelu(up, approximate="tanh" if activation == "gelu_tanh" else "none")
        return self.map(layer, "down", inner, pairs)

    def hidden(self, ids, pairs):
        """States after the last norm [rows, tokens, width]; pairs: (layer, target) -> (A, B)."""
        work, weights = self.work, self.weights
        rows, tokens = ids.shape
        x = F.embedding(ids, weights["embeddings.token"])
        if work["positions"] == "learned":
            begin = work["position_offset"]
            x = x + weights["embeddings.position"][begin:begin + tokens]
        if work["token_types"] > 0:
            x = x + weights["embeddings.type"][0]
        x = x.view(rows * tokens, -1)
        if work["embedding_norm"]:
            x = self.norm(x, "embeddings.norm")
        for layer in range(work["layers"]):
            attention_norm, ffn_norm = (f"layers.{layer}.{n}_norm" for n in ("attention", "ffn"))
            if work["norm_place"] == "before_block":
                x = x + self.attention(layer, self.norm(x, attention_norm), rows, pairs)
                x = x + self.feed_forward(layer, self.norm(x, ffn_norm), pairs)
            else:
                x = self.norm(x + self.attention(layer, x, rows, pairs), attention_norm)
                x = self.norm(x + self.feed_forward(layer, x, pairs), ffn_norm)
        if work["norm_place"] == "before_block":
            x = self.norm(x, "final_norm")
        return x.view(rows, tokens, -1)

    def loss(self, ids, labels, pairs, state):
        """Encoder: classes from mean states. Decoder: the tokens from response_begin on."""
        hidden = self.hidden(ids, pairs)
        if self.work["kind"] == "encoder":
            scores = F.linear(hidden.mean(1), state[HEAD + "weight"], state[HEAD + "bias"])
            return F.cross_entropy(scores, labels)
        begin = self.work["response_begin"][0]
        name = "embeddings.token" if self.work["tied_head"] else "lm_head.weight"
        states = hidden[:, begin - 1:-1].reshape(-1, self.work["width"])
        return F.cross_entropy(F.linear(states, self.weights[name]), ids[:, begin:].reshape(-1))


def make_optimizer(work, parameters):
    # Decay is of matrices only; without momentum SGD's own decay is the decoupled one.
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": group, "weight_decay": decay}
              for group, decay in ((decayed, work["weight_decay"]), (others, 0.0)) if group]
    kind = torch.optim.SGD if work["optimizer"] == "sgd" else torch.optim.AdamW
    options = {"foreach": True} if "foreach" in inspect.signature(kind).parameters else {}
    return kind(groups, lr=work["learning_rate"], **options)


def train_client(model, start, batches):
    """Trains a copy of the shared state on a client's batches; the losses and the new state."""
    work = model.work
    state = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    pairs = {(layer, target): (state[f"layers.{layer}.{target}.lora_a"],
                               state[f"layers.{layer}.{target}.lora_b"])
             for layer in range(work["layers"] - work["depth"], work["layers"])
             for target in work["targets"]}
    optimizer = make_optimizer(work, state.values())
    losses = []
    for ids, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = model.loss(ids, labels, pairs, state)
        loss.backward()
        if work["clip_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(state.values(), work["clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    return losses, state


def make_batches(work):
    """Every client's batches: (ids [rows, tokens], labels [rows])."""
    rows, labels = torch.tensor(work["rows"]), torch.tensor(work["labels"])
    return [[(rows[batch], labels[batch]) for batch in client] for client in work["clients"]]


def measure(folder, threads, seconds):
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    work = read_workload(folder)
    model = Model(work, read_safetensors(os.path.join(folder, "base.safetensors")))
    start = read_safetensors(os.path.join(folder, "adapter.safetensors"))
    check_adapter(work, start)
    clients = make_batches(work)
    steps = sum(len(batches) for batches in clients)
    losses = [train_client(model, start, batches)[0] for batches in clients][0]  # warms up
    passes_s = []
    while not passes_s or sum(passes_s) < seconds:
        begin = time.perf_counter()
        for batches in clients:
            train_client(model, start, batches)
        passes_s.append(time.perf_counter() - begin)
    return {"losses": losses[:LOSSES], "seconds_per_step": statistics.median(passes_s) / steps,
            "passes": len(passes_s), "threads": threads}


def main():
    try:
        print(json.dumps(measure(OPTIONS.workload, OPTIONS.threads, OPTIONS.seconds)))
    except (Refused, OSError, ValueError, KeyError) as problem:
        reason = f"no tensor {problem}" if isinstance(problem, KeyError) else problem
        print(f"pytorch_loop.py: {OPTIONS.workload}: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
