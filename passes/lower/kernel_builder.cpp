#include "passes/lower/kernel_builder.h"

#include <fmt/format.h>

#include "ir/error.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

std::vector<Stmt> wrap_locals(std::vector<Stmt> outer, const Buffer& local, std::vector<Stmt> inner) {
  outer.push_back(alloc(local, std::move(inner)));
  return outer;
}

// What a parameter may be assumed to be: never the value itself, so that kernels of other sizes are equal.
Var make_parameter(size_t index, Dim dim, int64_t multiple) {
  const int64_t low = range(dim).lo;
  const int64_t known = low >= 1 ? 1 : low >= 0 ? 0 : INT64_MIN / 4;
  return make_var(fmt::format("n{}", index), {}, known, INT64_MAX / 4, multiple);
}

}  // namespace

Expr Block::let(const std::string& name, Expr value) {
  if (value->kind == ExprKind::Const || value->kind == ExprKind::Variable) return value;
  Var var = make_var(name, value->type, value->lo, value->hi, value->multiple);
  add(loops::let(var, std::move(value)));
  return variable(var);
}

Buffer Block::allocate(Buffer buffer) {
  entries_.push_back({nullptr, buffer});
  return buffer;
}

Buffer Block::local(const std::string& name, ExprType element, int64_t size) {
  return allocate(make_local(name, element, size));
}
Buffer Block::shared(const std::string& name, DType dtype, int64_t size) {
  return allocate(make_shared_memory(name, dtype, size));
}
Buffer Block::fragment(const std::string& name, DType dtype, int64_t size) {
  return allocate(make_fragment(name, dtype, size));
}

// An Alloc holds what follows it, so the list is folded from its end.
std::vector<Stmt> Block::take() {
  std::vector<std::pair<Buffer, std::vector<Stmt>>> parts(1);
  for (Entry& entry : entries_) {
    if (entry.local)
      parts.push_back({entry.local, {}});
    else
      parts.back().second.push_back(std::move(entry.statement));
  }
  entries_.clear();
  while (parts.size() > 1) {
    auto [local, inner] = std::move(parts.back());
    parts.pop_back();
    parts.back().second = wrap_locals(std::move(parts.back().second), local, std::move(inner));
  }
  return std::move(parts.back().second);
}

KernelBuilder::KernelBuilder(Module& module, const Target& target, std::string family, std::string schedule)
    : module(module),
      target(target),
      family_(std::move(family)),
      schedule_(std::move(schedule)),
      task_(make_var("task", {}, 0, INT64_MAX / 4)) {}

Expr KernelBuilder::parameter(Dim dim) {
  int64_t multiple = target.is_gpu() ? 16 : 1;
  while (multiple > 1 && !known_multiple(dim, multiple)) multiple /= 2;
  return parameter_multiple_of(dim, multiple);
}

Expr KernelBuilder::parameter_multiple_of(Dim dim, int64_t multiple) {
  const auto known = value_of(dim);
  if (known && (*known == 0 || *known == 1)) return integer(*known);
  LPD_CHECK(!known || *known % multiple == 0, "{} is no multiple of {}", *known, multiple);
  for (size_t i = 0; i < integers_.size(); ++i)
    if (shared_[i] && integer_dims_[i] == dim && integers_[i]->multiple % multiple == 0) return variable(integers_[i]);
  integers_.push_back(make_parameter(integers_.size(), dim, multiple));
  integer_dims_.push_back(dim);
  shared_.push_back(true);
  return variable(integers_.back());
}

Expr KernelBuilder::argument(Dim dim) {
  integers_.push_back(
      make_var(fmt::format("n{}", integers_.size()), {}, range(dim).lo >= 0 ? 0 : INT64_MIN / 4, INT64_MAX / 4));
  integer_dims_.push_back(dim);
  shared_.push_back(false);
  return variable(integers_.back());
}

Expr KernelBuilder::literal(Dim dim) {
  const auto known = value_of(dim);
  return known ? integer(*known) : parameter(dim);
}

Expr KernelBuilder::divisor(Dim dim) { return literal(range(dim).lo >= 1 ? dim : module.dims.max(dim, this->dim(1))); }

Buffer KernelBuilder::global(const BufferSource& source, const std::string& prefix, DType dtype, bool written,
                             bool reads_own_writes) {
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i] != source) continue;
    LPD_CHECK(buffers_[i]->written == written, "buffer {} is both read and written", buffers_[i]->name);
    return buffers_[i];
  }
  const std::string name = fmt::format("{}{}", prefix, buffers_.size());
  buffers_.push_back(source.kind == BufferSource::Kind::Flag ? make_flag(name)
                                                             : make_global(name, dtype, written, reads_own_writes));
  sources_.push_back(source);
  return buffers_.back();
}

Buffer KernelBuilder::operand(const Value* value) {
  if (value->producer && value->producer->is(OpKind::Constant))
    return weight(value->producer->params.constant("value"));
  return global({BufferSource::Kind::Value, value}, "in", value->type.dtype, false, false);
}

Buffer KernelBuilder::result(const Value* value) {
  return global({BufferSource::Kind::Value, value}, "out", value->type.dtype, true, false);
}

Buffer KernelBuilder::result_read_back(const Value* value) {
  return global({BufferSource::Kind::Value, value}, "out", value->type.dtype, true, true);
}

Buffer KernelBuilder::operand_as(const Value* value, DType dtype) {
  if (value->producer && value->producer->is(OpKind::Constant))
    return weight_as(value->producer->params.constant("value"), dtype);
  return global({BufferSource::Kind::Value, value}, "in", dtype, false, false);
}

Buffer KernelBuilder::result_as(const Value* value, DType dtype) {
  return global({BufferSource::Kind::Value, value}, "out", dtype, true, false);
}

Buffer KernelBuilder::weight(ConstantId id) { return weight_as(id, module.constants[id].dtype); }

Buffer KernelBuilder::weight_as(ConstantId id, DType dtype) {
  return global({BufferSource::Kind::Weight, nullptr, id}, "w", dtype, false, false);
}

Buffer KernelBuilder::scratch(uint32_t index, DType dtype, bool written, bool reads_own_writes) {
  BufferSource source{BufferSource::Kind::Scratch};
  source.scratch = index;
  return global(source, "scratch", dtype, written, reads_own_writes);
}

Buffer KernelBuilder::flag(const std::string& message) {
  BufferSource source{BufferSource::Kind::Flag};
  source.message = message;
  return global(source, "flag", DType::I32, true, false);
}

Buffer KernelBuilder::stage(const std::string& name, DType dtype, Dim elements) {
  buffers_.push_back(make_stage(name, dtype));
  sources_.push_back({BufferSource::Kind::Stage});
  stage_sizes_.push_back(module.dims.mul(elements, dim(bit_width(dtype) / 8)));
  return buffers_.back();
}

std::vector<Expr> KernelBuilder::split_task(const std::vector<Dim>& extents) {
  return split_index(*this, body, variable(task_), extents);
}

std::vector<Expr> split_index(KernelBuilder& builder, Block& block, Expr rest, const std::vector<Dim>& extents) {
  std::vector<Expr> parts(extents.size(), integer(0));
  size_t left = 0;  // axes that are not 1
  for (Dim extent : extents) left += value_of(extent) != 1;
  for (size_t i = extents.size(); i-- > 0;) {
    if (value_of(extents[i]) == 1) continue;
    if (--left == 0) {
      parts[i] = rest;
      break;
    }
    Expr extent = builder.parameter(builder.module.dims.max(extents[i], builder.dim(1)));
    parts[i] = block.let(fmt::format("t{}", i), mod(rest, extent));
    rest = block.let(fmt::format("r{}", i), floordiv(rest, extent));
  }
  return parts;
}

LoweredVariant KernelBuilder::finish(Dim tasks, Dim when, Dim rounds) {
  LoweredVariant variant;
  Expr end = parameter(rounds ? module.dims.mul(tasks, rounds) : tasks);
  variant.kernel.family = family_;
  variant.kernel.schedule = schedule_;
  if (target.is_gpu() && !threads && !for_gpu && family_ != kPlain)
    variant.kernel.schedule = schedule_.empty() ? kPlain : fmt::format("{} {}", kPlain, schedule_);
  variant.kernel.threads = threads;
  variant.kernel.body = block({for_loop(task_, integer(0), end, 1, LoopKind::Task, body.take())});
  variant.kernel.buffers = std::move(buffers_);
  variant.kernel.integers = std::move(integers_);
  variant.when = when;
  variant.tasks = tasks;
  variant.rounds = rounds;
  variant.integers = std::move(integer_dims_);
  variant.buffers = std::move(sources_);
  DimPool& dims = module.dims;
  Dim offset = dim(0);
  for (Dim bytes : stage_sizes_) {
    variant.stage_offsets.push_back(offset);
    offset = dims.add(offset, dims.mul(dims.ceildiv(bytes, dim(64)), dim(64)));
  }
  if (!stage_sizes_.empty()) variant.stage_bytes = offset;
  return variant;
}

LoweredStep single_step(LoweredVariant variant) {
  LoweredStep step;
  step.variants.push_back(std::move(variant));
  return step;
}

}  // namespace lapidary::lowering
