// Non-maximum suppression: boxes close together and far apart, along either axis, of no size, none at all, and with
// NaN or infinite corners; many classes of one batch, and as many kept as may be.
#include <limits>

#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

struct SuppressForm {
  std::string name;
  double along_y = 1, along_x = 1;  // how far boxes lie apart
  int64_t most = 1000;
  double odd = 1;  // what every eleventh corner is multiplied by
};

KernelCase suppress_case(const SuppressForm& form) {
  return {.name = "suppress_" + form.name,
          .kernel = "suppress",
          .build =
              [=](CaseModel& m) {
                GraphBuilder& b = m.build;
                const Dim batches = m.symbol("B"), classes = m.symbol("C"), count = m.symbol("N"), two = b.dim(2);
                Value* at = m.input({batches, count, two});
                const auto axis = [&](int i) { return b.slice_axis(at, 2, b.dim(i), b.dim(1)); };
                Value *y = axis(0), *x = axis(1);
                y = b.mul(y, b.like(y, form.along_y)), x = b.mul(x, b.like(x, form.along_x));
                at = b.concat({y, x}, 2);
                Value* size = b.scalar_op(ScalarOp::Abs, {m.input({batches, count, two})});
                Value* far = b.add(at, size);
                if (form.odd != 1) {
                  Value* place = b.iota(DType::I64, {batches, count, two}, 1);
                  Value* eleventh = b.scalar_op(ScalarOp::FloorMod, {place, b.like(place, 11)});
                  far = b.select(b.scalar_op(ScalarOp::Equal, {eleventh, b.like(place, 0)}),
                                 b.mul(far, b.like(far, form.odd)), far);
                }
                Op& sorted = b.create(OpKind::TopK, {m.input({batches, classes, count})},
                                      {{"axis", int64_t{2}}, {"k", count}, {"largest", int64_t{1}}});
                Value* values = sorted.result(0);
                Value* allowed = b.scalar_op(ScalarOp::Less, {b.like(values, -0.5), values});
                Value* limit = b.scalar(DType::F32, 0.3);
                m.result({b.create(OpKind::Suppress, {b.concat({at, far}, 2), sorted.result(1), allowed, limit},
                                   {{"most", b.dim(form.most)}})
                              .result()});
              },
          .values = {{{"B", 1}, {"C", 1}, {"N", 0}},
                     {{"B", 1}, {"C", 1}, {"N", 1}},
                     {{"B", 2}, {"C", 3}, {"N", 16}},
                     {{"B", 1}, {"C", 2}, {"N", 17}},
                     {{"B", 2}, {"C", 1}, {"N", 130}},
                     {{"B", 1}, {"C", 2}, {"N", 700}},
                     {{"B", 0}, {"C", 1}, {"N", 3}}},
          .tolerance = 0};
}

}  // namespace

std::vector<KernelCase> suppress_cases() {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<KernelCase> cases;
  for (const SuppressForm& form :
       std::initializer_list<SuppressForm>{{.name = "close"},
                                           {.name = "along_y", .along_y = 40},
                                           {.name = "along_x", .along_x = 4000},
                                           {.name = "apart", .along_y = 9, .along_x = 1e6},
                                           {.name = "few", .along_y = 5, .most = 7},
                                           {.name = "none", .most = 0},
                                           {.name = "reversed", .along_x = 30, .odd = -1},
                                           {.name = "infinite", .along_x = 30, .odd = infinity},
                                           {.name = "huge", .along_x = 30, .odd = 1e38}})
    cases.push_back(suppress_case(form));
  return cases;
}

}  // namespace lapidary::test
