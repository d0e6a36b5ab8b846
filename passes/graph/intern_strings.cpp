// Intern strings: kernels know no strings. Inside the graph an element of type string is carried as the number of its
// text, an i64; equal texts have equal numbers, so what moves, chooses or compares strings works on the numbers as they
// stand. The borders of a function turn strings into numbers and back:
//
//   func f(%0 : string[N]) {               →   %1 : i64[N] = host_call %0 function="intern_strings"
//     %2 : string[N] = reverse %0                %2 : i64[N] = reverse %1
//     yield %2                                   yield (host_call %2 function="view_strings")
//
// The numbers of the module's constants are those of its pool, which the product holds as one more constant, the
// dictionary of every host_call; a run numbers what else comes up from there on. Test: test/passes/intern_strings/.
#include <algorithm>
#include <set>

#include "ir/graph_builder.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_string(const Value* value) {
  return value->type.kind == Type::Kind::Tensor && value->type.dtype == DType::String;
}

class Interning {
 public:
  explicit Interning(Module& module) : module_(module) {}

  bool run() {
    for (const auto& function : module_.functions) {
      Region& body = *function->body;
      std::vector<bool> results;
      for (const Value* result : body.results()) results.push_back(is_string(result));
      number(body);
      intern_arguments(body);
      view_results(body, results);
    }
    if (!calls_.empty()) add_dictionary();
    return changed_;
  }

 private:
  void number(Region& region) {
    if (region.owner)
      for (const auto& argument : region.arguments) carry(argument.get());
    for (auto it = region.ops.begin(); it != region.ops.end();) {
      Op& op = *it++;
      for (const auto& inner : op.regions) number(*inner);
      number(op);
    }
  }

  void number(Op& op) {
    if (op.is(OpKind::BitCast) && reads_string(op)) {
      replace_value(op.result(), op.operand(0));  // a number already
      erase_op(op);
      return;
    }
    if (op.is(OpKind::HostCall)) {
      if (is_string(op.result()) || reads_string(op)) calls_.push_back(&op);
      if (is_string(op.result())) op.params.set("to", DType::I64);
    }
    if (op.is(OpKind::Constant) && is_string(op.result())) {
      Constant numbers = module_.constants[op.params.constant("value")];
      numbers.dtype = numbers.source_dtype = DType::I64;
      if (auto* splat = std::get_if<Splat>(&numbers.source)) splat->value.dtype = DType::I64;
      op.params.set("value", module_.constants.add(std::move(numbers)));
    }
    for (const auto& result : op.results) carry(result.get());
  }

  bool reads_string(const Op& op) const {
    return std::ranges::any_of(op.operands,
                               [&](const Value* operand) { return is_string(operand) || carried_.contains(operand); });
  }

  void carry(Value* value) {
    if (!is_string(value)) return;
    value->type.dtype = DType::I64;
    carried_.insert(value);
    changed_ = true;
  }

  Value* call(GraphBuilder& b, Value* operand, const char* function, DType to) {
    Op& op = b.create(OpKind::HostCall, {operand}, {{"function", std::string(function)}, {"to", to}});
    calls_.push_back(&op);
    changed_ = true;
    return op.result();
  }

  void intern_arguments(Region& body) {
    const auto first = body.ops.begin();
    for (const auto& argument : body.arguments) {
      if (!is_string(argument.get()) || argument->uses.empty()) continue;
      GraphBuilder b(module_, body, first);
      const std::vector<Use> uses = argument->uses;
      Value* numbers = call(b, argument.get(), "intern_strings", DType::I64);
      for (const Use& use : uses) use.op->set_operand(use.operand, numbers);
    }
  }

  void view_results(Region& body, const std::vector<bool>& strings) {
    Op& yield = body.yield();
    for (uint32_t i = 0; i < strings.size(); i++) {
      if (!strings[i]) continue;
      GraphBuilder b(module_, body, yield.self);
      yield.set_operand(i, call(b, yield.operand(static_cast<int>(i)), "view_strings", DType::String));
    }
  }

  void add_dictionary() {
    std::vector<std::byte> bytes = dictionary_of(*module_.constants.strings);
    const auto size = static_cast<int64_t>(bytes.size());
    const ConstantId id = module_.constants.add_bytes(DType::U8, {size}, std::move(bytes));
    for (Op* op : calls_) op->params.set("dictionary", id);
  }

  Module& module_;
  bool changed_ = false;
  std::vector<Op*> calls_;          // that need the dictionary
  std::set<const Value*> carried_;  // values that were strings
};

}  // namespace

bool intern_strings(Module& module, const Options&) { return Interning(module).run(); }

}  // namespace lapidary::passes
