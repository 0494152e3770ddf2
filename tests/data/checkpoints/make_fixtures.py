#!/usr/bin/env python3
"""Writes tiny random checkpoints in Hugging Face's layout, and what they must compute.

    python3 tests/data/checkpoints/make_fixtures.py

Each folder beside this file gets config.json, model.safetensors and expected.json. The expected
hidden states and logits come from the forward passes below: plain loops over Python floats, written
from the published architectures and sharing no code with fedclock. Only the standard library is
used, and the same files come out on every machine (to the last digits of libm in expected.json).

expected.json:
  tokens, mask, token_types   [rows][5]; mask 0 marks padding
  hidden                      [rows][valid tokens of the row][width], after the last norm
  hidden_other_types          the same with token_types other_token_types (BERT only)
  logits                      [rows][tokens][vocabulary] (decoders only)
"""

import json
import math
import pathlib
import random
import struct

LAYERS, WIDTH, HEADS, FFN, VOCABULARY, POSITIONS = 2, 8, 2, 16, 11, 12
HEAD = WIDTH // HEADS


# --- numbers and files -----------------------------------------------------------------------------

def as_f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def as_bf16(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0] & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


class Draw:
    """Random tensors: nested lists of numbers that the file's type holds exactly."""

    def __init__(self, seed, dtype="F32"):
        self.random = random.Random(seed)
        self.dtype = dtype

    def value(self, scale, centre=0.0):
        raw = centre + scale * (2.0 * self.random.random() - 1.0)
        return as_bf16(raw) if self.dtype == "BF16" else as_f32(raw)

    def matrix(self, rows, columns, scale=0.5):
        return [[self.value(scale) for _ in range(columns)] for _ in range(rows)]

    def vector(self, size, scale=0.3, centre=0.0):
        return [self.value(scale, centre) for _ in range(size)]


def shape_of(tensor):
    shape = []
    while isinstance(tensor, list):
        shape.append(len(tensor))
        tensor = tensor[0]
    return shape


def flat(tensor):
    if not isinstance(tensor, list):
        return [tensor]
    return [value for part in tensor for value in flat(part)]


def pack(values, dtype):
    if dtype == "F32":
        return struct.pack(f"<{len(values)}f", *values)
    if dtype == "I64":
        return struct.pack(f"<{len(values)}q", *values)
    return b"".join(struct.pack("<f", value)[2:] for value in values)  # BF16: the upper half


def write_safetensors(path, tensors, dtype, integers):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in {**tensors, **integers}.items():
        kind = "I64" if name in integers else dtype
        raw = pack(flat(tensor), kind)
        header[name] = {"dtype": kind, "shape": shape_of(tensor),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return [rounded(part) for part in value] if isinstance(value, list) else value


def write_folder(folder, config, tensors, expected, dtype="F32", integers=None):
    root = pathlib.Path(__file__).resolve().parent / folder
    root.mkdir(exist_ok=True)
    (root / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_safetensors(root / "model.safetensors", tensors, dtype, integers or {})
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(rounded(value))}"
                       for key, value in expected.items())
    (root / "expected.json").write_text("{\n" + lines + "\n}\n")


# --- the pieces of a transformer --------------------------------------------------------------------

def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def add(a, b):
    return [x + y for x, y in zip(a, b)]


def linear(x, weight, bias=None):
    """weight is [out, in]."""
    y = [dot(row, x) for row in weight]
    return add(y, bias) if bias else y


def transposed(matrix):
    return [list(column) for column in zip(*matrix)]


def layer_norm(x, weight, bias, epsilon):
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return [(value - mean) / math.sqrt(variance + epsilon) * w + b
            for value, w, b in zip(x, weight, bias)]


def rms_norm(x, weight, epsilon):
    scale = 1.0 / math.sqrt(dot(x, x) / len(x) + epsilon)
    return [value * scale * w for value, w in zip(x, weight)]


def gelu(x):
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1.0 + math.exp(-x))


def softmax(scores):
    top = max(scores)
    parts = [math.exp(score - top) for score in scores]
    return [part / sum(parts) for part in parts]


def attention(queries, keys, values, heads, kv_heads, sees):
    """Lists of one vector for each token; sees(i, j) tells whether token i may look at token j."""
    head = len(queries[0]) // heads
    result = []
    for i, query in enumerate(queries):
        seen = [j for j in range(len(keys)) if sees(i, j)]
        row = []
        for h in range(heads):
            own = slice(h * head, (h + 1) * head)
            group = h // (heads // kv_heads)  # neighbouring heads share keys and values
            shared = slice(group * head, (group + 1) * head)
            weights = softmax([dot(query[own], keys[j][shared]) / math.sqrt(head) for j in seen])
            for c in range(head):
                row.append(sum(w * values[j][shared][c] for w, j in zip(weights, seen)))
        result.append(row)
    return result


# --- BERT and RoBERTa -------------------------------------------------------------------------------

def bert_weights(draw, positions, types, norm_leaves):
    weight, bias = norm_leaves

    def norm(name):
        return {f"{name}.{weight}": draw.vector(WIDTH, 0.2, 1.0),
                f"{name}.{bias}": draw.vector(WIDTH)}

    def dense(name, out, into):
        return {f"{name}.weight": draw.matrix(out, into), f"{name}.bias": draw.vector(out)}

    tensors = {"embeddings.word_embeddings.weight": draw.matrix(VOCABULARY, WIDTH),
               "embeddings.position_embeddings.weight": draw.matrix(positions, WIDTH),
               "embeddings.token_type_embeddings.weight": draw.matrix(types, WIDTH),
               **norm("embeddings.LayerNorm")}
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        for name in ("query", "key", "value"):
            tensors.update(dense(f"{layer}.attention.self.{name}", WIDTH, WIDTH))
        tensors.update(dense(f"{layer}.attention.output.dense", WIDTH, WIDTH))
        tensors.update(norm(f"{layer}.attention.output.LayerNorm"))
        tensors.update(dense(f"{layer}.intermediate.dense", FFN, WIDTH))
        tensors.update(dense(f"{layer}.output.dense", WIDTH, FFN))
        tensors.update(norm(f"{layer}.output.LayerNorm"))
    return tensors


def bert_forward(w, tokens, mask, types, offset, epsilon, norm_leaves):
    """Hidden states of one row's valid tokens: norms after the residual sums (1810.04805)."""

    def norm(x, name):
        return layer_norm(x, w[f"{name}.{norm_leaves[0]}"], w[f"{name}.{norm_leaves[1]}"], epsilon)

    def dense(x, name):
        return linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    states = []
    for place, (token, kind) in enumerate(zip(tokens, types)):
        x = add(w["embeddings.word_embeddings.weight"][token],
                w["embeddings.position_embeddings.weight"][offset + place])
        x = add(x, w["embeddings.token_type_embeddings.weight"][kind])
        states.append(norm(x, "embeddings.LayerNorm"))
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        q, k, v = ([dense(x, f"{layer}.attention.self.{name}") for x in states]
                   for name in ("query", "key", "value"))
        mixed = attention(q, k, v, HEADS, HEADS, lambda i, j: mask[j] == 1)
        states = [norm(add(x, dense(m, f"{layer}.attention.output.dense")),
                       f"{layer}.attention.output.LayerNorm") for x, m in zip(states, mixed)]
        inner = [[gelu(value) for value in dense(x, f"{layer}.intermediate.dense")] for x in states]
        states = [norm(add(x, dense(y, f"{layer}.output.dense")), f"{layer}.output.LayerNorm")
                  for x, y in zip(states, inner)]
    return [state for state, valid in zip(states, mask) if valid]


def encoder_rows(padding):
    return {"tokens": [[2, 7, 4, 9, 3], [5, 8, 3, padding, padding]],
            "mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
            "token_types": [[0] * 5, [0] * 5]}


def encoder_config(model_type, positions, types, epsilon, padding):
    return {"model_type": model_type, "vocab_size": VOCABULARY, "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": FFN,
            "hidden_act": "gelu", "max_position_embeddings": positions, "type_vocab_size": types,
            "layer_norm_eps": epsilon, "pad_token_id": padding,
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02, "position_embedding_type": "absolute"}


def make_bert():
    """As in the first files: a prefix, norms with gamma and beta, heads, a buffer."""
    draw, leaves, epsilon = Draw(1), ("gamma", "beta"), 1e-12
    w = bert_weights(draw, POSITIONS, 2, leaves)
    rows = encoder_rows(0)

    def hidden(types):
        return [bert_forward(w, tokens, mask, kinds, 0, epsilon, leaves)
                for tokens, mask, kinds in zip(rows["tokens"], rows["mask"], types)]

    other = [[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]]
    expected = {**rows, "hidden": hidden(rows["token_types"]), "other_token_types": other,
                "hidden_other_types": hidden(other)}
    tensors = {f"bert.{name}": tensor for name, tensor in w.items()}
    tensors["bert.pooler.dense.weight"] = draw.matrix(WIDTH, WIDTH)
    tensors["bert.pooler.dense.bias"] = draw.vector(WIDTH)
    tensors["cls.predictions.bias"] = draw.vector(VOCABULARY)
    write_folder("bert", encoder_config("bert", POSITIONS, 2, epsilon, 0), tensors, expected,
                 integers={"bert.embeddings.position_ids": [list(range(POSITIONS))]})


def make_roberta():
    """Positions begin after the row of the padding token, 1."""
    draw, leaves, epsilon, offset = Draw(2), ("weight", "bias"), 1e-5, 2
    w = bert_weights(draw, POSITIONS + offset, 1, leaves)
    rows = encoder_rows(1)
    hidden = [bert_forward(w, tokens, mask, types, offset, epsilon, leaves) for tokens, mask, types
              in zip(rows["tokens"], rows["mask"], rows["token_types"])]
    tensors = {f"roberta.{name}": tensor for name, tensor in w.items()}
    tensors["lm_head.bias"] = draw.vector(VOCABULARY)
    tensors["lm_head.dense.weight"] = draw.matrix(WIDTH, WIDTH)
    write_folder("roberta", encoder_config("roberta", POSITIONS + offset, 1, epsilon, 1), tensors,
                 {**rows, "hidden": hidden})


# --- GPT-2 ------------------------------------------------------------------------------------------

def gpt2_weights(draw):
    def norm(name):
        return {f"{name}.weight": draw.vector(WIDTH, 0.2, 1.0), f"{name}.bias": draw.vector(WIDTH)}

    def conv(name, into, out):  # Conv1D: the weight is [in, out]
        return {f"{name}.weight": draw.matrix(into, out), f"{name}.bias": draw.vector(out)}

    tensors = {"wte.weight": draw.matrix(VOCABULARY, WIDTH),
               "wpe.weight": draw.matrix(POSITIONS, WIDTH)}
    for n in range(LAYERS):
        tensors.update(norm(f"h.{n}.ln_1"))
        tensors.update(conv(f"h.{n}.attn.c_attn", WIDTH, 3 * WIDTH))
        tensors.update(conv(f"h.{n}.attn.c_proj", WIDTH, WIDTH))
        tensors.update(norm(f"h.{n}.ln_2"))
        tensors.update(conv(f"h.{n}.mlp.c_fc", WIDTH, FFN))
        tensors.update(conv(f"h.{n}.mlp.c_proj", FFN, WIDTH))
    tensors.update(norm("ln_f"))
    return tensors


def gpt2_forward(w, tokens, epsilon):
    def norm(x, name):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], epsilon)

    def conv(x, name):
        return linear(x, transposed(w[f"{name}.weight"]), w[f"{name}.bias"])

    states = [add(w["wte.weight"][token], w["wpe.weight"][place])
              for place, token in enumerate(tokens)]
    for n in range(LAYERS):
        fused = [conv(norm(x, f"h.{n}.ln_1"), f"h.{n}.attn.c_attn") for x in states]
        q, k, v = ([x[part * WIDTH:(part + 1) * WIDTH] for x in fused] for part in range(3))
        mixed = attention(q, k, v, HEADS, HEADS, lambda i, j: j <= i)
        states = [add(x, conv(m, f"h.{n}.attn.c_proj")) for x, m in zip(states, mixed)]
        inner = [[gelu_tanh(value) for value in conv(norm(x, f"h.{n}.ln_2"), f"h.{n}.mlp.c_fc")]
                 for x in states]
        states = [add(x, conv(y, f"h.{n}.mlp.c_proj")) for x, y in zip(states, inner)]
    return [norm(x, "ln_f") for x in states]


def decoder_expected(rows, hidden, head):
    return {"tokens": rows, "mask": [[1] * 5 for _ in rows], "hidden": hidden,
            "logits": [[linear(x, head) for x in row] for row in hidden]}


ROWS = [[2, 7, 4, 9, 3], [5, 8, 3, 1, 10]]


def make_gpt2():
    """As the first file of GPT-2: no prefix, and the causal masks as buffers."""
    draw, epsilon = Draw(3), 1e-5
    w = gpt2_weights(draw)
    expected = decoder_expected(ROWS, [gpt2_forward(w, row, epsilon) for row in ROWS],
                                w["wte.weight"])
    causal = [[[[float(j <= i) for j in range(POSITIONS)] for i in range(POSITIONS)]]]
    tensors = {**w, **{f"h.{n}.attn.bias": causal for n in range(LAYERS)}}
    config = {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": POSITIONS,
              "n_ctx": POSITIONS, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS,
              "n_inner": FFN, "activation_function": "gelu_new", "layer_norm_epsilon": epsilon,
              "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1}
    write_folder("gpt2", config, tensors, expected)


# --- Llama ------------------------------------------------------------------------------------------

KV_HEADS = 1


def llama_weights(draw, tied):
    tensors = {"embed_tokens.weight": draw.matrix(VOCABULARY, WIDTH)}
    for n in range(LAYERS):
        layer = f"layers.{n}"
        tensors[f"{layer}.input_layernorm.weight"] = draw.vector(WIDTH, 0.2, 1.0)
        for name, out, into in (("self_attn.q_proj", WIDTH, WIDTH),
                                ("self_attn.k_proj", KV_HEADS * HEAD, WIDTH),
                                ("self_attn.v_proj", KV_HEADS * HEAD, WIDTH),
                                ("self_attn.o_proj", WIDTH, WIDTH), ("mlp.gate_proj", FFN, WIDTH),
                                ("mlp.up_proj", FFN, WIDTH), ("mlp.down_proj", WIDTH, FFN)):
            tensors[f"{layer}.{name}.weight"] = draw.matrix(out, into)
        tensors[f"{layer}.post_attention_layernorm.weight"] = draw.vector(WIDTH, 0.2, 1.0)
    tensors["norm.weight"] = draw.vector(WIDTH, 0.2, 1.0)
    if not tied:
        tensors["lm_head.weight"] = draw.matrix(VOCABULARY, WIDTH)
    return tensors


def frequencies(theta, scaling):
    """Angle per position of each pair of a head's values; Llama 3 slows the low ones down."""
    result = []
    for pair in range(HEAD // 2):
        frequency = theta ** (-2.0 * pair / HEAD)
        if scaling:
            wavelength = 2.0 * math.pi / frequency
            original = scaling["original_max_position_embeddings"]
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            if wavelength > original / low:
                frequency /= scaling["factor"]
            elif wavelength >= original / high:
                smooth = (original / wavelength - low) / (high - low)
                frequency = (1.0 - smooth) * frequency / scaling["factor"] + smooth * frequency
        result.append(frequency)
    return result


def rotated(x, place, angles):
    """Turns the pairs (c, c + half) of each head by place * frequency."""
    half = HEAD // 2
    result = list(x)
    for start in range(0, len(x), HEAD):
        for c in range(half):
            a, b = x[start + c], x[start + c + half]
            cos, sin = math.cos(place * angles[c]), math.sin(place * angles[c])
            result[start + c] = a * cos - b * sin
            result[start + c + half] = b * cos + a * sin
    return result


def llama_forward(w, tokens, epsilon, angles):
    states = [w["embed_tokens.weight"][token] for token in tokens]
    for n in range(LAYERS):
        layer = f"layers.{n}"

        def dense(x, name):
            return linear(x, w[f"{layer}.{name}.weight"])

        normed = [rms_norm(x, w[f"{layer}.input_layernorm.weight"], epsilon) for x in states]
        q = [rotated(dense(x, "self_attn.q_proj"), i, angles) for i, x in enumerate(normed)]
        k = [rotated(dense(x, "self_attn.k_proj"), i, angles) for i, x in enumerate(normed)]
        v = [dense(x, "self_attn.v_proj") for x in normed]
        mixed = attention(q, k, v, HEADS, KV_HEADS, lambda i, j: j <= i)
        states = [add(x, dense(m, "self_attn.o_proj")) for x, m in zip(states, mixed)]
        normed = [rms_norm(x, w[f"{layer}.post_attention_layernorm.weight"], epsilon)
                  for x in states]
        inner = [[silu(g) * u for g, u in zip(dense(x, "mlp.gate_proj"), dense(x, "mlp.up_proj"))]
                 for x in normed]
        states = [add(x, dense(y, "mlp.down_proj")) for x, y in zip(states, inner)]
    return [rms_norm(x, w["norm.weight"], epsilon) for x in states]


def make_llama(folder, seed, tied, theta, scaling, dtype):
    epsilon = 1e-5
    w = llama_weights(Draw(seed, dtype), tied)
    angles = frequencies(theta, scaling)
    head = w["embed_tokens.weight"] if tied else w["lm_head.weight"]
    expected = decoder_expected(ROWS, [llama_forward(w, row, epsilon, angles) for row in ROWS],
                                head)
    tensors = {name if name.startswith("lm_head") else f"model.{name}": tensor
               for name, tensor in w.items()}
    config = {"model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH,
              "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
              "num_key_value_heads": KV_HEADS, "intermediate_size": FFN,
              "max_position_embeddings": POSITIONS, "hidden_act": "silu", "rms_norm_eps": epsilon,
              "rope_theta": theta, "rope_scaling": scaling, "attention_bias": False,
              "mlp_bias": False, "tie_word_embeddings": tied}
    write_folder(folder, config, tensors, expected, dtype)


if __name__ == "__main__":
    make_bert()
    make_roberta()
    make_gpt2()
    make_llama("llama", 4, False, 10000.0, None, "F32")
    # A tied head, values of 16 bits and angles of which one is blended and one slowed down.
    make_llama("llama3", 5, True, 100.0,
               {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16}, "BF16")
