// Statements. Every name gets the number of its declaration, so that what a kernel calls its variables cannot clash.
#include "codegen/cuda/emitter.h"

#include <algorithm>

#include "codegen/cuda/expressions.h"
#include "codegen/cuda/operand_printer.h"
#include "codegen/cuda/shared_memory.h"
#include "codegen/cuda/tensor_maps.h"
#include "codegen/cuda/tile_type.h"
#include "codegen/cuda/warpgroup_printer.h"
#include "codegen/cuda/warpgroup_task.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {

using loops::LoopKind;
using loops::Space;
using loops::StmtKind;
using loops::StmtNode;

namespace {

std::string_view reduction_of(ScalarOp op) {
  if (op == ScalarOp::Add) return "sum";
  if (op == ScalarOp::Mul) return "product";
  return op == ScalarOp::Min ? "least" : "most";
}

class KernelEmitter {
 public:
  KernelEmitter(const loops::Kernel& kernel, bool strict_math)
      : kernel_(kernel), mapped_(mapped_operands(kernel)), expressions_(text_, strict_math) {}

  std::string run(const std::string& name) {
    text_.line("// {}: {}", kernel_.family, schedule_of(kernel_));
    text_.line("extern \"C\" __global__ void __launch_bounds__({}) {}({}) {{", bounds(), name, parameters());
    {
      Text::Indent inside(text_);
      text_.line("await_turn();");
      if (kernel_.threads == 0) begin_threads();
      if (shared_bytes(kernel_) > 0) text_.line("DYNAMIC_SHARED(shared);");
      if (const auto task = warpgroup_task(kernel_))
        WarpgroupPrinter(kernel_, text_, expressions_, mapped_, [this](const StmtNode& s) { emit(s); }).print(*task);
      else
        emit(*kernel_.body);
    }
    text_.line("}}");
    return text_.take();
  }

 private:
  // Blocks that multiply nothing wait for memory: enough of them keep it busy, so none has more registers than its
  // share of 24 warps, however far ahead the compiler would like to load; of 32 where they wait for each other, too.
  std::string bounds() const {
    const int busy = has(*kernel_.body, {StmtKind::Combine}) ? 1024 : 768;
    const int threads = block_threads(kernel_), blocks = busy / threads;
    if (is_persistent(kernel_)) return fmt::format("{}, 1", threads);
    const bool waits = kernel_.threads > 0 && blocks > 1 && !has(*kernel_.body, {StmtKind::Product, StmtKind::Attend});
    return waits ? fmt::format("{}, {}", threads, blocks) : fmt::format("{}", threads);
  }

  static bool has(const StmtNode& statement, std::initializer_list<StmtKind> kinds) {
    if (std::ranges::find(kinds, statement.kind) != kinds.end()) return true;
    const auto any = [&](const std::vector<loops::Stmt>& list) {
      return std::ranges::any_of(list, [&](const loops::Stmt& part) { return has(*part, kinds); });
    };
    return any(statement.body) || any(statement.otherwise);
  }

  // A task for each thread: where it stands in the grid, and its stages.
  void begin_threads() {
    text_.line("const i64 thread = i64(blockIdx.x) * blockDim.x + threadIdx.x, threads = i64(gridDim.x) * blockDim.x;");
    for (const loops::Buffer& buffer : kernel_.buffers) {
      if (buffer->space != Space::Stage) continue;
      const std::string& name = expressions_.declare(buffer);
      text_.line("{0}* const {1} = ({0}*)(stage + thread * stage_each + {1}_offset);",
                 memory_type(buffer->element.dtype), name);
    }
  }

  std::string parameters() {
    std::string list;
    for (const loops::Buffer& buffer : kernel_.buffers) {
      const bool stage = buffer->space == Space::Stage;
      const char* constant = buffer->written || buffer->flag ? "" : "const ";
      list += stage ? fmt::format("i64 {}_offset, ", expressions_.declare(buffer))
                    : fmt::format("{}{}* __restrict__ {}, ", constant, memory_type(buffer->element.dtype),
                                  expressions_.declare(buffer));
    }
    list += "i64 task_begin, i64 task_end, char* stage, i64 stage_each";
    for (const loops::Var& integer : kernel_.integers) list += ", i64 " + expressions_.declare(integer);
    for (const auto& [name, operand] : mapped_.operands)
      if (operand) list += fmt::format(", const __grid_constant__ tensor_map map_{}", name);
    if (mapped_.residual) list += ", const __grid_constant__ tensor_map map_r";
    if (mapped_.results && mapped_.results->place) list += ", const __grid_constant__ tensor_map map_c";
    return list;
  }

  void emit_all(const std::vector<loops::Stmt>& statements) {
    Text::Indent inside(text_);
    emit_each(statements);
  }

  void emit_each(const std::vector<loops::Stmt>& statements) {
    for (size_t i = 0; i < statements.size(); ++i) {
      if (i + 1 == statements.size() || !is_rest_of(*statements[i], *statements[i + 1])) {
        emit(*statements[i]);
        continue;
      }
      const StmtNode &rest = *statements[i], &quotient = *statements[++i];
      emit(quotient);
      const loops::Expr whole = loops::mul(loops::variable(quotient.var), quotient.value->args[1]);
      const loops::Expr left = loops::sub(quotient.value->args[0], whole);
      expressions_.begin({left});
      emit_let(rest.var, left);
    }
  }

  // Is the first what the second's division leaves? The compiler does not see that they divide alike.
  static bool is_rest_of(const StmtNode& rest, const StmtNode& quotient) {
    const auto names = [](const StmtNode& statement, ScalarOp op) {
      return statement.kind == StmtKind::Let && statement.value->kind == loops::ExprKind::Apply &&
             statement.value->op == op && statement.value->type == loops::ExprType{DType::I64, 1};
    };
    if (!names(rest, ScalarOp::FloorMod) || !names(quotient, ScalarOp::Div)) return false;
    const std::vector<loops::Expr>&x = rest.value->args, &y = quotient.value->args;
    return x[0]->lo >= 0 && x[1]->lo > 0 && x[1]->kind != loops::ExprKind::Const && loops::same(x[0], y[0]) &&
           loops::same(x[1], y[1]);
  }

  void emit_let(const loops::Var& var, const loops::Expr& of) {
    const std::string value = expressions_.value(of);
    text_.line("const {} {} = {};", value_type(var->type), expressions_.declare(var), value);
  }

  void emit(const StmtNode& statement) {
    expressions_.begin({statement.begin, statement.end, statement.value, statement.index, statement.mask});
    switch (statement.kind) {
      case StmtKind::Block:
        return emit_each(statement.body);
      case StmtKind::For:
        return emit_for(statement);
      case StmtKind::Let:
        return emit_let(statement.var, statement.value);
      case StmtKind::If: {
        text_.line("if ({}) {{", expressions_.value(statement.value));
        emit_all(statement.body);
        if (!statement.otherwise.empty()) {
          text_.line("}} else {{");
          emit_all(statement.otherwise);
        }
        return text_.line("}}");
      }
      case StmtKind::Store:
        if (mapped_.results && &statement == mapped_.results->store) {
          const std::string value = expressions_.value(statement.value);
          return text_.line("stores::put(part, holder, {}, {});",
                            expressions_.value(loops::variable(mapped_.results->loop->var)), value);
        }
        return text_.line("{};", expressions_.store(statement));
      case StmtKind::Alloc:
        return emit_alloc(statement);
      case StmtKind::Barrier:
        return text_.line("barrier();");
      case StmtKind::Combine:
        return emit_combine(statement);
      case StmtKind::Product:
        return emit_product(statement);
      case StmtKind::Attend:
        return emit_attend(statement);
    }
  }

  void emit_alloc(const StmtNode& alloc) {
    const loops::BufferNode& buffer = *alloc.buffer;
    const std::string type =
        buffer.element.lanes > 1 ? value_type(buffer.element) : std::string(memory_type(buffer.element.dtype));
    const int64_t outside = shared_;
    text_.line("{{");
    {
      Text::Indent inside(text_);
      const std::string& name = expressions_.declare(alloc.buffer);
      if (buffer.space == Space::Shared) {
        text_.line("{0}* const {1} = ({0}*)(shared + {2});", type, name, shared_);
        shared_ += aligned_shared(buffer.size * bit_width(buffer.element.dtype) / 8);
      } else {
        text_.line("{} {}[{}];", type, name, buffer.size);
      }
      for (const loops::Stmt& part : alloc.body) emit(*part);
    }
    text_.line("}}");
    shared_ = outside;
  }

  void emit_for(const StmtNode& loop) {
    const auto step = loops::value_of(loop.step);
    LPD_CHECK(step && *step > 0, "step of the loop over '{}' is no positive constant", loop.var->name);
    if (loop.loop == LoopKind::Thread) return emit_threads(loop);
    if (loop.loop == LoopKind::Task) return emit_tasks(loop);
    const std::string begin = expressions_.value(loop.begin), end = expressions_.value(loop.end);
    text_.line("#pragma unroll{}", loop.loop == LoopKind::Unrolled ? "" : " 1");
    const std::string& name = expressions_.declare(loop.var);
    text_.line("for (i64 {0} = {1}; {0} < {2}; {0} += {3}) {{", name, begin, end, *step);
    emit_all(loop.body);
    text_.line("}}");
  }

  // Behind a block's task its shared memory is the next one's.
  void emit_tasks(const StmtNode& loop) {
    const bool by_blocks = kernel_.threads > 0;
    const std::string& name = expressions_.declare(loop.var);
    text_.line("for (i64 {0} = task_begin + {1}; {0} < task_end; {0} += {2}) {{", name,
               by_blocks ? "blockIdx.x" : "thread", by_blocks ? "gridDim.x" : "threads");
    emit_all(loop.body);
    if (shared_bytes(kernel_) > 0) text_.line("  barrier();");
    text_.line("}}");
  }

  void emit_threads(const StmtNode& loop) {
    text_.line("{{");
    {
      Text::Indent inside(text_);
      text_.line("const i64 {} = threadIdx.x;", expressions_.declare(loop.var));
      for (const loops::Stmt& part : loop.body) emit(*part);
    }
    text_.line("}}");
  }

  void emit_combine(const StmtNode& combine) {
    const std::string& name = expressions_.declare(combine.buffer);
    const std::string_view type = memory_type(combine.buffer->element.dtype);
    text_.line("#pragma unroll");
    text_.line("for (int i = 0; i < {0}; ++i) {1}[i] = reduce_threads<{2}, {3}, {4}>({1}[i], ({5}*)({6}));",
               combine.buffer->size, name, reduction_of(combine.op), combine.group, kernel_.threads, type,
               combine.group > 32 ? fmt::format("shared + {}", shared_) : "nullptr");
  }

  void emit_product(const StmtNode& statement) {
    const std::string begin = expressions_.value(statement.begin), end = expressions_.value(statement.end);
    const std::string accumulator = expressions_.declare(statement.buffer);
    text_.line("{{");
    {
      Text::Indent inside(text_);
      print_tile_type(text_, kernel_, statement);
      const std::string operands = operands_.print(statement);
      text_.line("tile::accumulate({}, shared + {}, {}, {}, {});", accumulator, shared_, begin, end, operands);
    }
    text_.line("}}");
  }

  void emit_attend(const StmtNode& statement) {
    const loops::AttendNode& a = *statement.attend;
    const std::string begin = expressions_.value(statement.begin), end = expressions_.value(statement.end);
    const std::string accumulator = expressions_.declare(statement.buffer);
    text_.line("{{");
    {
      Text::Indent inside(text_);
      print_tile_type(text_, kernel_, statement);
      const std::string operands = operands_.print(statement);
      text_.line("int next = 0;  // results come in the order that the accumulator has");
      text_.line("const auto result = [&](int, int, f32 x, f32 y) {{ {0}[next++] = x, {0}[next++] = y; }};",
                 accumulator);
      text_.line("const auto log_sum = [&](int, f32 x) {{ {} }};", a.log_sums ? accumulator + "[next++] = x;" : "");
      text_.line("tile::run(shared + {}, {}, {}, {}, result, log_sum);", shared_, begin, end, operands);
    }
    text_.line("}}");
  }

  const loops::Kernel& kernel_;
  const MappedOperands mapped_;
  Text text_;
  ExpressionPrinter expressions_;
  OperandPrinter operands_{text_, expressions_, mapped_};
  int64_t shared_ = 0;  // bytes in scope
};

}  // namespace

int block_threads(const loops::Kernel& kernel) {
  if (kernel.threads == 0) return kThreadsPerBlock;
  const auto task = warpgroup_task(kernel);
  if (!task) return kernel.threads;
  const auto& product = task->product->product;
  return 128 + (product ? 128 * consumers_of(*product) : kernel.threads);
}

bool is_persistent(const loops::Kernel& kernel) { return warpgroup_task(kernel).has_value(); }

std::string kernel_text(const loops::Kernel& kernel, const std::string& name, bool strict_math) {
  return KernelEmitter(kernel, strict_math).run(name);
}

}  // namespace lapidary::codegen::cuda
