#include "passes/lower/gpu/packed_units.h"

#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kUnitBytes = 64, kWordBytes = 4;

Expr bits_of(int64_t bits) { return constant(Scalar::of_integer(DType::I32, bits)); }

}  // namespace

PackedUnits::PackedUnits(Module& module, const PackedForm& form, int columns)
    : bits(form.bits), block(form.block), units(ceil_div(form.depth, codes_of_unit())) {
  ConstantTable& constants = module.constants;
  const auto bytes = [&](int64_t numbers) { return (numbers * bits + 7) / 8; };
  const int64_t rows = ceil_div(form.columns, columns) * columns;
  const auto filled = [&](ConstantId id, int64_t width, int64_t pitch) {
    id = constants.transformed(id, {.kind = Transform::Kind::Reshape, .shape = {form.columns, width}});
    if (rows == form.columns && width == pitch) return id;
    return constants.transformed(id, {.kind = Transform::Kind::Pad, .shape = {rows, pitch}});
  };
  scale_pitch = ceil_div(units * codes_of_unit(), block);
  zero_pitch = bytes(scale_pitch);
  scales = filled(form.scales, form.blocks(), scale_pitch);
  if (form.zeros) zeros = filled(*form.zeros, bytes(form.blocks()), zero_pitch);
  codes = filled(form.codes, bytes(form.depth), units * kUnitBytes);
  codes = constants.transformed(
      codes, {.kind = Transform::Kind::Reshape, .shape = {rows * units, kWords, kSharers, kWordBytes}});
  codes = constants.transformed(codes, {.kind = Transform::Kind::Transpose, .axes = {0, 2, 1, 3}});
}

int PackedUnits::blocks_of_unit() const {
  if (block % codes_of_unit() == 0) return 1;
  const bool together = block % (int64_t{kSharers} * codes_of_word()) == 0 && codes_of_unit() % block == 0;
  return together ? static_cast<int>(codes_of_unit() / block) : 0;
}

PackedReader::PackedReader(KernelBuilder& builder, const PackedUnits& format)
    : format_(format),
      codes_(builder.weight_as(format.codes, DType::I32)),
      scales_(builder.weight(format.scales)),
      units_(builder.parameter(builder.dim(format.units))),
      scale_pitch_(builder.parameter(builder.dim(format.scale_pitch))) {
  if (!format.zeros) return;
  zeros_ = builder.weight(*format.zeros);
  zero_pitch_ = builder.parameter(builder.dim(format.zero_pitch));
}

Expr PackedReader::unit_at(Expr column, Expr unit, Expr sharer) const {
  const Expr row = mul(add(mul(column, units_), unit), integer(PackedUnits::kSharers));
  return mul(add(row, sharer), integer(PackedUnits::kWords));
}

Expr PackedReader::words(Expr column, Expr unit, Expr sharer) const {
  return load(codes_, unit_at(column, unit, sharer), PackedUnits::kWords);
}

Expr PackedReader::word(Expr column, Expr unit, Expr sharer, Expr word) const {
  return load(codes_, add(unit_at(column, unit, sharer), word));
}

Expr PackedReader::first_k(Expr unit, Expr sharer, Expr word) const {
  const Expr in_unit = add(mul(word, integer(PackedUnits::kSharers)), sharer);
  return add(mul(unit, integer(format_.codes_of_unit())), mul(in_unit, integer(format_.codes_of_word())));
}

Expr PackedReader::scale(Expr column, Expr k) const {
  const Expr at = add(mul(column, scale_pitch_), floordiv(k, integer(format_.block)));
  return convert(load(scales_, at), DType::F32);
}

Expr PackedReader::zero_point(Expr column, Expr k) const {
  if (!zeros_) return real(static_cast<float>(1 << (format_.bits - 1)));
  const int64_t together = 8 / format_.bits;
  const Expr block = floordiv(k, integer(format_.block));
  const Expr at = add(mul(column, zero_pitch_), floordiv(block, integer(together)));
  Expr byte = convert(load(zeros_, at), DType::I32);
  if (together > 1) {
    const Expr shift = convert(mul(mod(block, integer(together)), integer(format_.bits)), DType::I32);
    byte = apply(ScalarOp::And, {apply(ScalarOp::ShiftRight, {byte, shift}), bits_of((1 << format_.bits) - 1)});
  }
  return convert(byte, DType::F32);
}

std::vector<Expr> PackedReader::scales(Block& block, Expr column, Expr unit) const {
  const int count = format_.blocks_of_unit();
  if (count == 1) return {block.let("s", scale(column, mul(unit, integer(format_.codes_of_unit()))))};
  const Expr at = add(mul(column, scale_pitch_), mul(unit, integer(count)));
  const Expr loaded = block.let("s", convert(load(scales_, at, count), DType::F32));
  std::vector<Expr> all;
  for (int i = 0; i < count; ++i) all.push_back(shuffle({loaded}, {i}));
  return all;
}

std::vector<Expr> PackedReader::zero_points(Block& block, Expr column, Expr unit) const {
  const int count = format_.blocks_of_unit(), bytes = count * format_.bits / 8;
  if (!zeros_ || bytes == 0)
    return std::vector<Expr>(count, block.let("z", zero_point(column, mul(unit, integer(format_.codes_of_unit())))));
  const Expr at = add(mul(column, zero_pitch_), mul(unit, integer(bytes)));
  const Expr loaded = block.let("z", convert(load(zeros_, at, bytes), DType::I32));
  std::vector<Expr> all;
  for (int i = 0; i < count; ++i) {
    const int bit = i * format_.bits;
    Expr byte = bytes == 1 ? loaded : shuffle({loaded}, {bit / 8});
    if (bit % 8 != 0) byte = apply(ScalarOp::ShiftRight, {byte, bits_of(bit % 8)});
    all.push_back(convert(apply(ScalarOp::And, {byte, bits_of((1 << format_.bits) - 1)}), DType::F32));
  }
  return all;
}

Expr PackedReader::upper_half(Expr word) const { return apply(ScalarOp::ShiftRight, {std::move(word), bits_of(16)}); }

Expr PackedReader::code(const Expr& word, const Expr& upper_half, int index) const {
  const Expr mask = bits_of(int64_t{(1 << format_.bits) - 1} << shift_of(index));
  return convert(apply(ScalarOp::And, {index < format_.codes_of_word() / 2 ? word : upper_half, mask}), DType::F32);
}

Expr PackedReader::number(Expr column, Expr k) const {
  const Expr each = integer(format_.codes_of_word()), unit = floordiv(k, integer(format_.codes_of_unit())),
             word = floordiv(mod(k, integer(format_.codes_of_unit())), each);
  const Expr sharer = mod(word, integer(PackedUnits::kSharers)),
             of_sharer = floordiv(word, integer(PackedUnits::kSharers));
  const Expr loaded = this->word(column, unit, sharer, of_sharer);
  const Expr shift = convert(mul(mod(k, each), integer(format_.bits)), DType::I32);
  const Expr code =
      apply(ScalarOp::And, {apply(ScalarOp::ShiftRight, {loaded, shift}), bits_of((1 << format_.bits) - 1)});
  return mul(sub(convert(code, DType::F32), zero_point(column, k)), scale(column, k));
}

}  // namespace lapidary::lowering::gpu
