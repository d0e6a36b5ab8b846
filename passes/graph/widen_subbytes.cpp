// Widen sub-bytes: numbers of 2 and 4 bits are types to store them in. Inside the graph an integer is carried in i8 or
// u8, a f4e2m1 in f32, so that no kernel has to know how they are packed; the borders of a function unpack and pack:
//
//   func f(%0 : i4[N]) {                   →   %1 : u8[ceil(N/2)] = bit_cast %0 shape={ceil(N/2)}
//     %2 : i4[N] = reverse %0                  %2 : i8[N] = reverse unpacked(%1)
//     yield %2                                 yield (bit_cast packed(%2) to=i4 shape={N})
//
// What moves elements, compares them or chooses between them works on the carrier as it stands, in the bodies of loops,
// branches and composites too; a convert to such a type wraps or rounds (ir/scalar.cpp). Nothing else of ONNX takes
// them. Constants are unpacked when the artifact is written. Test: test/passes/widen_subbytes/.
#include <algorithm>
#include <unordered_map>

#include "ir/composites.h"
#include "ir/error.h"
#include "ir/graph_builder.h"
#include "ir/layout.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_subbyte(DType dtype) { return bit_width(dtype) > 0 && bit_width(dtype) < 8; }
bool is_subbyte(const Value* value) { return value->type.kind == Type::Kind::Tensor && is_subbyte(value->type.dtype); }

DType carrier_of(DType dtype) {
  if (is_float(dtype)) return DType::F32;
  return is_signed_integer(dtype) ? DType::I8 : DType::U8;
}

Value* shifted(GraphBuilder& b, ScalarOp op, Value* x, int by) {
  return by == 0 ? x : b.scalar_op(op, {x, b.like(x, by)});
}
Value* low_bits(GraphBuilder& b, Value* x, int bits) {
  return b.scalar_op(ScalarOp::And, {x, b.like(x, (1 << bits) - 1)});
}

// --- one element: a number in its carrier, its code in u8 ------------------------------------------------------------

// A carrier with any bits above the type's own → the number its low bits mean.
Value* wrapped(GraphBuilder& b, Value* x, DType dtype) {
  const int bits = bit_width(dtype);
  if (!is_signed_integer(dtype)) return low_bits(b, x, bits);
  return shifted(b, ScalarOp::ShiftRight, shifted(b, ScalarOp::ShiftLeft, x, 8 - bits), 8 - bits);
}

// The nearest f4e2m1, ties to even: multiples of ½ below 2, of 1 below 4, of 2 up to 6. There is no NaN: -0.
Value* rounded(GraphBuilder& b, Value* x) {
  Value* y = b.scalar_op(ScalarOp::Max, {b.scalar_op(ScalarOp::Min, {x, b.like(x, 6)}), b.like(x, -6)});
  Value* magnitude = b.scalar_op(ScalarOp::Abs, {y});
  auto below = [&](double bound, double then, Value* otherwise) {
    return b.select(b.scalar_op(ScalarOp::Less, {magnitude, b.like(x, bound)}), b.like(x, then), otherwise);
  };
  Value* step = below(2, 0.5, below(4, 1, b.like(x, 2)));
  y = b.mul(b.scalar_op(ScalarOp::Round, {b.div(y, step)}), step);
  return b.select(b.scalar_op(ScalarOp::IsNan, {x}), b.like(x, -0.0), y);
}

// ONNX Cast of any number but one of `dtype` itself.
Value* converted(GraphBuilder& b, Value* x, DType dtype) {
  const DType from = x->type.dtype;
  if (is_float(dtype)) return b.convert(rounded(b, from == DType::F64 ? x : b.convert(x, DType::F32)), DType::F32);
  if (is_float(from)) x = b.convert(x, DType::I32);  // saturates, and what is left wraps
  return wrapped(b, b.convert(x, carrier_of(dtype)), dtype);
}

Value* code_of(GraphBuilder& b, Value* x, DType dtype) {
  if (!is_float(dtype)) return low_bits(b, b.convert(x, DType::U8), bit_width(dtype));
  // 0, ½, 1, 1½, 2, 3, 4, 6 have the codes 0 … 7; the sign of -0 is that of 1/x.
  Value* magnitude = b.scalar_op(ScalarOp::Abs, {x});
  Value* code = b.select(b.scalar_op(ScalarOp::Less, {magnitude, b.like(x, 4)}), b.add(magnitude, b.like(x, 2)),
                         b.add(b.mul(magnitude, b.like(x, 0.5)), b.like(x, 4)));
  code = b.select(b.scalar_op(ScalarOp::Less, {magnitude, b.like(x, 2)}), b.add(magnitude, magnitude), code);
  Value* negative = b.scalar_op(ScalarOp::Less, {b.div(b.like(x, 1), x), b.like(x, 0)});
  return b.convert(b.select(negative, b.add(code, b.like(x, 8)), code), DType::U8);
}

Value* number_of_code(GraphBuilder& b, Value* code, DType dtype) {
  if (!is_float(dtype)) return wrapped(b, b.convert(code, carrier_of(dtype)), dtype);
  std::vector<Scalar> numbers;
  for (uint8_t bits = 0; bits < 16; bits++) numbers.push_back(convert(load_scalar(dtype, &bits, 0), DType::F32));
  Value* table = b.constant(b.module.constants.add_scalars(DType::F32, {16}, numbers));
  return b.gather(table, b.convert(code, DType::I32), 0, true);
}

// --- tensors: packed as at a function's borders, low bits first, the last byte padded ------------------------------

Value* unpacked(GraphBuilder& b, Value* packed) {
  const Type type = packed->type;
  Dim bytes = physical_bytes(b.module.dims, type), count = element_count(b.module.dims, type);
  Value* codes = b.create(OpKind::BitCast, {packed}, {{"to", DType::U8}, {"shape", Shape{bytes}}}).result();
  codes = b.slice_axis(composites::unpacked(b, codes, bit_width(type.dtype)), 0, b.dim(0), count);
  return number_of_code(b, b.reshape(codes, type.shape), type.dtype);
}

Value* packed(GraphBuilder& b, Value* x, DType dtype) {
  const Type type = Type::tensor(dtype, x->type.shape);
  DimPool& dims = b.module.dims;
  const int bits = bit_width(dtype);
  Dim bytes = physical_bytes(dims, type), count = element_count(dims, type), in_byte = b.dim(8 / bits);
  Value* codes = b.reshape(code_of(b, x, dtype), {count});
  codes = b.reshape(b.pad(codes, {b.dim(0)}, {dims.sub(dims.mul(bytes, in_byte), count)}), {bytes, in_byte});
  Value* whole = nullptr;
  for (int shift = 0; shift < 8; shift += bits) {
    Value* part = b.drop_axes(b.slice_axis(codes, 1, b.dim(shift / bits), b.dim(1)), {1});
    part = shifted(b, ScalarOp::ShiftLeft, part, shift);
    whole = whole ? b.scalar_op(ScalarOp::Or, {whole, part}) : part;
  }
  return b.create(OpKind::BitCast, {whole}, {{"to", dtype}, {"shape", type.shape}}).result();
}

// --- the graph -------------------------------------------------------------------------------------------------------

bool is_border(const Op& op) { return op.is(OpKind::BitCast) && op.params.has("shape"); }

// Is every element of the result one of the operands'?
bool keeps_elements(const Op& op) {
  constexpr OpKind kKeeping[] = {OpKind::Constant,  OpKind::Min,  OpKind::Max, OpKind::Select, OpKind::ReduceMax,
                                 OpKind::ReduceMin, OpKind::TopK, OpKind::If,  OpKind::Loop,   OpKind::Composite};
  if (op.is(OpKind::Scatter)) return op.params.text("reduction") == "none";
  return is_movement(op) || std::ranges::find(kKeeping, op.kind) != std::end(kKeeping);
}

class Widening {
 public:
  explicit Widening(Module& module) : module_(module) {}

  bool run() {
    for (const auto& function : module_.functions) {
      Region& body = *function->body;
      std::vector<DType> results;
      for (const Value* result : body.results()) results.push_back(result->type.dtype);
      cast_from_.clear();
      note_casts(body);
      unpack_arguments(body);
      widen(body);
      pack_results(body, results);
    }
    return changed_;
  }

 private:
  void note_casts(const Region& region) {
    for (const Op& op : region.ops) {
      if (op.is(OpKind::Convert) || op.is(OpKind::BitCast)) cast_from_[&op] = op.operand(0)->type.dtype;
      for (const auto& inner : op.regions) note_casts(*inner);
    }
  }

  void unpack_arguments(Region& body) {
    for (const auto& argument : body.arguments) {
      if (!is_subbyte(argument.get())) continue;
      const std::vector<Use> uses = argument->uses;
      if (std::ranges::all_of(uses, [](const Use& use) { return is_border(*use.op); })) continue;
      GraphBuilder b(module_, body, body.ops.begin());
      Value* numbers = unpacked(b, argument.get());
      for (const Use& use : uses)
        if (!is_border(*use.op)) use.op->set_operand(use.operand, numbers);
      changed_ = true;
    }
  }

  void widen(Region& region) {
    if (region.owner)
      for (const auto& argument : region.arguments) carry(argument.get());
    for (auto it = region.ops.begin(); it != region.ops.end();) {
      Op& op = *it++;
      for (const auto& inner : op.regions) widen(*inner);
      if (!is_border(op)) widen(op);
    }
  }

  void widen(Op& op) {
    if (op.is(OpKind::Convert) || op.is(OpKind::BitCast)) return replace_cast(op);
    for (const auto& result : op.results) {
      if (!is_subbyte(result.get())) continue;
      if (!keeps_elements(op))
        throw Error(Fault::Unsupported, fmt::format("{}: {} of elements of type {}", module_.describe(op.origin),
                                                    name_of(op.kind), name_of(result->type.dtype)));
      if (op.is(OpKind::Constant)) {
        Transform widened{.kind = Transform::Kind::Convert, .dtype = carrier_of(result->type.dtype)};
        op.params.set("value", module_.constants.transformed(op.params.constant("value"), std::move(widened)));
      }
      carry(result.get());
    }
  }

  void replace_cast(Op& op) {
    auto noted = cast_from_.find(&op);
    if (noted == cast_from_.end()) return;  // one that unpacks an argument
    Value* x = op.operand(0);
    const DType from = noted->second, to = op.type().dtype;
    if (!is_subbyte(from) && !is_subbyte(to)) return;
    GraphBuilder b(module_, *op.region, op.self);
    b.origin = op.origin;
    Value* result = x;
    if (op.is(OpKind::BitCast))
      result = number_of_code(b, code_of(b, x, from), to);
    else if (from != to)
      result = is_subbyte(to) ? converted(b, x, to) : b.convert(x, to);
    replace_value(op.result(), result);
    erase_op(op);
    changed_ = true;
  }

  void pack_results(Region& body, const std::vector<DType>& dtypes) {
    Op& yield = body.yield();
    for (uint32_t i = 0; i < dtypes.size(); i++) {
      Value* result = yield.operand(static_cast<int>(i));
      if (!is_subbyte(dtypes[i]) || is_subbyte(result)) continue;
      GraphBuilder b(module_, body, yield.self);
      yield.set_operand(i, packed(b, result, dtypes[i]));
    }
  }

  // From here on the value is a number in its carrier.
  void carry(Value* value) {
    if (!is_subbyte(value)) return;
    value->type.dtype = carrier_of(value->type.dtype);
    changed_ = true;
  }

  Module& module_;
  bool changed_ = false;
  std::unordered_map<const Op*, DType> cast_from_;  // before any value is carried
};

}  // namespace

bool widen_subbytes(Module& module, const Options&) { return Widening(module).run(); }

}  // namespace lapidary::passes
