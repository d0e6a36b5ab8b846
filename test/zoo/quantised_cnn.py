"""A small convolutional network of quantised numbers, QDQ as exporters write it: a first layer, depthwise layers of all
strides, groups, weights with zero points, residual sums, pools and a classifier."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    def __init__(self, seed=0, codes=np.uint8):
        self.rng, self.codes = np.random.default_rng(seed), codes
        self.nodes, self.initializers, self.count = [], [], 0

    def constant(self, array):
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, operator, inputs, **attributes):
        self.count += 1
        name = f"{operator.lower()}_{self.count}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def quantised(self, x, scale, zero=128):
        zero = self.codes(zero if self.codes == np.uint8 else zero - 128)
        scale, zero = self.constant(np.float32(scale)), self.constant(zero)
        return self.op("DequantizeLinear", [self.op("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weights(self, shape, dtype=np.int8, zeros=None, by_channel=True):
        limits = np.iinfo(dtype)
        codes = self.rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        fan = int(np.prod(shape[1:]))
        scales = self.rng.uniform(0.5, 1.5, shape[0] if by_channel else ()).astype(np.float32) / (60 * np.sqrt(fan))
        if zeros is None:
            zeros = 0 if dtype == np.int8 else 128
        zeros = np.broadcast_to(np.asarray(zeros, dtype), scales.shape)
        return self.op("DequantizeLinear", [self.constant(codes), self.constant(scales.astype(np.float32)), self.constant(zeros)], axis=0)

    def conv(self, x, outputs, channels, kernel=3, stride=1, group=1, relu=True, scale=0.02, **weights):
        w = self.weights((outputs, channels // group, kernel, kernel), **weights)
        bias = self.constant(self.rng.normal(size=outputs).astype(np.float32) / 4)
        y = self.op("Conv", [x, w, bias], group=group, strides=[stride] * 2, pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2)
        return self.quantised(self.op("Relu", [y]), scale, 0) if relu else self.quantised(y, scale, 131)

    def model(self, x_shape, y):
        graph = helper.make_graph(self.nodes, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
                                  [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)], self.initializers)
        return onnx.shape_inference.infer_shapes(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]))


def small(codes=np.uint8):
    net = Network(codes=codes)
    x = net.conv(net.quantised("x", 0.02, 120), 16, 3, stride=2)
    x = net.conv(x, 16, 16, group=16)                                                   # depthwise
    a = net.conv(x, 24, 16, kernel=1, relu=False)
    b = net.conv(a, 24, 24, kernel=5, group=24, dtype=np.uint8)
    b = net.conv(b, 24, 24, kernel=1, relu=False, dtype=np.uint8, zeros=np.arange(24) + 100)  # weights with zero points
    x = net.quantised(net.op("Add", [a, b]), 0.03)
    x = net.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.conv(x, 48, 24, group=3, stride=2)                                          # groups
    x = net.conv(x, 48, 48, group=48, dtype=np.int8, zeros=np.arange(48) - 20)          # depthwise, with zero points
    x = net.op("Flatten", [net.quantised(net.op("GlobalAveragePool", [x]), 0.01, 0)])
    w = net.op("Transpose", [net.weights((10, 48), zeros=3, by_channel=False)], perm=[1, 0])
    return net.model([1, 3, 48, 40], net.quantised(net.op("MatMul", [x, w]), 0.05))


def mobile(quantised=True, size=224):
    """As MobileNetV2 is built: for the time of depthwise layers of bytes beside those of floats."""
    net = Network()
    if not quantised:
        net.quantised = lambda x, scale, zero=128: x
        net.weights = lambda shape, **_: net.constant((net.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))
    x, channels = net.conv(net.quantised("x", 0.02, 120), 32, 3, stride=2), 32
    for expand, outputs, repeats, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(repeats):
            wide, step = channels * expand, stride if i == 0 else 1
            y = net.conv(x, wide, channels, kernel=1) if expand > 1 else x
            y = net.conv(net.conv(y, wide, wide, stride=step, group=wide), outputs, wide, kernel=1, relu=False)
            x = net.quantised(net.op("Add", [x, y]), 0.03) if step == 1 and channels == outputs else y
            channels = outputs
    x = net.conv(x, 1280, channels, kernel=1)
    return net.model([1, 3, size, size], net.op("Flatten", [net.op("GlobalAveragePool", [x])]))
