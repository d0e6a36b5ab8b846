// What classifiers and regressors of ai.onnx.ml do with their scores. Where ONNX's text leaves the meaning open, it is
// ONNX Runtime's.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

// A classifier's input as rows [N, F] of `dtype`; a vector is one row.
Value* rows_of(Node&, Value* x, DType dtype);
// Throws on a name ONNX does not have.
void check_post_transform(const std::string&);
// NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT over scores [N, E].
Value* post_transformed(Node&, Value* scores, const std::string& transform);
Value* probit(Node&, Value* x);
Value* logistic(Node&, Value* x);
// Scores of one column become two: that of no and that of yes.
Value* beside(Node&, Value* no, Value* yes);
// The probabilities of two classes of which the second has this score; of a probability the first has what is left.
Value* of_one_score(Node&, Value* score, const std::string& transform, bool is_probability);
// The labels of classifiers; in place of strings 0, 1, …, which with_texts turns into the strings of result 0 at the
// end.
std::vector<int64_t> class_labels(Node&, const char* integers, const char* strings);
std::vector<Value*> with_texts(Node&, const char* strings, std::vector<Value*> results);
// The first of the greatest, over the last axis: i64[N].
Value* first_greatest(Node&, Value* scores);
// labels[index] as i64.
Value* labels_at(Node&, const std::vector<int64_t>& labels, Value* index);
// Elements of a tensor built of numbers.
Value* numbers(Node&, DType, std::vector<int64_t> shape, const std::vector<double>& values);
Value* whole_numbers(Node&, std::vector<int64_t> shape, const std::vector<int64_t>& values);

}  // namespace lapidary::frontend
