// Level one: a Module of functions over SSA tensor values, at the granularity of ONNX operators broken into
// primitives. Text form: text.h (print_module, parse_module). Meaning: interpreter.h. What holds of a well-formed
// module: verifier.h.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/constant.h"
#include "ir/dim.h"
#include "ir/dtype.h"
#include "ir/scalar.h"

namespace lapidary {

enum class OpKind : uint8_t {
#define SCALAR_OP(kind, text, operands, types, result) kind,
#include "ir/scalar_ops.def"
#undef SCALAR_OP
#define GRAPH_OP(kind, text, min_operands, max_operands, results, params) kind,
#include "ir/graph_ops.def"
#undef GRAPH_OP
};

std::string_view name_of(OpKind);
std::optional<OpKind> parse_op_kind(std::string_view);
inline bool is_scalar_op(OpKind kind) { return kind <= OpKind::Select; }
inline ScalarOp scalar_op(OpKind kind) { return static_cast<ScalarOp>(kind); }  // of one that is_scalar_op
inline OpKind op_kind(ScalarOp op) { return static_cast<OpKind>(op); }

// Where an op came from in the model: an index into Module::origins. 0 is "nowhere".
using Origin = uint32_t;
struct OriginInfo {
  std::string node;     // the node's name in the model, raw: print through printable()
  std::string op_type;  // "Conv"
  int opset = 0;
  std::string made;  // of what a pass made of the node: how, "attention opened"
};

// Extra elements around the extent of one axis of a laid-out buffer. The producer fills them on every run.
struct Halo {
  int64_t lo = 0, hi = 0;
  bool operator==(const Halo&) const = default;
};

// How a tensor lies in memory. Default-constructed: dense row-major.
// With blocked_axis b and block k: [.., ceil(d_b/k), .., k], the block innermost, the last block padded with zeros; or,
// if `last`, [.., ceil(d_b/k), k], all of that axis innermost: channels last, padded to whole blocks.
// halo (empty or one per axis) widens an axis; leading, when set, replaces the extent of the blocked axis, or without
// one of the innermost, in address computations: rows padded, or a slice of a wider buffer (place_concats).
struct Layout {
  int8_t blocked_axis = -1;
  uint8_t block = 1;
  bool last = false;
  std::vector<Halo> halo;
  double fill = 0;  // what the halo holds: 0 for convolutions, -inf for max-pooling
  Dim leading = nullptr;

  bool dense() const { return blocked_axis < 0 && halo.empty() && !leading; }
  Halo halo_of(int axis) const { return halo.empty() ? Halo{} : halo[axis]; }
  bool operator==(const Layout&) const = default;
};

struct Type {
  enum class Kind : uint8_t { Tensor, Sequence, Optional, Error };
  Kind kind = Kind::Tensor;
  DType dtype = DType::Undefined;
  Shape shape;
  Layout layout;
  std::shared_ptr<const Type> element;  // of sequences and optionals

  int rank() const { return static_cast<int>(shape.size()); }
  bool is_error() const { return kind == Kind::Error; }
  static Type tensor(DType dtype, Shape shape) { return {Kind::Tensor, dtype, std::move(shape), {}, nullptr}; }
  static Type error() { return {Kind::Error, DType::Undefined, {}, {}, nullptr}; }  // silences what follows from it
};
bool operator==(const Type&, const Type&);
std::string to_string(const Type&);  // "f32[N, 3, 224, 224]", "f32[N, 64, 56, 56]{c16 halo=0,0,1,1}"

// Parameters of an op: a small map from name to value. Which ones an op takes is in graph_ops.def, and the verifier
// holds it to that; so the typed getters below fail internally on a missing name or another type.
using ParamValue =
    std::variant<int64_t, double, std::string, std::vector<int64_t>, Dim, std::vector<Dim>, DType, ConstantId>;
class Params {
 public:
  Params() = default;
  Params(std::initializer_list<std::pair<std::string, ParamValue>> list) {
    for (auto& [name, value] : list) set(name, value);
  }
  void set(std::string_view name, ParamValue value);
  void erase(std::string_view name);
  const ParamValue* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  int64_t integer(std::string_view name) const;
  int64_t integer_or(std::string_view name, int64_t otherwise) const;
  double number(std::string_view name) const;
  double number_or(std::string_view name, double otherwise) const;
  const std::string& text(std::string_view name) const;
  const std::vector<int64_t>& integers(std::string_view name) const;
  Dim dim(std::string_view name) const;
  const std::vector<Dim>& dims(std::string_view name) const;
  DType dtype(std::string_view name) const;
  ConstantId constant(std::string_view name) const;
  const std::vector<std::pair<std::string, ParamValue>>& entries() const { return entries_; }  // sorted by name
  bool operator==(const Params&) const = default;

 private:
  std::vector<std::pair<std::string, ParamValue>> entries_;
};

struct Op;
struct Region;
struct Use {
  Op* op;
  uint32_t operand;
};

struct Value {
  uint32_t id = 0;           // unique in the module; names it in the text form
  Op* producer = nullptr;    // null for region arguments
  Region* region = nullptr;  // where it is defined
  uint32_t index = 0;        // which result or argument
  Type type;
  std::vector<Dim> elements;  // of an integer or bool tensor of at most 64 elements, when known as Dims
  std::vector<Use> uses;      // maintained by Op's mutators; yields are uses like any other

  bool has_elements() const;  // elements are known (a tensor of 0 elements has them trivially)
  bool has_one_use() const { return uses.size() == 1; }
  void replace_all_uses(Value* by);
};

struct Op {
  OpKind kind;
  std::vector<Value*> operands;  // change only through set_operand / add_operand / erase
  std::vector<std::unique_ptr<Value>> results;
  Params params;
  std::vector<std::unique_ptr<Region>> regions;
  Origin origin = 0;
  Region* region = nullptr;  // that holds it
  std::list<Op>::iterator self;

  Value* result(int index = 0) const { return results[index].get(); }
  const Type& type(int index = 0) const { return results[index]->type; }
  Value* operand(int index) const { return operands[index]; }
  bool is(OpKind k) const { return kind == k; }
  bool is_control() const { return kind == OpKind::Loop || kind == OpKind::If; }
  bool is_composite(std::string_view name) const { return kind == OpKind::Composite && params.text("name") == name; }
  void set_operand(uint32_t index, Value*);
  void add_operand(Value*);
  void erase_operand(uint32_t index);
};

// Isolated: ops refer to values of their own region only; captures are explicit operands and arguments.
struct Region {
  Op* owner = nullptr;  // null for a function's body
  std::vector<std::unique_ptr<Value>> arguments;
  std::list<Op> ops;  // in order of definition; the last one is the Yield

  Op& yield() { return ops.back(); }
  const Op& yield() const { return ops.back(); }
  const std::vector<Value*>& results() const { return ops.back().operands; }
};

// Of a Loop or If: the index of the value that holds the extents of carried value, slice or result `index`, or -1.
int64_t holder_of_shape(const Params&, size_t index);
// Has this result of a Loop or If extents that infer_types cannot know? Then they are named by a to_host op behind it.
bool is_open_result(const Op&, size_t index);

const Op& anchor_of(const Op& group);  // the op that decides what family of kernels computes a Group

// A tensor that lives as long as an instance of the product: a function that reads it takes it as an argument, one that
// changes it returns its new value, and both are the same memory.
struct State {
  enum class Kind : uint8_t {
    Parameter,  // what training is about
    Statistic,  // what a forward pass leaves: the running mean of a batch normalisation
    Optimizer,  // moments, and gradients that wait
    Progress    // counters, the learning rate, seeds
  };
  std::string name;  // of a parameter, its initializer's; unique
  Kind kind = Kind::Parameter;
  Type type;  // dense, of constant extents
  ConstantId initial{};
};
std::string_view name_of(State::Kind);
std::optional<State::Kind> parse_state_kind(std::string_view);

struct Function {
  std::string name;  // "run"; with training also "train_step", "eval_step"
  // The model's own names, raw; of states, theirs.
  std::vector<std::string> argument_names, result_names;
  // For each argument and result the index of its state in the module, or -1; empty: none is a state.
  std::vector<int> argument_states, result_states;
  std::unique_ptr<Region> body;

  int state_of_argument(size_t index) const { return argument_states.empty() ? -1 : argument_states.at(index); }
  int state_of_result(size_t index) const { return result_states.empty() ? -1 : result_states.at(index); }
};

// Dims that must agree but cannot be proven to: evaluated when shapes are bound, a failed one is a user error.
struct Check {
  Dim must_hold;        // nonzero
  std::string message;  // "node 'add' (Add, opset 17): extents S and T must agree"
};

struct Module {
  Module();
  std::string name;  // of the model; becomes the symbol prefix after sanitising
  DimPool dims;
  std::vector<std::unique_ptr<Function>> functions;
  std::vector<State> states;
  ConstantTable constants;
  std::vector<OriginInfo> origins;  // [0] is "nowhere"
  std::vector<Check> checks;
  uint32_t next_value_id = 0;

  Function* function(std::string_view name) const;  // null when there is none
  Function& add_function(std::string name);         // with an empty body (no yield yet)
  Origin add_origin(OriginInfo);
  std::string describe(Origin) const;              // "node 'conv1' (Conv, opset 22)", names printable
  void check(Dim must_hold, std::string message);  // drops what is provably true or already there
};

// --- building and changing -------------------------------------------------------------------------------------

Value* add_argument(Module&, Region&, Type);
// Creates an op before `before`, with results of the given types; elements of the results are not filled in.
// Most callers want GraphBuilder (graph_builder.h), which infers types.
Op& insert_op(Module&, Region&, std::list<Op>::iterator before, OpKind, std::vector<Value*> operands, Params,
              std::vector<Type> result_types, Origin);
void erase_op(Op&);                                                   // its results must have no uses
void move_before(Op&, Region& into, std::list<Op>::iterator before);  // within or across regions of one module
Op& clone_op(Module&, const Op&, std::span<Value* const> operands, Region& into, std::list<Op>::iterator before);
// Copies the ops of `from` (not its yield) before `before`, arguments replaced by `arguments`; returns what its yield
// yields.
std::vector<Value*> inline_region(Module&, const Region& from, std::span<Value* const> arguments, Region& into,
                                  std::list<Op>::iterator before);
std::unique_ptr<Region> clone_region(Module&, const Region&);
// A copy of what computes `result` from `leaves`, values of one region, and whatever else it reads: its arguments are
// the leaves, then `others`, the rest of the region's own arguments that it needs.
struct Slice {
  std::unique_ptr<Region> region;
  std::vector<Value*> others;
};
Slice slice_between(Module&, std::span<Value* const> leaves, Value* result);

}  // namespace lapidary
