"""README's two lists of operators, those without a schedule for GPUs and those with one, are what inspect says:
plain_operators.py LAPIDARY README."""
import json
import os
import re
import subprocess
import sys
import tempfile

import onnx
import onnx.parser

HEAD = '<ir_version: 10, opset_import: ["" : 26, "ai.onnx.ml" : 3]>\n'
PLAIN = HEAD + """
plain (float[N, 16, 32, 32] x, float[N, 64] z, float[1, N, 4] b, float[1, 3, N] s)
    => (float[N, 16, 15, 15] max, float[N, 16, 15, 15] mean, float[N, 16, 15, 15] norm, float[N, 16, 32, 32] lrn,
        float[L3] each,
        int64[L4, 3] boxes, float[N, 1] tree)
{
  max = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x)
  mean = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (x)
  norm = LpPool <kernel_shape = [3, 3], strides = [2, 2]> (x)
  lrn = LRN <size = 5> (x)
  each = Unique (z)
  most = Constant <value = int64[1] {10}> ()
  boxes = NonMaxSuppression (b, s, most)
  tree = ai.onnx.ml.TreeEnsembleRegressor <
    n_targets = 1, nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2], nodes_featureids = [0, 0, 0], nodes_values = [0.5, 0.0, 0.0],
    nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0],
    target_treeids = [0, 0], target_nodeids = [1, 2], target_ids = [0, 0], target_weights = [1.0, 2.0]> (z)
}
"""
SCHEDULED = HEAD + """
scheduled (float[N, 64, 8, 8] x, float[64, 64, 3, 3] v, float[64, 16, 3, 3] w, float[64, 32, 3, 3] t, float[N, 640] z,
           int64[K] i, int64[K, 640] e, int64[K, 1] j, float[K, 640] u,
           float[1, 16, 8, 8] p, int64[1, 16, 8, 8] pooled_at, float[N, 144, 36] columns, float[S, N, 32] steps, float[1, 256, 32] wl, float[1, 256, 64] rl, float[1, 192, 32] wg, float[1, 192, 64] rg,
           float[1, 64, 32] wr, float[1, 64, 64] rr, bool[N] c)
    => (float[N, 64, 2, 2] pooled, float[N, 64, 6, 6] grouped, float[N, 32, 17, 17] wider, float[N, 64, 1, 1] mean,
        float[N, 640] sums, float[N, 640] products, float[N, 5] most, int64[N, 5] at, float[K, 640] rows, float[1, 16, 16, 16] unpooled,
        float[N, 16, 8, 8] image, float[N, 640] put, float[N, 640] put_rows, float[S, 1, N, 64] lstm,
        float[S, 1, N, 64] gru, float[S, 1, N, 64] rnn, int64[2, L] places, float[M, 640] some)
{
  seen = Conv (x, v)
  pooled = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (seen)
  grouped = Conv <group = 4> (x, w)
  wider = ConvTranspose <strides = [2, 2]> (x, t)
  mean = GlobalAveragePool (x)
  axis = Constant <value = int64 {1}> ()
  sums = CumSum (z, axis)
  products = CumProd (z, axis)
  five = Constant <value = int64[1] {5}> ()
  most, at = TopK (z, five)
  rows = Gather (z, i)
  unpooled = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (p, pooled_at)
  eight = Constant <value = int64[2] {8, 8}> ()
  three = Constant <value = int64[2] {3, 3}> ()
  image = Col2Im (columns, eight, three)
  put = ScatterElements (z, e, u)
  put_rows = ScatterND (z, j, u)
  lstm = LSTM <hidden_size = 64> (steps, wl, rl)
  gru = GRU <hidden_size = 64> (steps, wg, rg)
  rnn = RNN <hidden_size = 64> (steps, wr, rr)
  places = NonZero (z)
  some = Compress <axis = 0> (z, c)
}
"""


def operators(text):
    return {node.op_type for node in onnx.parser.parse_model(text).graph.node} - {"Constant"}


def plain(lapidary, text):
    """The operators of the model's kernels that are plain, or the host's."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx.save(onnx.parser.parse_model(text), path)
        told = subprocess.run([lapidary, "inspect", "-q", path, "--target=cuda:compute_80", "--json"], capture_output=True, text=True, check=True)
    told = json.loads(told.stdout)
    return set(told["plain_kernels"]) | set(told["host_kernels"])


def listed(readme, start):
    """The names in the sentence that begins so."""
    sentence = re.search(re.escape(start) + r"[^.]*\.", readme)[0]
    return set(re.findall(r"`(\w+)`", sentence))


def same(what, said, is_so):
    assert said == is_so, f"{what}: README says too much: {sorted(said - is_so)}, and not: {sorted(is_so - said)}"


def main():
    lapidary, readme = sys.argv[1], open(sys.argv[2]).read()
    without = listed(readme, "Such are")
    same("the model", without, operators(PLAIN))
    same("plain", without, plain(lapidary, PLAIN))
    same("the other model", listed(readme, "Not such are"), operators(SCHEDULED))
    same("scheduled", set(), plain(lapidary, SCHEDULED))


if __name__ == "__main__":
    main()
