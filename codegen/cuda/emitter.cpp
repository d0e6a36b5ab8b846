// Statements. Every name gets the number of its declaration, so that what a kernel calls its variables cannot clash.
#include "codegen/cuda/emitter.h"

#include "codegen/cuda/expressions.h"
#include "ir/error.h"

namespace lapidary::codegen::cuda {

using loops::LoopKind;
using loops::Space;
using loops::StmtKind;
using loops::StmtNode;

namespace {

class KernelEmitter {
 public:
  explicit KernelEmitter(const loops::Kernel& kernel) : kernel_(kernel), expressions_(text_) {}

  std::string run(const std::string& name) {
    text_.line("// {}: {}", kernel_.family, kernel_.schedule);
    text_.line("extern \"C\" __global__ void __launch_bounds__({}) {}({}) {{", kThreadsPerBlock, name, parameters());
    {
      Text::Indent inside(text_);
      text_.line("const i64 thread = i64(blockIdx.x) * blockDim.x + threadIdx.x, threads = i64(gridDim.x) * blockDim.x;");
      for (const loops::Buffer& buffer : kernel_.buffers) {
        if (buffer->space != Space::Stage) continue;
        const std::string& name = expressions_.declare(buffer);
        text_.line("{0}* const {1} = ({0}*)(stage + thread * stage_each + {1}_offset);", memory_type(buffer->element.dtype),
                   name);
      }
      emit(*kernel_.body);
    }
    text_.line("}}");
    return text_.take();
  }

 private:
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
    return list;
  }

  void emit_all(const std::vector<loops::Stmt>& statements) {
    Text::Indent inside(text_);
    for (const loops::Stmt& statement : statements) emit(*statement);
  }

  void emit(const StmtNode& statement) {
    expressions_.begin_statement(statement);
    switch (statement.kind) {
      case StmtKind::Block:
        for (const loops::Stmt& part : statement.body) emit(*part);
        return;
      case StmtKind::For:
        return emit_for(statement);
      case StmtKind::Let: {
        const std::string value = expressions_.value(statement.value);
        const std::string type = value_type(statement.var->type);
        return text_.line("const {} {} = {};", type, expressions_.declare(statement.var), value);
      }
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
        return text_.line("{};", expressions_.store(statement));
      case StmtKind::Alloc: {
        const loops::BufferNode& buffer = *statement.buffer;
        const std::string type =
            buffer.element.lanes > 1 ? value_type(buffer.element) : std::string(memory_type(buffer.element.dtype));
        text_.line("{{");
        {
          Text::Indent inside(text_);
          text_.line("{} {}[{}];", type, expressions_.declare(statement.buffer), buffer.size);
          for (const loops::Stmt& part : statement.body) emit(*part);
        }
        return text_.line("}}");
      }
      case StmtKind::Barrier:
        return text_.line("__syncthreads();");
      case StmtKind::Combine:
      case StmtKind::Product:
        LPD_UNREACHABLE("a collective of a block");
    }
  }

  void emit_for(const StmtNode& loop) {
    const auto step = loops::value_of(loop.step);
    LPD_CHECK(step && *step > 0, "step of the loop over '{}' is no positive constant", loop.var->name);
    const bool task = loop.loop == LoopKind::Task;
    const std::string begin = task ? "task_begin + thread" : expressions_.value(loop.begin),
                      end = task ? "task_end" : expressions_.value(loop.end);
    if (loop.loop == LoopKind::Unrolled) text_.line("#pragma unroll");
    if (loop.loop == LoopKind::Serial) text_.line("#pragma unroll 1");
    const std::string& name = expressions_.declare(loop.var);
    text_.line("for (i64 {0} = {1}; {0} < {2}; {0} += {3}) {{", name, begin, end,
               task ? std::string("threads") : std::to_string(*step));
    emit_all(loop.body);
    text_.line("}}");
  }

  const loops::Kernel& kernel_;
  Text text_;
  ExpressionPrinter expressions_;
};

}  // namespace

int64_t shared_bytes(const loops::Kernel&) { return 0; }

std::string kernel_text(const loops::Kernel& kernel, const std::string& name) {
  return KernelEmitter(kernel).run(name);
}

}  // namespace lapidary::codegen::cuda
