"""The table of operations: function name → canonical kind and argument names. Plain data, no torch.

An argument marked ``*`` is data (a tensor or a sequence of them that carries the signal); the others are parameters.
The trailing underscore of in-place forms (``relu_``) is removed before the look-up.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """Kind of a function, the names of its arguments in order, and which of them are data."""

    kind: str
    arguments: tuple[str, ...]
    data: tuple[str, ...]


_CONV = "*input weight bias stride padding dilation groups"
_TRANSPOSED = "*input weight bias stride padding output_padding groups dilation"
_MAX = "*input kernel_size stride padding dilation ceil_mode return_indices"
_AVERAGE = "*input kernel_size stride padding ceil_mode count_include_pad divisor_override"
_ADD = "*input *other alpha"
_PAIR = "*input *other"
_REDUCE = "*input dim keepdim"

_ROWS = (
    # activations
    ("relu", "relu", "*input inplace"),
    ("relu6", "relu6", "*input inplace"),
    ("threshold", "threshold _threshold", "*input threshold value inplace"),
    ("hardtanh", "hardtanh", "*input min_val max_val inplace"),
    ("clamp", "clamp clip", "*input min max"),
    ("clamp", "clamp_min", "*input min"),
    ("clamp", "clamp_max", "*input max"),
    ("leaky_relu", "leaky_relu", "*input negative_slope inplace"),
    ("rrelu", "rrelu", "*input lower upper training inplace"),
    ("prelu", "prelu", "*input weight"),
    ("elu", "elu celu", "*input alpha inplace"),
    ("elu", "selu", "*input inplace"),
    ("silu", "silu", "*input inplace"),
    ("mish", "mish", "*input inplace"),
    ("gelu", "gelu", "*input approximate"),
    ("hardswish", "hardswish", "*input inplace"),
    ("hardsigmoid", "hardsigmoid", "*input inplace"),
    ("sigmoid", "sigmoid expit", "*input"),
    ("tanh", "tanh", "*input"),
    ("softplus", "softplus", "*input beta threshold"),
    ("logsigmoid", "logsigmoid log_sigmoid", "*input"),
    ("softsign", "softsign", "*input"),
    ("shrink", "softshrink hardshrink tanhshrink", "*input lambd"),
    ("glu", "glu", "*input dim"),
    ("softmax", "softmax", "*input dim"),
    ("log_softmax", "log_softmax", "*input dim"),
    # linear maps
    ("conv", "conv1d conv2d conv3d", _CONV),
    ("conv_transpose", "conv_transpose1d conv_transpose2d conv_transpose3d", _TRANSPOSED),
    ("convolution", "convolution", "*input weight bias stride padding dilation transposed output_padding groups"),
    ("linear", "linear", "*input weight bias"),
    ("matmul", "matmul mm bmm mv dot __matmul__", _PAIR),
    ("matmul", "__rmatmul__", "*other *input"),
    ("addmm", "addmm baddbmm", "bias *mat1 *mat2"),
    # normalization
    ("batch_norm", "batch_norm", "*input running_mean running_var weight bias training momentum eps"),
    ("instance_norm", "instance_norm", "*input running_mean running_var weight bias use_input_stats momentum eps"),
    ("group_norm", "group_norm", "*input num_groups weight bias eps"),
    ("layer_norm", "layer_norm rms_norm", "*input normalized_shape weight bias eps"),
    ("local_response_norm", "local_response_norm", "*input size alpha beta k"),
    # pooling
    *((("max_pool"), f"max_pool{n}d max_pool{n}d_with_indices", _MAX) for n in (1, 2, 3)),
    ("avg_pool", "avg_pool1d avg_pool2d avg_pool3d", _AVERAGE),
    ("adaptive_avg_pool", "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d", "*input output_size"),
    *(
        ("adaptive_max_pool", f"adaptive_max_pool{n}d adaptive_max_pool{n}d_with_indices", "*input output_size")
        for n in (1, 2, 3)
    ),
    ("mean", "mean", _REDUCE),
    ("sum", "sum", _REDUCE),
    ("max", "amax max", _REDUCE),
    # arithmetic
    ("add", "add __add__ __iadd__", _ADD),
    ("add", "__radd__", "*other *input"),
    ("sub", "sub subtract __sub__ __isub__", _ADD),
    ("sub", "rsub __rsub__", "*other *input"),
    ("mul", "mul multiply __mul__ __imul__ __rmul__", _PAIR),
    ("div", "div divide true_divide __truediv__ __itruediv__", _PAIR),
    ("div", "__rdiv__ __rtruediv__", "*other *input"),
    ("neg", "neg negative __neg__", "*input"),
    ("pointwise", "abs exp expm1 log log1p sqrt rsqrt square reciprocal sign erf sin cos __abs__ nan_to_num", "*input"),
    ("pointwise", "pow float_power __pow__ __rpow__ __ipow__ maximum minimum fmax fmin", _PAIR),
    ("pointwise", "where", "condition *input *other"),
    ("pointwise", "addcmul addcdiv", "*input *tensor1 *tensor2 value"),
    ("pointwise", "lerp", "*input *end *weight"),
    # joining and cutting
    ("cat", "cat concat concatenate", "*tensors dim"),
    ("stack", "stack", "*tensors dim"),
    ("chunk", "chunk", "*input chunks dim"),
    ("chunk", "split split_with_sizes tensor_split", "*input split_size_or_sections dim"),
    ("unbind", "unbind", "*input dim"),
    ("getitem", "__getitem__", "*input index"),
    ("setitem", "__setitem__", "*input index *value"),
    ("narrow", "narrow", "*input dim start length"),
    ("select", "select", "*input dim index"),
    ("copy", "copy", "*input *other"),
    # shape and place
    ("pad", "pad", "*input pad mode value"),
    ("interpolate", "interpolate upsample", "*input size scale_factor mode align_corners recompute antialias"),
    ("pixel_shuffle", "pixel_shuffle", "*input upscale_factor"),
    ("pixel_unshuffle", "pixel_unshuffle", "*input downscale_factor"),
    ("reshape", "flatten view reshape view_as reshape_as unflatten squeeze unsqueeze ravel", "*input"),
    ("permute", "permute", "*input dims"),
    ("transpose", "transpose swapaxes swapdims", "*input dim0 dim1"),
    ("transpose", "t T mT adjoint", "*input"),
    ("expand", "expand expand_as", "*input"),
    ("dropout", "dropout", "*input p training inplace"),
    (
        "dropout",
        "dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout",
        "*input p training",
    ),
    ("channel_shuffle", "channel_shuffle native_channel_shuffle", "*input groups"),
    ("identity", "contiguous clone to type type_as float double half bfloat16 cpu cuda data detach", "*input"),
    ("identity", "alias requires_grad retain_grad positive lift_fresh", "*input"),
)


def _signature(kind: str, arguments: str) -> Signature:
    words = arguments.split()
    return Signature(kind, tuple(w.lstrip("*") for w in words), tuple(w[1:] for w in words if w.startswith("*")))


SIGNATURES = {name: _signature(kind, arguments) for kind, names, arguments in _ROWS for name in names.split()}

INPLACE_OPERATORS = frozenset({"__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__setitem__"})
ALIASES = {"axis": "dim", "axes": "dims", "self": "input", "a": "input", "x": "input", "exponent": "other"}
TORCH_BATCH_NORM = _signature(
    "batch_norm", "*input weight bias running_mean running_var training momentum eps cudnn_enabled"
)
