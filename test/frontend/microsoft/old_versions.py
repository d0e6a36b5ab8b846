"""ONNX's operators as their first versions have them, which ONNX Runtime mostly has not: expected by numpy."""
import numpy as np
from case import Case, Make, scalar

make = Make(7)
x, y = make.normal(2, 3, 4, 5), make.normal(2, 3, 4, 5)
wide, row, channel = make.normal(2, 6), make.normal(5), make.normal(3)
positive = np.abs(y) + 0.5
truth, other = make.normal(2, 3, 4) > 0, make.normal(4) > 0


def old(operator, opset, inputs, expected, constants=(), **attributes):
    expected = [np.asarray(array) for array in (expected if isinstance(expected, list) else [expected])]
    return Case(operator, list(inputs), attributes, domain="", opset=opset, constants=constants, expected=expected, outputs=len(expected),
                note=f"opset {opset}")


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalized(x, axes):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def batch_norm(x, scale, bias, mean, variance):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scale, bias, mean, variance = (v.reshape(shape) if v.ndim == 1 else v for v in (scale, bias, mean, variance))
    return ((x - mean) / np.sqrt(variance + 1e-5) * scale + bias).astype(np.float32)


def windows(x, size, function):
    return function(np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3)), axis=(-2, -1))


def linear_upsampled(x, axis, factor):
    extent = x.shape[axis]
    at = np.minimum(np.arange(extent * factor) / factor, extent - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, extent - 1)
    share = (at - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return (x.take(low, axis) * (1 - share) + x.take(high, axis) * share).astype(np.float32)


per_channel = [make.normal(3), make.normal(3), make.normal(3), np.abs(make.normal(3)) + 0.5]
per_element = [make.normal(3, 4, 5), make.normal(3, 4, 5), make.normal(3, 4, 5), np.abs(make.normal(3, 4, 5)) + 0.5]
a, b, c = make.normal(3, 4), make.normal(4, 5), make.normal(5)
indices = np.array([[1, 0, 2], [0, 2, 1]])
scattered = np.zeros((3, 3), np.float32)
np.put_along_axis(scattered, indices, wide[:, :3], 0)
order = np.argsort(-wide, 1)[:, :3]
float_as_text, int_as_text = b"FLOAT", "INT32"

CASES = [
    *(old(name, opset, [x, positive], function(x, positive))
      for name, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)) for opset in (1, 6)),
    *(old(name, 6, [x, channel], function(x, channel.reshape(3, 1, 1)), broadcast=1, axis=1)
      for name, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide))),
    old("Add", 6, [x, row], x + row, broadcast=1), old("Mul", 1, [x, scalar(3)], x * 3, broadcast=1, consumed_inputs=[0, 0]),
    old("Pow", 1, [positive, row], positive ** row, broadcast=1), old("Pow", 1, [positive, channel], positive ** channel.reshape(3, 1, 1), broadcast=1, axis=1),
    old("And", 1, [truth, other], truth & other, broadcast=1), old("Or", 1, [truth, other[:3]], truth | other[:3].reshape(3, 1), broadcast=1, axis=1),
    old("Xor", 1, [truth, truth], truth ^ truth), old("Equal", 1, [indices, indices.T[:, :2].T.copy()], indices == indices.T[:, :2].T),
    old("Greater", 1, [x, row], x > row, broadcast=1), old("Less", 1, [x, channel], x < channel.reshape(3, 1, 1), broadcast=1, axis=1),
    old("Max", 1, [x, y], np.maximum(x, y)), old("Min", 1, [x, y], np.minimum(x, y)), old("Sum", 1, [x, y, x], x + y + x), old("Mean", 1, [x, y], (x + y) / 2),
    *(old(name, 1, [positive], function(positive), consumed_inputs=[0])
      for name, function in (("Abs", np.abs), ("Ceil", np.ceil), ("Exp", np.exp), ("Floor", np.floor), ("Log", np.log), ("Neg", np.negative),
                             ("Reciprocal", np.reciprocal), ("Relu", relu), ("Sqrt", np.sqrt), ("Tanh", np.tanh))),
    old("Sigmoid", 1, [x], 1 / (1 + np.exp(-x))), old("Elu", 1, [x], np.where(x < 0, np.exp(x) - 1, x)),
    old("LeakyRelu", 1, [x], np.where(x < 0, x * np.float32(0.01), x)), old("HardSigmoid", 1, [x], np.clip(x * 0.2 + 0.5, 0, 1).astype(np.float32)),
    old("Selu", 1, [x], np.float32(1.0507) * np.where(x > 0, x, np.float32(1.6732) * (np.exp(x) - 1)), alpha=1.6732, gamma=1.0507),
    old("PRelu", 1, [x, np.abs(channel)], np.where(x < 0, x * np.abs(channel).reshape(3, 1, 1), x)), old("PRelu", 6, [x, scalar([0.5])], np.where(x < 0, x / 2, x)),
    old("Clip", 1, [x], np.clip(x, -0.5, 0.25), min=-0.5, max=0.25), old("Clip", 6, [x], np.clip(x, -0.5, np.inf), min=-0.5), old("Clip", 1, [x], x),
    old("Softmax", 1, [x], softmax(x.reshape(2, -1)).reshape(x.shape)), old("Softmax", 1, [x], softmax(x.reshape(6, -1)).reshape(x.shape), axis=2),
    old("LogSoftmax", 1, [wide], np.log(softmax(wide))), old("Hardmax", 1, [wide], (wide == wide.max(1, keepdims=True)).astype(np.float32)),
    old("Cast", 1, [x * 9], (x * 9).astype(np.int32), to=int_as_text), old("Cast", 1, [indices], indices.astype(np.float32), to=float_as_text),
    old("Cast", 6, [indices], indices.astype(np.float32), to=1),
    old("Dropout", 1, [x], x, is_test=1), old("Dropout", 6, [x], x, is_test=1), old("Dropout", 7, [x], x), old("Dropout", 10, [x], [x, np.ones(x.shape, bool)]),
    old("BatchNormalization", 1, [x, *per_channel], batch_norm(x, *per_channel), is_test=1, consumed_inputs=[0, 0, 0, 1, 1]),
    old("BatchNormalization", 6, [x, *per_channel], batch_norm(x, *per_channel), is_test=1),
    old("BatchNormalization", 7, [x, *per_channel], batch_norm(x, *per_channel)), old("BatchNormalization", 9, [x, *per_channel], batch_norm(x, *per_channel)),
    old("BatchNormalization", 7, [x, *per_element], batch_norm(x, *per_element), spatial=0),
    old("InstanceNormalization", 1, [x, channel, row[:3]], normalized(x, (2, 3)) * channel.reshape(3, 1, 1) + row[:3].reshape(3, 1, 1)),
    old("Gemm", 1, [a, b, c], a @ b + c, broadcast=1), old("Gemm", 6, [a.T.copy(), b.T.copy(), c], 2 * (a @ b) + 3 * c, broadcast=1, transA=1, transB=1, alpha=2.0, beta=3.0),
    old("Gemm", 7, [a, b, c], a @ b + c), old("MatMul", 1, [a, b], a @ b),
    old("Concat", 1, [x, y], np.concatenate([x, y], 1)), old("Concat", 4, [x, y], np.concatenate([x, y], 2), axis=2),
    old("Reshape", 1, [x], x.reshape(2, 3, 20), shape=[0, 3, -1], consumed_inputs=[0]), old("Reshape", 5, [x, np.array([0, -1, 5])], x.reshape(2, 12, 5), constants=(1,)),
    old("Flatten", 1, [x], x.reshape(6, 20), axis=2), old("Squeeze", 1, [x[:1]], x[0], axes=[0]), old("Unsqueeze", 1, [x], x[:, None, :, :, :, None], axes=[1, 5]),
    old("Transpose", 1, [a], a.T), old("Expand", 8, [row, np.array([2, 1])], np.tile(row, (2, 1)), constants=(1,)),
    old("Split", 1, [wide], [wide[:, :1], wide[:, 1:]], split=[1, 5], axis=1), old("Split", 1, [wide, scalar([2, 4])], [wide[:, :2], wide[:, 2:]], constants=(1,), axis=1),
    old("Split", 2, [wide], [wide[:1], wide[1:]]), old("Split", 11, [wide], [wide[:, :2], wide[:, 2:]], split=[2, 4], axis=-1), old("Split", 13, [wide, np.array([2, 4])], [wide[:, :2], wide[:, 2:]], constants=(1,), axis=1),
    old("Slice", 1, [x], x[:, 1:3, :, -2:], starts=[1, -2], ends=[3, 1000], axes=[1, 3]), old("Slice", 1, [x], x[1:, :2], starts=[1, 0], ends=[2, 2]),
    old("Slice", 10, [x, np.array([3]), np.array([0]), np.array([3]), np.array([-1])], x[..., 3:0:-1], constants=(1, 2, 3, 4)),
    old("Gather", 1, [x, indices % 2], x.take(indices % 2, 0)), old("Scatter", 9, [np.zeros((3, 3), np.float32), indices, wide[:, :3].copy()], scattered),
    old("Tile", 1, [wide, scalar(3), scalar(1)], np.tile(wide, (1, 3)), constants=(1, 2)), old("Tile", 6, [wide, np.array([2, 3])], np.tile(wide, (2, 3)), constants=(1,)),
    old("Pad", 1, [wide], np.pad(wide, [(1, 0), (0, 2)], constant_values=1.5), paddings=[1, 0, 0, 2], value=1.5), old("Pad", 2, [wide], np.pad(wide, [(0, 1), (2, 0)], "edge"), pads=[0, 2, 1, 0], mode="edge"),
    old("Pad", 2, [wide], np.pad(wide, [(1, 0), (2, 3)], "reflect"), pads=[1, 2, 0, 3], mode="reflect"), old("Pad", 11, [wide, np.array([1, 0, 0, 2]), scalar(7)], np.pad(wide, [(1, 0), (0, 2)], constant_values=7), constants=(1, 2)),
    old("TopK", 1, [wide], [np.take_along_axis(wide, order, 1), order], k=3), old("TopK", 10, [wide, np.array([3])], [np.take_along_axis(wide, order, 1), order], constants=(1,)),
    old("ArgMax", 1, [x], x.argmax(1)[:, None], axis=1), old("ArgMin", 1, [x], x.argmin(2), axis=2, keepdims=0),
    old("ReduceSum", 1, [x], x.sum((1, 3), keepdims=True), axes=[1, 3]), old("ReduceMean", 1, [x], x.mean(keepdims=True)), old("ReduceL2", 1, [x], np.sqrt((x * x).sum(2)), axes=[2], keepdims=0),
    old("ReduceMax", 11, [x], x.max(-1, keepdims=True), axes=[-1]), old("ReduceLogSumExp", 1, [x], np.log(np.exp(x).sum(1, keepdims=True)), axes=[1]),
    old("GlobalAveragePool", 1, [x], x.mean((2, 3), keepdims=True)), old("GlobalMaxPool", 1, [x], x.max((2, 3), keepdims=True)),
    old("GlobalLpPool", 1, [x], (np.abs(x) ** 3).sum((2, 3), keepdims=True) ** np.float32(1 / 3), p=3.0),
    old("LpPool", 1, [x], windows(np.abs(x) ** 2.5, (2, 2), np.sum) ** np.float32(1 / 2.5), p=2.5, kernel_shape=[2, 2]), old("LpPool", 2, [x], windows(x * x, (2, 3), np.sum) ** 0.5, p=2, kernel_shape=[2, 3]),
    old("LpPool", 1, [x], windows(x * x, (2, 2), np.sum) ** 0.5, kernel_shape=[2, 2]),
    old("MaxPool", 1, [x], windows(x, (2, 2), np.max), kernel_shape=[2, 2]), old("MaxPool", 8, [x], windows(x, (2, 2), np.max), kernel_shape=[2, 2]),
    old("AveragePool", 1, [x], windows(x, (3, 2), np.mean), kernel_shape=[3, 2]), old("AveragePool", 7, [x], windows(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), np.mean), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    old("Upsample", 1, [x], x.repeat(2, 2).repeat(3, 3), height_scale=2.0, width_scale=3.0), old("Upsample", 7, [x], x.repeat(2, 2).repeat(3, 3), scales=[1.0, 1.0, 2.0, 3.0]),
    old("Upsample", 9, [x, scalar([1, 1, 2, 3])], x.repeat(2, 2).repeat(3, 3), constants=(1,)), old("Resize", 10, [x, scalar([1, 1, 2, 3])], x.repeat(2, 2).repeat(3, 3), constants=(1,)),
    old("Upsample", 1, [x], linear_upsampled(linear_upsampled(x, 2, 2), 3, 3), mode="bilinear", height_scale=2.0, width_scale=3.0),
    old("Upsample", 7, [x], linear_upsampled(linear_upsampled(x, 2, 2), 3, 3), mode="linear", scales=[1.0, 1.0, 2.0, 3.0]),
    old("Upsample", 9, [x, scalar([1, 1, 2, 3])], linear_upsampled(linear_upsampled(x, 2, 2), 3, 3), constants=(1,), mode="linear"),
    old("Resize", 10, [x, scalar([1, 1, 2, 3])], linear_upsampled(linear_upsampled(x, 2, 2), 3, 3), constants=(1,), mode="linear"),
    old("OneHot", 9, [np.array([1, 0, 2]), np.array(4), scalar([2, 5])], np.where(np.eye(4)[[1, 0, 2]] == 1, 5, 2).astype(np.float32), constants=(1,)),
    old("LpNormalization", 1, [wide], wide / np.sqrt((wide * wide).sum(1, keepdims=True))),
    old("LRN", 1, [x], x / (1 + np.float32(1e-4) / 3 * np.stack([(x * x)[:, max(0, i - 1):i + 2].sum(1) for i in range(3)], 1)) ** 0.75, size=3),
    old("Identity", 1, [x], x), old("Shape", 1, [x], np.array(x.shape)), old("Size", 1, [x], np.array(x.size)), old("DepthToSpace", 1, [x[:, :1].repeat(4, 1)], np.repeat(np.repeat(x[:, :1], 2, 2), 2, 3), blocksize=2),
]
