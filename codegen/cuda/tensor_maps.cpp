#include "codegen/cuda/tensor_maps.h"

#include <algorithm>

#include "codegen/cuda/operand_form.h"
#include "codegen/cuda/warpgroup_task.h"
#include "ir/loops_substitute.h"

namespace lapidary::codegen::cuda {

using loops::Expr;
using loops::ExprKind;

namespace {

constexpr int64_t kPanelBytes = 128, kUnbounded = INT32_MAX;
constexpr size_t kMostOthers = 2;

class MapReader {
 public:
  explicit MapReader(const loops::Kernel& kernel) : kernel_(kernel) {}

  // `lines` of the tile, `depth` of k, which ends at `end`; null: the operand's mask says where.
  std::optional<MappedOperand> read(const loops::ProductOperand& operand, const loops::Var& line, const loops::Var& k,
                                    Expr end, int lines, int depth) const {
    const int bytes = bit_width(operand.value->type.dtype) / 8;
    const bool whole_packets = operand.vector * bytes == 16;  // then all strides and the offset are of those
    const bool whole_panels = operand.along_k || (bytes == 2 && lines * bytes % kPanelBytes == 0);
    if (!whole_packets || !whole_panels || operand.value->kind != ExprKind::Load) return std::nullopt;
    loops::ProductOperand of_lines = operand;
    if (!end && !take_end(of_lines.value, k, end)) return std::nullopt;
    return read(of_lines, operand_form(of_lines, line, k), end, lines, depth);
  }

  // Of results, and of what lies as they do: (row, column) is at `index`. Rows and columns have an end; null: none that
  // matters. `lines` are moved at once.
  std::optional<MappedOperand> read(const loops::Buffer& buffer, const Expr& index, const loops::Var& row,
                                    const loops::Var& column, const Expr& row_end, const Expr& column_end,
                                    int lines) const {
    const DType dtype = buffer->element.dtype;
    const int bytes = bit_width(dtype) / 8;
    if (dtype != DType::F16 && dtype != DType::BF16 && dtype != DType::F32 && dtype != DType::I32) return std::nullopt;
    const Expr row_begin = loops::substitute(index, {{column.get(), loops::integer(0)}});
    if (loops::known_multiple(row_begin) * bytes % 16 != 0) return std::nullopt;
    const loops::ProductOperand as_operand{loops::load(buffer, index), true, 16 / bytes};
    OperandForm form = operand_form(as_operand, row, column);
    form.lines = row_end;
    auto found = read(as_operand, form, column_end, lines, 0);
    if (!found || loops::value_of(found->line) != 0 || loops::value_of(found->k) != 0) return std::nullopt;
    found->map.is_rounded = false;
    return found;
  }

  bool is_constant(const Expr& e) const {
    if (e->kind == ExprKind::Load) return false;
    if (e->kind == ExprKind::Variable) return integer_of(e->var) >= 0;
    return std::ranges::all_of(e->args, [&](const Expr& arg) { return is_constant(arg); });
  }

 private:
  // Leaves in a Load's mask what does not speak of k. Null: nothing does, so that tiles lie within.
  static bool take_end(Expr& of, const loops::Var& k, Expr& end) {
    if (of->args.size() < 2) return true;
    std::vector<Expr> conditions;
    collect_conditions(of->args[1], conditions);
    Expr rest;
    for (const Expr& condition : conditions) {
      if (!mentions(condition, k)) {
        rest = rest ? loops::apply(ScalarOp::And, {rest, condition}) : condition;
        continue;
      }
      const Expr below = lines_below(condition, k);
      if (!below || end) return false;
      end = below;
    }
    of = loops::load(of->buffer, of->args[0], 1, rest);
    return true;
  }

  std::optional<MappedOperand> read(const loops::ProductOperand& operand, const OperandForm& form, const Expr& end,
                                    int lines, int depth) const {
    if (form.kind != OperandForm::Kind::Strided) return std::nullopt;
    const int bytes = bit_width(operand.value->type.dtype) / 8;
    Parts parts;
    if (!split(form.base, loops::integer(1), parts)) return std::nullopt;
    MappedOperand found{{}, loops::integer(0), loops::integer(0), {}};
    const auto buffer = std::ranges::find(kernel_.buffers, operand.value->buffer);
    found.map.buffer = static_cast<int>(buffer - kernel_.buffers.begin());
    found.map.dtype = operand.value->type.dtype;
    const auto offset = number(parts.constant), pitch = stride(form.stride);
    if (!offset || !pitch) return std::nullopt;
    found.map.offset = *offset;

    const Expr along = loops::integer(1), &line_stride = operand.along_k ? form.stride : along,
               &k_stride = operand.along_k ? along : form.stride;
    std::vector<MapNumber> other_strides;
    for (const Part& part : parts.varying) {
      if (loops::same(part.stride, line_stride)) {
        found.line = loops::add(found.line, part.position);
      } else if (loops::same(part.stride, k_stride)) {
        found.k = loops::add(found.k, part.position);
      } else {
        const auto other = stride(part.stride);
        if (!other) return std::nullopt;
        other_strides.push_back(*other);
        found.others.push_back(part.position);
      }
    }
    if (found.others.size() > kMostOthers) return std::nullopt;
    const auto line_extent = extent(form.lines, found.line), k_extent = extent(end, found.k);
    if (!line_extent || !k_extent) return std::nullopt;

    const int width = static_cast<int>(kPanelBytes) / bytes;
    found.map.extents = {*k_extent, *line_extent};
    found.map.box = {width, lines};
    if (!operand.along_k) {
      std::swap(found.map.extents[0], found.map.extents[1]);
      found.map.box = {width, depth};
    }
    found.map.strides = {*pitch};
    for (const MapNumber& stride : other_strides) {
      found.map.extents.push_back({kUnbounded});
      found.map.strides.push_back(stride);
      found.map.box.push_back(1);
    }
    return found;
  }

  struct Part {
    Expr position, stride;
  };
  struct Parts {
    std::vector<Part> varying;  // with the task; each stride once
    Expr constant = loops::integer(0);
  };

  int integer_of(const loops::Var& var) const {
    const auto at = std::ranges::find(kernel_.integers, var);
    return at == kernel_.integers.end() ? -1 : static_cast<int>(at - kernel_.integers.begin());
  }

  std::optional<MapNumber> number(const Expr& e) const {
    if (const auto value = loops::value_of(e)) return MapNumber{*value};
    if (e->kind == ExprKind::Variable && integer_of(e->var) >= 0) return MapNumber{1, integer_of(e->var)};
    if (e->kind != ExprKind::Apply || e->op != ScalarOp::Mul) return std::nullopt;
    const auto a = number(e->args[0]), b = number(e->args[1]);
    if (!a || !b || (a->integer >= 0 && b->integer >= 0)) return std::nullopt;
    return MapNumber{a->factor * b->factor, std::max(a->integer, b->integer)};
  }

  // Of a dimension in which a tile begins at `first` and what is there ends `end` further; null: none matters.
  std::optional<MapNumber> extent(const Expr& end, const Expr& first) const {
    return end ? number(loops::add(end, first)) : std::optional(MapNumber{kUnbounded});
  }

  // The engine walks forwards only.
  std::optional<MapNumber> stride(const Expr& e) const {
    return loops::bounds(e).lo >= 0 && loops::value_of(e) != 0 ? number(e) : std::nullopt;
  }

  // Adds e * stride, where the stride is constant.
  bool split(const Expr& e, const Expr& stride, Parts& parts) const {
    if (is_constant(e)) {
      parts.constant = loops::add(parts.constant, loops::mul(e, stride));
      return true;
    }
    const bool applies = e->kind == ExprKind::Apply;
    if (applies && e->op == ScalarOp::Add)
      return std::ranges::all_of(e->args, [&](const Expr& arg) { return split(arg, stride, parts); });
    if (applies && e->op == ScalarOp::Mul)
      for (const int constant : {0, 1})
        if (is_constant(e->args[constant]))
          return split(e->args[1 - constant], loops::mul(stride, e->args[constant]), parts);
    if (e->kind == ExprKind::Load) return false;
    for (Part& part : parts.varying)
      if (loops::same(part.stride, stride)) {
        part.position = loops::add(part.position, e);
        return true;
      }
    parts.varying.push_back({e, stride});
    return true;
  }

  const loops::Kernel& kernel_;
};

// What is stored, where the loop over a thread's elements has one Store and no loop in it, and the bounds that guard
// it.
struct GuardedStore {
  const loops::StmtNode* store = nullptr;
  Expr row_end, column_end;
  bool is_single = true;
};

void bound(const Expr& condition, const loops::Var& row, const loops::Var& column, GuardedStore& found) {
  const bool applies = condition->kind == ExprKind::Apply;
  if (applies && condition->op == ScalarOp::And) {
    for (const Expr& arg : condition->args) bound(arg, row, column, found);
  } else if (applies && condition->op == ScalarOp::Less && condition->args[0]->kind == ExprKind::Variable) {
    const loops::Var& var = condition->args[0]->var;
    found.is_single &= var == row || var == column;
    (var == row ? found.row_end : found.column_end) = condition->args[1];
  } else {
    found.is_single = false;
  }
}

void find_store(const std::vector<loops::Stmt>& statements, const loops::Var& row, const loops::Var& column,
                GuardedStore& found) {
  for (const loops::Stmt& statement : statements) {
    switch (statement->kind) {
      case loops::StmtKind::Let:
        break;
      case loops::StmtKind::If:
        found.is_single &= statement->otherwise.empty();
        bound(statement->value, row, column, found);
        [[fallthrough]];
      case loops::StmtKind::Block:
        find_store(statement->body, row, column, found);
        break;
      case loops::StmtKind::Store:
        found.is_single &= !found.store && !statement->mask && statement->value->type.lanes <= 2;
        found.store = &*statement;
        break;
      default:
        found.is_single = false;
    }
  }
}

// Is a tile's place told before the loop over its elements begins?
bool is_known_before(const std::vector<loops::Stmt>& loop, const std::vector<Expr>& places) {
  return std::ranges::none_of(loop, [&](const loops::Stmt& statement) {
    const auto is_named_here = [&](const Expr& other) { return mentions(other, statement->var); };
    return (statement->kind == loops::StmtKind::Let && std::ranges::any_of(places, is_named_here)) ||
           !is_known_before(statement->body, places);
  });
}

// Can the threads store whole rows? Else fragments go to memory as they are.
std::optional<OperandForm> rows_of_results(const loops::StmtNode& store, const loops::Var& row,
                                           const loops::Var& column) {
  const int bits = bit_width(store.buffer->element.dtype);
  if (bits != 16 && bits != 32) return std::nullopt;
  const loops::ProductOperand as_operand{loops::load(store.buffer, store.index), true, 1};
  OperandForm form = operand_form(as_operand, row, column);
  if (form.kind != OperandForm::Kind::Strided) return std::nullopt;
  return form;
}

// The epilogue is a loop over elements or pairs of them, of which the first two Lets are the row and the column.
std::optional<StagedResults> staged_results(const WarpgroupTask& task, const MapReader& reader) {
  if (task.epilogue->body.size() != 1) return std::nullopt;
  const loops::StmtNode& loop = *task.epilogue->body[0];
  if (loop.kind != loops::StmtKind::For || loop.body.size() < 3) return std::nullopt;
  if (loop.body[0]->kind != loops::StmtKind::Let || loop.body[1]->kind != loops::StmtKind::Let) return std::nullopt;
  const loops::Var &row = loop.body[0]->var, &column = loop.body[1]->var;
  GuardedStore found;
  find_store(loop.body, row, column, found);
  if (!found.store || !found.is_single || found.store->buffer->space != loops::Space::Global) return std::nullopt;
  if (found.store->index->type.lanes != 1 || loops::value_of(loop.step) != found.store->value->type.lanes)
    return std::nullopt;
  const int64_t line_bytes = task.product->product->columns * bit_width(found.store->buffer->element.dtype) / 8;
  if (line_bytes % kPanelBytes != 0) return std::nullopt;
  auto place = reader.read(found.store->buffer, found.store->index, row, column, found.row_end, found.column_end, 64);
  if (place && !is_known_before(loop.body, place->others)) place = std::nullopt;
  const auto rows = rows_of_results(*found.store, row, column);
  if (!rows || !is_known_before(loop.body, {rows->base, rows->stride})) return std::nullopt;
  const loops::Substitution first = {{task.epilogue->var.get(), loops::integer(0)},
                                     {loop.var.get(), loops::integer(0)}};
  return StagedResults{&loop,
                       found.store,
                       std::move(place),
                       rows->base,
                       rows->stride,
                       loops::substitute(loop.body[0]->value, first),
                       loops::substitute(loop.body[1]->value, first),
                       found.row_end,
                       found.column_end};
}

void find_loads(const Expr& e, std::vector<Expr>& found) {
  if (e->kind == ExprKind::Load && e->buffer->space == loops::Space::Global) found.push_back(e);
  for (const Expr& arg : e->args) find_loads(arg, found);
}
void find_loads(const std::vector<loops::Stmt>& statements, std::vector<Expr>& found) {
  for (const loops::Stmt& statement : statements) {
    if (statement->value) find_loads(statement->value, found);
    find_loads(statement->body, found);
  }
}

// How many slots of the ring the residual's tile takes; a static_assert holds device/wgmma_residual.h to it.
int64_t slots_of_residual(const loops::ProductNode& p, int64_t bytes) {
  const int64_t slot = (p.rows + p.columns) * p.depth * bit_width(p.a.value->type.dtype) / 8;
  const int64_t panels = p.columns * bytes / kPanelBytes, each = slot / (kPanelBytes * p.rows);
  return (panels + each - 1) / each;
}

// Consumers share a tile by rows; where they take turns, one slot must hold the residual.
bool may_have_residual(const loops::ProductNode& p, int64_t bytes) {
  if (p.rows > 256 || p.columns * bytes % kPanelBytes != 0) return false;
  return takes_turns(p) ? slots_of_residual(p, bytes) == 1 : p.rows == 64 * consumers_of(p);
}

// The first load of the epilogue that has the results' rows and columns.
std::optional<MappedResidual> mapped_residual(const WarpgroupTask& task, const MapReader& reader,
                                              const StagedResults& results) {
  const loops::Var &row = results.loop->body[0]->var, &column = results.loop->body[1]->var;
  std::vector<Expr> loads;
  find_loads(results.loop->body, loads);
  for (const Expr& load : loads) {
    const bool whole_pair = load->type.lanes == 2 && load->args.size() == 1 && load->args[0]->type.lanes == 1;
    if (!whole_pair || load->buffer->element.lanes != 1 || load->buffer->written) continue;
    const loops::ProductNode& p = *task.product->product;
    const int64_t bytes = bit_width(load->buffer->element.dtype) / 8;
    if (!may_have_residual(p, bytes)) continue;
    auto place = reader.read(load->buffer, load->args[0], row, column, results.row_end, results.column_end, p.rows);
    if (!place || !is_known_before(results.loop->body, place->others)) continue;
    return MappedResidual{load, std::move(*place), slots_of_residual(p, bytes)};
  }
  return std::nullopt;
}

// Of all of k, or of all keys: a part of k ends there, or at a multiple of the steps, beyond which nothing is asked
// for; of keys beyond the end that a tile of queries has the scores are hidden. Their values come as they lie and weigh
// 0: a NaN or an infinity there makes NaN, as 0 * NaN does in ONNX's own softmax and product.
Expr end_of_depth(const WarpgroupTask& task, const MapReader& reader) {
  const Expr& end = task.product->end;
  if (end->kind != ExprKind::Variable) return end;
  for (const loops::StmtNode* let : task.lets) {
    const Expr& value = let->value;
    if (let->var != end->var) continue;
    if (reader.is_constant(value)) return value;
    if (value->kind != ExprKind::Apply || value->op != ScalarOp::Min) continue;
    for (const Expr& bound : value->args)
      if (reader.is_constant(bound)) return bound;
  }
  return end;
}

}  // namespace

MappedOperands mapped_operands(const loops::Kernel& kernel) {
  const auto task = warpgroup_task(kernel);
  if (!task) return {};
  const MapReader reader(kernel);
  const Expr end = end_of_depth(*task, reader);
  if (task->product->attend) {
    const loops::AttendNode& a = *task->product->attend;
    return {{{"q", reader.read(a.q, a.inner, a.query, nullptr, a.depth, a.queries)},
             {"k", reader.read(a.k, a.inner, a.key, end, a.depth, a.keys)},
             {"v", reader.read(a.v, a.column, a.key, end, a.columns, a.keys)}},
            {},
            {}};
  }
  const loops::ProductNode& p = *task->product->product;
  MappedOperands found = {{{"a", reader.read(p.a, p.row, p.k, end, p.rows, p.depth)},
                           {"b", reader.read(p.b, p.column, p.k, end, p.columns, p.depth)}},
                          staged_results(*task, reader),
                          {}};
  if (found.results && found.results->place && found.results->is_by_pairs())
    found.residual = mapped_residual(*task, reader, *found.results);
  return found;
}

const std::optional<MappedOperand>& MappedOperands::of(std::string_view name) const {
  static const std::optional<MappedOperand> none;
  const auto found = std::ranges::find(operands, name, &Named::name);
  return found == operands.end() ? none : found->operand;
}

std::string schedule_of(const loops::Kernel& kernel) {
  const MappedOperands mapped = mapped_operands(kernel);
  std::string names;
  for (const auto& [name, operand] : mapped.operands)
    if (operand) names += (names.empty() ? ":" : ",") + std::string(name);
  const bool all = std::ranges::all_of(mapped.operands, [](const auto& named) { return named.operand.has_value(); });
  std::string text = kernel.schedule;
  if (!names.empty()) text += " copy=tma" + (all ? "" : names);
  if (mapped.residual) text += " residual=tma";
  if (mapped.results) text += mapped.results->place ? " store=tma" : " store=rows";
  return text;
}

std::vector<TensorMap> tensor_maps(const loops::Kernel& kernel) {
  const MappedOperands operands = mapped_operands(kernel);
  std::vector<TensorMap> maps;
  for (const auto& [name, operand] : operands.operands)
    if (operand) maps.push_back(operand->map);
  if (operands.residual) maps.push_back(operands.residual->place.map);
  if (operands.results && operands.results->place) maps.push_back(operands.results->place->map);
  return maps;
}

}  // namespace lapidary::codegen::cuda
