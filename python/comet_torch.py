# SPDX-License-Identifier: MIT
"""Sparse mixtures of experts for PyTorch, computed by comet on the CPU.

    import torch, comet_torch
    mixture = comet_torch.MoE(256, 1024, gate="comet", experts=8, k=1)
    encoder.layers[3] = comet_torch.sparse_feed_forward(encoder.layers[3], gate="comet", experts=8, k=1)

The library libcomet_torch.so is looked for beside this file, or where COMET_TORCH_LIBRARY says.
"""
import operator
import os

import torch

torch.classes.load_library(
    os.environ.get("COMET_TORCH_LIBRARY")
    or os.path.join(os.path.dirname(os.path.abspath(__file__)), "libcomet_torch.so")
)

__all__ = ["MoE", "SparseEncoderLayer", "sparse_feed_forward", "regularization"]


def _whole(name, value):
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or not -2**63 <= number < 2**63:
        raise TypeError(f"comet_torch.MoE: {name} is {value}, expected a whole number of 64 bits")
    return number


def _number(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"comet_torch.MoE: {name} is {value!r}, expected a number")
    if name == "num_ids" and not (number.is_integer() and 0 <= number < 2**31):
        raise ValueError(f"comet_torch.MoE: {name} is {value!r}, expected a whole number below 2^31")
    if name in ("noise", "normalize", "softmax_all") and number not in (0, 1):
        raise ValueError(f"comet_torch.MoE: {name} is {value!r}, expected True or False")
    return number


_SIZES = ("input_dim", "hidden_dim", "output_dim", "experts", "k", "tasks", "key", "threads")
_COMMON = (*_SIZES, "gate", "activation", "dropout", "dtype")  # the others are the gate's


class MoE(torch.nn.Module):
    """A mixture of feed-forward blocks: (..., input_dim) to (..., output_dim).

    gate is a name: comet, dselect_k, static_dselect_k, top_k, balanced_top_k, sampled, remoe,
    expert_choice, hash or softmax; other options of the gate by name (gamma, entropy, ...), of top_k
    softmax_all: without it the weight of a single expert is 1, and its gate learns nothing. With tasks > 1
    each has a gate of its own, and the output is (tasks, ..., output_dim). key decides the first weights,
    noise and dropout; without one it is drawn from torch's generator. dtype is float32 or float64.
    """

    def __init__(self, input_dim, hidden_dim, output_dim=None, *, gate="comet", experts=8, k=2,
                 activation="relu", dropout=0.0, tasks=1, key=None, threads=1, dtype=torch.float32,
                 **gate_options):
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"comet_torch.MoE: dtype is {dtype}, expected torch.float32 or torch.float64")
        if key is None:
            key = torch.randint(2**62, ()).item()
        self._options = dict(
            input_dim=input_dim, hidden_dim=hidden_dim, gate=gate,
            output_dim=input_dim if output_dim is None else output_dim,
            experts=experts, k=k, activation=activation, dropout=dropout, tasks=tasks, key=key,
            threads=threads, dtype=dtype, **gate_options)
        self._connect()

    def _connect(self):
        """Makes comet's layer; parameters and buffers that are there already give it their numbers, and
        lie in its memory from now on."""
        o = self._options
        for name in ("gate", "activation"):
            if not isinstance(o[name], str):
                raise TypeError(f"comet_torch.MoE: {name} is {o[name]!r}, expected a name")
        sizes = {name: _whole(name, o[name]) for name in _SIZES}
        if sizes["tasks"] < 1:
            raise ValueError(f"comet_torch.MoE: tasks is {sizes['tasks']}, expected at least 1")
        numbers = {name: _number(name, value) for name, value in o.items() if name not in _COMMON}
        self._mixture = torch.classes.comet.MoE(
            str(o["dtype"]).split(".")[1], o["gate"], o["activation"], _number("dropout", o["dropout"]),
            sizes, numbers)
        self._penalty = None
        self._own = []
        parameters = []
        for name, tensor in self._mixture.parameters():
            module, leaf = self._place(name)
            parameter = module._parameters.get(leaf)
            if parameter is None:
                parameter = torch.nn.Parameter(tensor)
                module.register_parameter(leaf, parameter)
            else:
                tensor.copy_(parameter.data)
                parameter.data = tensor
            parameters.append(parameter)
            self._own.append((name, module, leaf, parameter))
        self._mixture.replace_parameters(parameters)
        for name, tensor in self._mixture.state():
            if name == "random":
                self._first_random = int(tensor[0])
            module, leaf = self._place(name)
            if leaf in module._buffers:
                tensor.copy_(module._buffers[leaf])
                module._buffers[leaf] = tensor
            else:
                module.register_buffer(leaf, tensor)
            self._own.append((name, module, leaf, tensor))

    def _place(self, name):
        module = self
        *parts, leaf = name.split(".")
        for part in parts:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        return module, leaf

    def forward(self, x, ids=None, mask=None):
        """Mixtures of x; mask is True for a sample and False for padding, whose mixture is 0."""
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"comet_torch.MoE: x is a {type(x).__name__}, expected a tensor")
        if x.is_nested:
            raise TypeError(_NESTED)
        for name, module, leaf, tensor in self._own:
            if getattr(module, leaf, None) is not tensor:
                raise RuntimeError(
                    f"comet_torch.MoE: {name} is another tensor than the module's own, which alone lies in "
                    "comet's memory: write numbers into it with copy_() or load_state_dict()")
        y, self._penalty = self._mixture.run(x, ids, mask, self.training)
        return y

    def regularization(self):
        """Sum of the gate's penalties in the last forward(): add it to the loss. 0 in eval()."""
        if self._penalty is None:
            raise RuntimeError("comet_torch.MoE.regularization: there was no forward() before it")
        return self._penalty

    def end_of_step(self):
        """Tells a gate that wants it (balanced_top_k, remoe) the load of the last forward()."""
        self._mixture.end_of_step()

    def summary(self):
        """What the last forward() was routed to: "2.1 experts per sample, ..."; of several tasks a line
        for each that begins with its number, "task 0: "."""
        return self._mixture.summary()

    def anneal(self, **settings):
        """Sets gamma, entropy or spread of a gate that has them."""
        numbers = {name: float(value) for name, value in settings.items()}
        self._mixture.anneal(numbers)
        self._options.update(numbers)  # copies have them, too

    def extra_repr(self):
        o = self._options
        return (f"{o['input_dim']} -> {o['output_dim']}, experts={o['experts']}, k={o['k']}, "
                f"gate={o['gate']!r}")

    def _apply(self, fn, *args, **kwargs):
        dtype = self._options["dtype"]
        moved = fn(torch.empty(1, dtype=dtype))
        if moved.dtype != dtype or moved.device.type != "cpu":
            raise TypeError(f"comet_torch.MoE: it is of {dtype} on the CPU and stays so, not {moved.dtype} on "
                            f"{moved.device}")
        if moved.is_shared():
            raise TypeError("comet_torch.MoE: its parameters lie in comet's memory, which other processes "
                            "do not share")
        return self

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        random = state_dict.get(prefix + "random")
        if self._options["gate"] == "hash" and random is not None and int(random[0]) != self._first_random:
            raise ValueError("comet_torch.MoE: the state is of a mixture of another key, from which its hash gate "
                             "made another table: make this one with that key")
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    # Copies and pickles are those of any module, with numbers of their own; comet's layer is made anew.
    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items()
                if name not in ("_mixture", "_own", "_penalty")}

    def __setstate__(self, state):
        super().__setstate__(state)
        with torch.no_grad():
            self._connect()


_NESTED = ("comet_torch: a mixture takes no nested batch, which a TransformerEncoder makes of padding in "
           "eval(): make it with enable_nested_tensor=False")


class SparseEncoderLayer(torch.nn.Module):
    """A torch.nn.TransformerEncoderLayer whose feed-forward block is a mixture; made by
    sparse_feed_forward()."""

    def __init__(self, layer, mixture):
        super().__init__()
        self.self_attn = layer.self_attn
        self.norm1, self.norm2 = layer.norm1, layer.norm2
        self.dropout1, self.dropout2 = layer.dropout1, layer.dropout2
        self.norm_first = layer.norm_first
        self.mixture = mixture

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        if src.is_nested:
            raise TypeError(_NESTED)
        if self.norm_first:
            src = src + self._attend(self.norm1(src), src_mask, src_key_padding_mask)
            return src + self._feed(self.norm2(src), src_key_padding_mask)
        src = self.norm1(src + self._attend(src, src_mask, src_key_padding_mask))
        return self.norm2(src + self._feed(src, src_key_padding_mask))

    @property
    def linear1(self):  # asked for by an encoder that is about to nest a batch
        raise TypeError(_NESTED)

    def _attend(self, x, mask, padding):
        return self.dropout1(self.self_attn(
            x, x, x, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0])

    def _feed(self, x, padding):
        mask = None
        if padding is not None:  # True, or what attention never looks at; comet's is True for a token
            mask = ~padding if padding.dtype == torch.bool else padding == 0
            if padding.dtype != torch.bool and bool((~mask & (padding > -1e4)).any()):
                raise ValueError("comet_torch: src_key_padding_mask has weights between 0 and -10000, which is "
                                 "neither a token nor padding")
            if x.dim() == 3 and not self.self_attn.batch_first:
                mask = mask.t()
        return self.dropout2(self.mixture(x, mask=mask))


def sparse_feed_forward(layer, *, gate="comet", experts=8, k=1, hidden_dim=None, **options):
    """The encoder layer with a mixture for its feed-forward block, each expert as wide as the block
    (or hidden_dim), its weights new. Attention and norms are the given layer's own."""
    if not isinstance(layer, torch.nn.TransformerEncoderLayer):
        raise TypeError(f"comet_torch: the layer is a {type(layer).__name__}, expected a TransformerEncoderLayer")
    for name in ("tasks", "output_dim"):
        if name in options:
            raise TypeError(f"comet_torch: {name} is given, but a feed-forward block has the layer's width")
    if gate == "hash":
        raise TypeError("comet_torch: the gate is hash, which wants ids that an encoder layer does not get")
    names = {torch.nn.functional.relu: "relu", torch.nn.functional.gelu: "gelu"}
    activation = names.get(layer.activation)
    if isinstance(layer.activation, torch.nn.Module):
        activation = {torch.nn.ReLU: "relu", torch.nn.GELU: "gelu"}.get(type(layer.activation))
    if activation is None or getattr(layer.activation, "approximate", "none") != "none":
        raise TypeError(f"comet_torch: the activation is {layer.activation}, expected relu or gelu (the exact one)")
    weight = layer.linear1.weight
    if weight.device.type != "cpu":
        raise TypeError(f"comet_torch: the layer is on {weight.device}; comet computes on the CPU")
    mixture = MoE(layer.linear1.in_features, layer.linear1.out_features if hidden_dim is None else hidden_dim,
                  gate=gate, experts=experts, k=k, activation=activation, dropout=layer.dropout.p,
                  dtype=weight.dtype, **options)
    return SparseEncoderLayer(layer, mixture).train(layer.training)


def regularization(model):
    """Sum of the penalties of all mixtures of a model in its last forward pass."""
    return sum((m.regularization() for m in model.modules() if isinstance(m, MoE)), torch.zeros(()))
