// Constants of a module: where their bytes come from, and what is still to be done to them. Passes never touch large
// weights: they append transforms, and the bytes are produced once, in parallel, when the artifact is written.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ir/dtype.h"
#include "ir/scalar.h"
#include "ir/strings.h"

namespace lapidary {

enum class ConstantId : uint32_t {};

// Bytes that somebody else keeps alive: a mapped model file, an inline vector.
struct ByteSource {
  std::shared_ptr<const void> keep_alive;
  std::span<const std::byte> bytes;
};
struct Splat {
  Scalar value;
};  // every element the same
struct Seeded {
  uint64_t seed;
  double mean, deviation;
};  // normal, counter-based: the same on every machine
struct Joined {
  std::vector<ConstantId> parts;
  int64_t axis;
};  // other constants, one behind the other along an axis

// One pending change, applied in order. Shapes after it: `shape_after`.
struct Transform {
  enum class Kind : uint8_t {
    Convert,    // to `dtype`; integers after shape[0] was added, where there is one
    Transpose,  // by `axes`
    Reshape,    // to `shape`
    Pad,        // each axis to `shape` at the high end, with zeros
    Scale,      // multiply along axis `axes[0]` by the constant `other` (rank 1, same dtype)
    // Groups that share a block of channels, as one convolution: [O, I, k…] → [O, width, k…]. Channel i of output o
    // moves to o / shape[0] · I + i - axes[o / block], zeros elsewhere; shape = {outputs of a group, width}.
    SpreadGroups,
    // Packed forms of contraction and convolution operands. All end in a panel of `block` output channels:
    PackPanels,    // [K, N] → [ceil(N/block)][K][block], zero-padded
    PackConv,      // [O, I, k…] → [ceil(O/block)][ceil(I/iblock)][k…][iblock][block]; iblock = shape[0]
    PackDots,      // [K, N] → [ceil(N/block)][ceil(K/4)][block][4]: four bytes of K side by side
    PackConvDots,  // [O, I, k…] → [ceil(O/block)][ceil(I/iblock)][k…][iblock/4][block][4]
    Sums,          // integers [d…] → i32: summed over all axes but axes[0]
    Winograd,  // [O, I, 3, 3] → [a·a][ceil(O/block)][I'][block] with a = shape[0] + 2 (F(shape[0], 3)), I' = I up to
               // shape[1]
    WinogradAxis,  // [O, I, b, a] → [n][ceil(O/block)][b][groups][I'][block]: groups of r = shape[1] taps of the last
                   // axis through F(m = shape[0], r) of n = m + r - 1 points, the last group padded; I' = I up to
                   // shape[2]
  };
  Kind kind;
  DType dtype = DType::Undefined;
  std::vector<int64_t> axes, shape;
  int64_t block = 0;
  ConstantId other{};
};

std::vector<int64_t> shape_after(const Transform&, std::vector<int64_t> shape);

struct Constant {
  DType dtype = DType::Undefined;  // after all transforms
  std::vector<int64_t> shape;      // after all transforms
  DType source_dtype = DType::Undefined;
  std::vector<int64_t> source_shape;
  std::variant<ByteSource, Splat, Seeded, Joined> source;
  std::vector<Transform> transforms;

  int64_t elements() const;  // of `shape`
  int64_t bytes() const;     // of `shape` and `dtype`
};

class ConstantTable {
 public:
  ConstantId add(Constant);
  ConstantId add_bytes(DType, std::vector<int64_t> shape, std::vector<std::byte> bytes);  // owned copy
  ConstantId add_scalars(DType, std::vector<int64_t> shape, std::span<const Scalar> values);
  ConstantId add_splat(DType, std::vector<int64_t> shape, Scalar);
  // A new constant: `of` with one more transform.
  ConstantId transformed(ConstantId of, Transform);
  // Constants of one type, of whole bytes, and of one shape but for the axis.
  ConstantId joined(std::vector<ConstantId> parts, int64_t axis);
  ConstantId add_strings(std::vector<int64_t> shape, std::span<const std::string> texts);
  const Constant& operator[](ConstantId id) const { return constants_[static_cast<uint32_t>(id)]; }
  uint32_t size() const { return static_cast<uint32_t>(constants_.size()); }

  // The first elements of a constant without producing it whole; only for constants with no or only cheap transforms.
  bool is_splat(ConstantId, Scalar* value = nullptr) const;

  // Writes the final bytes to `out` (exactly bytes() long, 64-byte aligned). Thread-safe on a table nobody changes.
  // Ranges of the leading axis can be produced apart, so that one large weight is packed by several threads:
  // part `part` of `parts` writes its own share of `out`.
  void materialize(ConstantId, std::span<std::byte> out, int part = 0, int parts = 1) const;
  std::vector<std::byte> bytes_of(ConstantId) const;  // small ones: folding, tests
  std::vector<Scalar> scalars_of(ConstantId) const;
  std::vector<std::string> strings_of(ConstantId) const;

  // The texts of all strings of the module, those of constants and what interpreting it makes.
  const std::shared_ptr<StringPool> strings = std::make_shared<StringPool>();

 private:
  std::vector<Constant> constants_;
};

}  // namespace lapidary
