// The data structure of the Graph level: names, parameters, use lists, and the few ways to change a region. Everything
// that touches Op::operands goes through add_use and drop_use, so that uses and operands never disagree.
#include "ir/graph.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "ir/error.h"

namespace lapidary {

namespace {

constexpr std::array kOpNames = {
#define SCALAR_OP(kind, text, operands, types, result) std::string_view(text),
#include "ir/scalar_ops.def"
#undef SCALAR_OP
#define GRAPH_OP(kind, text, min_operands, max_operands, results, params) std::string_view(text),
#include "ir/graph_ops.def"
#undef GRAPH_OP
};

void add_use(Op& op, uint32_t index) { op.operands[index]->uses.push_back({&op, index}); }

void drop_use(Op& op, uint32_t index) {
  std::vector<Use>& uses = op.operands[index]->uses;
  auto use = std::find_if(uses.begin(), uses.end(), [&](Use u) { return u.op == &op && u.operand == index; });
  LPD_CHECK(use != uses.end(), "{}: operand {} is missing in the use list", name_of(op.kind), index);
  uses.erase(use);
}

bool holds_integers(DType dtype) { return dtype == DType::Bool || is_integer(dtype); }

bool same_element(const std::shared_ptr<const Type>& a, const std::shared_ptr<const Type>& b) {
  return a == b || (a && b && *a == *b);
}

std::string axis_halo(Halo halo) {
  return halo.lo == halo.hi ? fmt::format("{}", halo.lo) : fmt::format("{}:{}", halo.lo, halo.hi);
}

// "{c16 halo=0,0,1,1 fill=-inf leading=80}", "{c8 last}"; the blocked axis is "c" when it is axis 1, else "axis2:16".
std::string layout_text(const Layout& layout) {
  std::vector<std::string> parts;
  if (layout.blocked_axis == 1) parts.push_back(fmt::format("c{}", layout.block));
  if (layout.blocked_axis >= 0 && layout.blocked_axis != 1) {
    parts.push_back(fmt::format("axis{}:{}", layout.blocked_axis, layout.block));
  }
  if (layout.last) parts.push_back("last");
  if (!layout.halo.empty()) {
    std::vector<std::string> halos;
    for (Halo halo : layout.halo) halos.push_back(axis_halo(halo));
    parts.push_back(fmt::format("halo={}", fmt::join(halos, ",")));
  }
  if (layout.fill != 0) parts.push_back(fmt::format("fill={}", layout.fill));
  if (layout.leading) parts.push_back("leading=" + to_string(layout.leading));
  return fmt::format("{{{}}}", fmt::join(parts, " "));
}

using ValueMap = std::unordered_map<const Value*, Value*>;

std::vector<Value*> mapped(const std::vector<Value*>& values, const ValueMap& map) {
  std::vector<Value*> result;
  for (const Value* value : values) result.push_back(map.at(value));
  return result;
}

// A copy of ops in the making. What their to_host ops name is named anew, and Dims of the copy speak of that.
struct Copy {
  Module& module;
  ValueMap values;
  std::unordered_map<uint32_t, uint32_t> named;  // ids of to_host results

  Dim renamed(Dim dim) const {
    if (named.empty() || !dim || !speaks_of_elements(dim)) return dim;
    return module.dims.substitute(dim, [&](Dim leaf) -> Dim {
      const auto found = leaf->kind == DimKind::Element ? named.find(leaf->value_id) : named.end();
      return found == named.end() ? nullptr : module.dims.element(found->second, leaf->constant, leaf->interval);
    });
  }
  Shape renamed(Shape dims) const {
    for (Dim& dim : dims) dim = renamed(dim);
    return dims;
  }
  Type renamed(Type type) const {
    type.shape = renamed(std::move(type.shape));
    return type;
  }
  Params renamed(Params params) const {
    for (const auto& [name, value] : std::vector(params.entries())) {
      if (const Dim* dim = std::get_if<Dim>(&value)) params.set(name, renamed(*dim));
      if (const auto* dims = std::get_if<std::vector<Dim>>(&value)) params.set(name, renamed(*dims));
    }
    return params;
  }

  void op(const Op& from, Region& into, std::list<Op>::iterator before) {
    std::vector<Type> types;
    for (const auto& value : from.results) types.push_back(value->type);
    Op& op = insert_op(module, into, before, from.kind, mapped(from.operands, values), renamed(from.params),
                       std::move(types), from.origin);
    if (op.is(OpKind::ToHost)) named[from.result()->id] = op.result()->id;
    for (size_t i = 0; i < from.results.size(); i++) {
      op.results[i]->elements = renamed(from.results[i]->elements);
      values[from.results[i].get()] = op.results[i].get();
    }
    for (const auto& region : from.regions) {
      op.regions.push_back(this->region(*region));
      op.regions.back()->owner = &op;
    }
  }

  std::unique_ptr<Region> region(const Region& from) {
    auto region = std::make_unique<Region>();
    for (const auto& argument : from.arguments) {
      Value* copy = add_argument(module, *region, argument->type);
      copy->elements = argument->elements;
      values[argument.get()] = copy;
    }
    for (const Op& op : from.ops) this->op(op, *region, region->ops.end());
    return region;
  }

  // When all are there: types, whose extents may be named by ops behind them, and what must hold.
  void finish() {
    if (named.empty()) return;
    for (auto& [from, copy] : values)
      if (copy != from) copy->type = renamed(std::move(copy->type));
    for (const Check& check : std::vector(module.checks))
      if (const Dim must_hold = renamed(check.must_hold); must_hold != check.must_hold)
        module.check(must_hold, check.message);
  }
};

}  // namespace

std::string_view name_of(OpKind kind) { return kOpNames[static_cast<size_t>(kind)]; }

const Op& anchor_of(const Op& group) {
  return *std::next(group.regions[0]->ops.begin(), group.params.integer("anchor"));
}

std::optional<OpKind> parse_op_kind(std::string_view text) {
  auto found = std::find(kOpNames.begin(), kOpNames.end(), text);
  if (found == kOpNames.end()) return std::nullopt;
  return static_cast<OpKind>(found - kOpNames.begin());
}

// --- types -----------------------------------------------------------------------------------------------------

bool operator==(const Type& a, const Type& b) {
  return a.kind == b.kind && a.dtype == b.dtype && a.shape == b.shape && a.layout == b.layout &&
         same_element(a.element, b.element);
}

std::string to_string(const Type& type) {
  switch (type.kind) {
    case Type::Kind::Error:
      return "error";
    case Type::Kind::Sequence:
      return fmt::format("sequence<{}>", type.element ? to_string(*type.element) : "");
    case Type::Kind::Optional:
      return fmt::format("optional<{}>", type.element ? to_string(*type.element) : "");
    case Type::Kind::Tensor:
      break;
  }
  std::vector<std::string> extents;
  for (Dim extent : type.shape) extents.push_back(to_string(extent));
  std::string text = fmt::format("{}[{}]", name_of(type.dtype), fmt::join(extents, ", "));
  return type.layout.dense() ? text : text + layout_text(type.layout);
}

// --- parameters ------------------------------------------------------------------------------------------------

namespace {

auto lower_bound(auto& entries, std::string_view name) {
  return std::lower_bound(entries.begin(), entries.end(), name,
                          [](const auto& entry, std::string_view key) { return entry.first < key; });
}

template <class T>
const T& get(const Params& params, std::string_view name) {
  const ParamValue* value = params.find(name);
  LPD_CHECK(value, "parameter '{}' is missing", name);
  const T* typed = std::get_if<T>(value);
  LPD_CHECK(typed, "parameter '{}' has another type", name);
  return *typed;
}

}  // namespace

void Params::set(std::string_view name, ParamValue value) {
  auto place = lower_bound(entries_, name);
  if (place != entries_.end() && place->first == name) {
    place->second = std::move(value);
  } else {
    entries_.insert(place, {std::string(name), std::move(value)});
  }
}

void Params::erase(std::string_view name) {
  auto place = lower_bound(entries_, name);
  if (place != entries_.end() && place->first == name) entries_.erase(place);
}

const ParamValue* Params::find(std::string_view name) const {
  auto place = lower_bound(entries_, name);
  return place != entries_.end() && place->first == name ? &place->second : nullptr;
}

int64_t Params::integer(std::string_view name) const { return get<int64_t>(*this, name); }
int64_t Params::integer_or(std::string_view name, int64_t otherwise) const {
  return has(name) ? integer(name) : otherwise;
}
double Params::number(std::string_view name) const { return get<double>(*this, name); }
double Params::number_or(std::string_view name, double otherwise) const { return has(name) ? number(name) : otherwise; }
const std::string& Params::text(std::string_view name) const { return get<std::string>(*this, name); }
const std::vector<int64_t>& Params::integers(std::string_view name) const {
  return get<std::vector<int64_t>>(*this, name);
}
Dim Params::dim(std::string_view name) const { return get<Dim>(*this, name); }
const std::vector<Dim>& Params::dims(std::string_view name) const { return get<std::vector<Dim>>(*this, name); }
DType Params::dtype(std::string_view name) const { return get<DType>(*this, name); }
ConstantId Params::constant(std::string_view name) const { return get<ConstantId>(*this, name); }

// --- values and ops --------------------------------------------------------------------------------------------

bool Value::has_elements() const {
  if (!elements.empty()) return true;
  if (type.kind != Type::Kind::Tensor || !holds_integers(type.dtype)) return false;
  return std::any_of(type.shape.begin(), type.shape.end(), [](Dim extent) { return value_of(extent) == 0; });
}

void Value::replace_all_uses(Value* by) {
  if (by == this) return;
  for (Use use : uses) {
    use.op->operands[use.operand] = by;
    by->uses.push_back(use);
  }
  uses.clear();
}

void Op::set_operand(uint32_t index, Value* value) {
  LPD_CHECK(index < operands.size(), "{}: no operand {}", name_of(kind), index);
  drop_use(*this, index);
  operands[index] = value;
  add_use(*this, index);
}

void Op::add_operand(Value* value) {
  operands.push_back(value);
  add_use(*this, static_cast<uint32_t>(operands.size() - 1));
}

void Op::erase_operand(uint32_t index) {
  LPD_CHECK(index < operands.size(), "{}: no operand {}", name_of(kind), index);
  for (uint32_t i = index; i < operands.size(); i++) drop_use(*this, i);
  operands.erase(operands.begin() + index);
  for (uint32_t i = index; i < operands.size(); i++) add_use(*this, i);
}

// --- modules ---------------------------------------------------------------------------------------------------

namespace {
constexpr std::string_view kStateKinds[] = {"parameter", "statistic", "optimizer", "progress"};
}

std::string_view name_of(State::Kind kind) { return kStateKinds[static_cast<size_t>(kind)]; }

std::optional<State::Kind> parse_state_kind(std::string_view text) {
  const auto found = std::ranges::find(kStateKinds, text);
  if (found == std::end(kStateKinds)) return std::nullopt;
  return static_cast<State::Kind>(found - std::begin(kStateKinds));
}

Module::Module() { origins.emplace_back(); }

Function* Module::function(std::string_view wanted) const {
  for (const auto& function : functions) {
    if (function->name == wanted) return function.get();
  }
  return nullptr;
}

Function& Module::add_function(std::string function_name) {
  functions.push_back(std::make_unique<Function>());
  functions.back()->name = std::move(function_name);
  functions.back()->body = std::make_unique<Region>();
  return *functions.back();
}

Origin Module::add_origin(OriginInfo info) {
  origins.push_back(std::move(info));
  return static_cast<Origin>(origins.size() - 1);
}

std::string Module::describe(Origin origin) const {
  LPD_CHECK(origin < origins.size(), "origin {} of {}", origin, origins.size());
  const OriginInfo& info = origins[origin];
  if (info.op_type.empty()) return info.node.empty() ? "" : fmt::format("node '{}'", printable(info.node));
  return fmt::format("node '{}' ({}, opset {}){}{}", printable(info.node), printable(info.op_type), info.opset,
                     info.made.empty() ? "" : ", ", info.made);
}

void Module::check(Dim must_hold, std::string message) {
  if (known_unequal(must_hold, dims.constant(0))) return;
  if (value_of(must_hold) == 0) throw Error(Fault::Input, message);
  for (const Check& known : checks) {
    if (known.must_hold == must_hold) return;
  }
  checks.push_back({must_hold, std::move(message)});
}

// --- building and changing -------------------------------------------------------------------------------------

Value* add_argument(Module& module, Region& region, Type type) {
  auto value = std::make_unique<Value>();
  value->id = module.next_value_id++;
  value->region = &region;
  value->index = static_cast<uint32_t>(region.arguments.size());
  value->type = std::move(type);
  region.arguments.push_back(std::move(value));
  return region.arguments.back().get();
}

Op& insert_op(Module& module, Region& region, std::list<Op>::iterator before, OpKind kind, std::vector<Value*> operands,
              Params params, std::vector<Type> result_types, Origin origin) {
  auto place = region.ops.emplace(before);
  Op& op = *place;
  op.kind = kind;
  op.params = std::move(params);
  op.origin = origin;
  op.region = &region;
  op.self = place;
  for (Value* operand : operands) op.add_operand(operand);
  for (Type& type : result_types) {
    auto value = std::make_unique<Value>();
    value->id = module.next_value_id++;
    value->producer = &op;
    value->region = &region;
    value->index = static_cast<uint32_t>(op.results.size());
    value->type = std::move(type);
    op.results.push_back(std::move(value));
  }
  return op;
}

void erase_op(Op& op) {
  for (const auto& value : op.results) {
    LPD_CHECK(value->uses.empty(), "{}: result {} still has uses", name_of(op.kind), value->index);
  }
  for (uint32_t i = 0; i < op.operands.size(); i++) drop_use(op, i);
  op.region->ops.erase(op.self);
}

void move_before(Op& op, Region& into, std::list<Op>::iterator before) {
  into.ops.splice(before, op.region->ops, op.self);
  op.region = &into;
  for (const auto& value : op.results) value->region = &into;
}

Op& clone_op(Module& module, const Op& op, std::span<Value* const> operands, Region& into,
             std::list<Op>::iterator before) {
  Copy copy{module, {}, {}};
  for (size_t i = 0; i < operands.size(); i++) copy.values[op.operands[i]] = operands[i];
  copy.op(op, into, before);
  copy.finish();
  return *std::prev(before);
}

std::vector<Value*> inline_region(Module& module, const Region& from, std::span<Value* const> arguments, Region& into,
                                  std::list<Op>::iterator before) {
  LPD_CHECK(arguments.size() == from.arguments.size(), "a region of {} arguments is given {}", from.arguments.size(),
            arguments.size());
  Copy copy{module, {}, {}};
  for (size_t i = 0; i < arguments.size(); i++) copy.values[from.arguments[i].get()] = arguments[i];
  for (const Op& op : from.ops) {
    if (op.kind != OpKind::Yield) {
      copy.op(op, into, before);
      continue;
    }
    copy.finish();
    return mapped(op.operands, copy.values);
  }
  LPD_UNREACHABLE("a region without yield");
}

Slice slice_between(Module& module, std::span<Value* const> leaves, Value* result) {
  Slice slice{std::make_unique<Region>(), {}};
  Copy copy{module, {}, {}};
  const auto add = [&](const Value* value) {
    Value* argument = add_argument(module, *slice.region, value->type);
    argument->elements = value->elements;
    copy.values[value] = argument;
  };
  for (const Value* leaf : leaves) add(leaf);
  std::unordered_set<const Op*> needed;
  std::vector<Value*> reached = {result};
  while (!reached.empty()) {
    Value* value = reached.back();
    reached.pop_back();
    if (copy.values.contains(value)) continue;
    if (!value->producer) {
      add(value);
      slice.others.push_back(value);
    } else if (needed.insert(value->producer).second) {
      reached.insert(reached.end(), value->producer->operands.begin(), value->producer->operands.end());
    }
  }
  for (const Op& op : result->region->ops)
    if (needed.contains(&op)) copy.op(op, *slice.region, slice.region->ops.end());
  insert_op(module, *slice.region, slice.region->ops.end(), OpKind::Yield, {copy.values.at(result)}, {}, {}, 0);
  copy.finish();
  return slice;
}

std::unique_ptr<Region> clone_region(Module& module, const Region& from) {
  Copy copy{module, {}, {}};
  auto region = copy.region(from);
  copy.finish();
  return region;
}

}  // namespace lapidary
