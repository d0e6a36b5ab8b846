// Statements. Every name gets the number of its declaration, so that what a kernel calls its variables cannot clash.
#include "codegen/cuda/emitter.h"

#include <algorithm>

#include "codegen/cuda/expressions.h"
#include "codegen/cuda/operand_form.h"
#include "codegen/cuda/score_form.h"
#include "codegen/cuda/shared_memory.h"
#include "codegen/cuda/tensor_maps.h"
#include "codegen/cuda/warpgroup_task.h"
#include "ir/error.h"
#include "ir/fragment.h"

namespace lapidary::codegen::cuda {

using loops::Atom;
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

// The atom's name in device/atoms.h.
std::string tensor_atom(Atom atom, const loops::ProductNode* product = nullptr) {
  const auto bytes = [](const loops::ProductOperand& operand) {
    return operand.value->type.dtype == DType::I8 ? "s8" : "u8";
  };
  switch (atom) {
    case Atom::F16:
      return "atom_f16";
    case Atom::BF16:
      return "atom_bf16";
    case Atom::TF32:
      return "atom_tf32";
    case Atom::TF32x3:
      return "atom_3xtf32";
    case Atom::I8:
      return fmt::format("atom_{}_{}", bytes(product->a), bytes(product->b));
    case Atom::Fma:
      break;
  }
  LPD_UNREACHABLE("not of tensor cores");
}

class KernelEmitter {
 public:
  explicit KernelEmitter(const loops::Kernel& kernel)
      : kernel_(kernel), mapped_(mapped_operands(kernel)), expressions_(text_) {}

  std::string run(const std::string& name) {
    text_.line("// {}: {}", kernel_.family, kernel_.schedule);
    text_.line("extern \"C\" __global__ void __launch_bounds__({}) {}({}) {{", bounds(), name, parameters());
    {
      Text::Indent inside(text_);
      text_.line("await_turn();");
      if (kernel_.threads == 0) begin_threads();
      if (shared_bytes(kernel_) > 0) text_.line("DYNAMIC_SHARED(shared);");
      if (const auto task = warpgroup_task(kernel_))
        emit_warpgroups(*task);
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
    if (mapped_.a) list += ", const __grid_constant__ tensor_map map_a";
    if (mapped_.b) list += ", const __grid_constant__ tensor_map map_b";
    if (mapped_.results) list += ", const __grid_constant__ tensor_map map_c";
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
          const std::string pair = expressions_.value(statement.value);
          return text_.line("stores::put(buffer, holder, {}, {});",
                            expressions_.value(loops::variable(mapped_.results->loop->var)), pair);
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
    const loops::ProductNode& p = *statement.product;
    const std::string begin = expressions_.value(statement.begin), end = expressions_.value(statement.end);
    const std::string accumulator = expressions_.declare(statement.buffer);
    const std::string type =
        p.atom == Atom::Fma ? fmt::format("product_fma<{}, {}, {}, {}, {}, {}, {}>", memory_type(p.a.value->type.dtype),
                                          memory_type(statement.buffer->element.dtype), p.rows, p.columns, p.depth,
                                          kernel_.threads, p.stages)
                            : fmt::format("product_mma<{}, {}, {}, {}, {}, {}, {}>", tensor_atom(p.atom, &p), p.rows,
                                          p.columns, p.depth, p.warp_rows, p.warp_columns, p.stages);
    text_.line("{{");
    {
      Text::Indent inside(text_);
      text_.line("typedef {} tile;", type);
      text_.line("static_assert(tile::shared_bytes == {}, \"shared memory\");", product_shared_bytes(p));
      emit_operand("a", p.a, p.row, p.k);
      emit_operand("b", p.b, p.column, p.k);
      text_.line("tile::accumulate({}, shared + {}, {}, {}, a, b);", accumulator, shared_, begin, end);
    }
    text_.line("}}");
  }

  void emit_warpgroups(const WarpgroupTask& w) {
    if (w.product->attend)
      emit_attention_of_warpgroups(*w.product->attend);
    else
      emit_product_of_warpgroups(*w.product->product);
    text_.line("const auto tile_of = [&](i64 number) {{");
    {
      Text::Indent inside(text_);
      emit_place(w);
      expressions_.begin({w.product->begin, w.product->end});
      const std::string begin = expressions_.value(w.product->begin), end = expressions_.value(w.product->end);
      text_.line("return tile::tile({}, {}, {});", emit_operands(*w.product), begin, end);
    }
    text_.line("}};");
    const std::string accumulator = expressions_.declare(w.accumulator->buffer);
    if (mapped_.results)
      text_.line("typedef store_wgmma<tile, {}, {}> stores;",
                 memory_type(mapped_.results->store->buffer->element.dtype), mapped_.results->place.map.box.size());
    text_.line(
        "tile::run(shared + {}, task_end - task_begin, tile_of, [&](i64 number, int holder, const tile::results& {}) "
        "{{",
        staging_bytes(kernel_, mapped_), accumulator);
    {
      Text::Indent inside(text_);
      emit_place(w);
      text_.line("const i64 {} = holder;", expressions_.declare(w.epilogue->var));
      if (mapped_.results)
        emit_panels(*mapped_.results);
      else
        for (const loops::Stmt& part : w.epilogue->body) emit(*part);
    }
    text_.line("}});");
    if (mapped_.results) text_.line("stores::end();");
  }

  // Results go by way of staging memory, panel by panel.
  void emit_panels(const MappedResults& results) {
    std::vector<loops::Expr> corner = {results.column, results.row};
    corner.insert(corner.end(), results.place.others.begin(), results.place.others.end());
    expressions_.begin(corner);
    std::string list;
    for (const loops::Expr& place : corner) list += (list.empty() ? "" : ", ") + expressions_.value(place);
    text_.line("const tile_corner corner = {{{}}};", list);
    text_.line("#pragma unroll");
    text_.line("for (int panel = 0; panel < stores::panels; ++panel) {{");
    {
      Text::Indent inside(text_);
      text_.line("char* const buffer = stores::begin(shared, panel);");
      text_.line("#pragma unroll");
      text_.line("for (i64 {0} = panel * stores::each; {0} < (panel + 1) * stores::each; {0} += 2) {{",
                 expressions_.declare(results.loop->var));
      emit_all(results.loop->body);
      text_.line("}}");
      text_.line("stores::send(buffer, &map_c, corner, holder, panel);");
    }
    text_.line("}}");
  }

  void emit_product_of_warpgroups(const loops::ProductNode& p) {
    text_.line("typedef product_wgmma<{}, {}, {}, {}, {}, {}, {}> tile;", tensor_atom(p.atom, &p), p.rows, p.columns,
               p.depth, p.stages, consumers_of(p), takes_turns(p));
    text_.line("static_assert(tile::shared_bytes == {}, \"shared memory\");", product_shared_bytes(p));
  }

  void emit_attention_of_warpgroups(const loops::AttendNode& a) {
    text_.line("typedef attend_wgmma<{}, {}, {}, {}, {}> tile;", tensor_atom(a.atom), a.keys, a.depth, a.columns,
               a.stages);
    text_.line("static_assert(tile::rows == {} && tile::shared_bytes == {}, \"shared memory\");", a.queries,
               attend_shared_bytes(a));
  }

  // Of a product or an attention; their names.
  std::string emit_operands(const StmtNode& statement) {
    if (const loops::ProductNode* p = statement.product.get()) {
      emit_mapped_or_moved("a", mapped_.a, p->a, p->row, p->k);
      emit_mapped_or_moved("b", mapped_.b, p->b, p->column, p->k);
      return "a, b";
    }
    const loops::AttendNode& a = *statement.attend;
    emit_operand("q", a.q, a.inner, a.query);
    emit_operand("k", a.k, a.inner, a.key);
    emit_operand("v", a.v, a.column, a.key);
    emit_score(a, statement.end);
    return "q, k, v, score";
  }

  void emit_score(const loops::AttendNode& a, const loops::Expr& end) {
    const ScoreForm form = score_form(a, end);
    const bool causal = form.kind == ScoreForm::Kind::Causal;
    if (form.kind != ScoreForm::Kind::Any) {
      expressions_.begin({form.beyond, form.base, form.stride, form.rows});
      const std::string scale = expressions_.value(loops::real(form.scale)),
                        beyond = causal ? expressions_.value(form.beyond) : "0";
      if (!form.bias) return text_.line("const scaled_score<{}> score = {{{}, {}}};", causal, scale, beyond);
      const std::string_view dtype = name_of(form.bias->element.dtype);
      const std::string base = expressions_.value(form.base), stride = expressions_.value(form.stride),
                        rows = form.rows ? expressions_.value(form.rows) : "0x7fffffffffffffff";
      return text_.line("const biased_score<{}_bias, {}, {}> score = {{{}, {}, {} + {}, {}, {}}};", dtype, form.vector,
                        causal, scale, beyond, expressions_.declare(form.bias), base, stride, rows);
    }
    text_.line("const auto score = any_score([=](i64 {}, i64 {}, f32 {}) {{", expressions_.declare(a.query),
               expressions_.declare(a.key), expressions_.declare(a.score));
    returned({a.scored}, [&] { return expressions_.value(a.scored); });
    text_.line("}});");
  }

  void emit_place(const WarpgroupTask& w) {
    text_.line("const i64 {} = task_begin + number;", expressions_.declare(w.task->var));
    for (const StmtNode* let : w.lets) emit(*let);
  }

  void emit_attend(const StmtNode& statement) {
    const loops::AttendNode& a = *statement.attend;
    const std::string begin = expressions_.value(statement.begin), end = expressions_.value(statement.end);
    const std::string accumulator = expressions_.declare(statement.buffer);
    text_.line("{{");
    {
      Text::Indent inside(text_);
      text_.line("typedef {}{}, {}, {}, {}, {}, {}> tile;",
                 a.atom == Atom::Fma ? "attend_fma<" : fmt::format("attend_mma<{}, ", tensor_atom(a.atom)), a.queries,
                 a.keys, a.depth, a.columns, a.warps, a.stages);
      text_.line("static_assert(tile::shared_bytes == {}, \"shared memory\");", attend_shared_bytes(a));
      const std::string operands = emit_operands(statement);
      text_.line("int next = 0;  // results come in the order that the accumulator has");
      text_.line("const auto result = [&](int, int, f32 x, f32 y) {{ {0}[next++] = x, {0}[next++] = y; }};",
                 accumulator);
      text_.line("const auto log_sum = [&](int, f32 x) {{ {} }};", a.log_sums ? accumulator + "[next++] = x;" : "");
      text_.line("tile::run(shared + {}, {}, {}, {}, result, log_sum);", shared_, begin, end, operands);
    }
    text_.line("}}");
  }

  void emit_mapped_or_moved(const char* name, const std::optional<MappedOperand>& mapped,
                            const loops::ProductOperand& operand, const loops::Var& line, const loops::Var& k) {
    if (!mapped) return emit_operand(name, operand, line, k);
    std::vector<loops::Expr> places = {mapped->line};
    places.insert(places.end(), mapped->others.begin(), mapped->others.end());
    expressions_.begin(places);
    std::string list;
    for (const loops::Expr& place : places) list += ", " + expressions_.value(place);
    text_.line("const auto {0} = mapped<{1}, {2}>(&map_{0}{3});", name, memory_type(operand.value->type.dtype),
               operand.along_k, list);
  }

  // Functions of (line, k): where the chunk lies, or what it is.
  void emit_operand(const char* name, const loops::ProductOperand& operand, const loops::Var& line,
                    const loops::Var& k) {
    const OperandForm form = operand_form(operand, line, k);
    const std::string shape =
        fmt::format("<{}, {}, {}>", memory_type(operand.value->type.dtype), operand.vector, operand.along_k);
    const auto declared = [&](const loops::Var& var) { return "i64 " + expressions_.declare(var); };
    const auto valid = [&] { return form.mask ? expressions_.value(form.mask) : std::string("true"); };
    const auto buffer = [&] { return expressions_.declare(operand.value->buffer); };
    const auto source = fmt::format("source<{}>", memory_type(operand.value->type.dtype));
    switch (form.kind) {
      case OperandForm::Kind::Strided: {
        expressions_.begin({form.base, form.stride, form.lines});
        const std::string base = expressions_.value(form.base), stride = expressions_.value(form.stride),
                          lines = form.lines ? expressions_.value(form.lines) : "0x7fffffff";
        return text_.line("const auto {} = strided{}({} + {}, {}, {});", name, shape, buffer(), base, stride, lines);
      }
      case OperandForm::Kind::Prepared:
        return emit_prepared(name, shape, operand, form, line, k);
      case OperandForm::Kind::Tapped:
        return emit_tapped(name, shape, operand, form, line, k);
      case OperandForm::Kind::Copied:
        text_.line("const auto {} = copied{}([=]({}, {}) {{", name, shape, declared(line), declared(k));
        returned({operand.value->args[0], form.mask}, [&] {
          const std::string at = expressions_.value(operand.value->args[0]);
          return fmt::format("{}{{{} + {}, {}}}", source, buffer(), at, valid());
        });
        return text_.line("}});");
      case OperandForm::Kind::Computed:
        LPD_CHECK(operand.vector == 1, "a computed operand of {} elements", operand.vector);
        text_.line("const auto {} = computed{}([=]({}, {}) {{", name, shape, declared(line), declared(k));
        returned({operand.value}, [&] { return expressions_.value(operand.value); });
        return text_.line("}});");
    }
  }

  void emit_prepared(const char* name, const std::string& shape, const loops::ProductOperand& operand,
                     const OperandForm& form, const loops::Var& line, const loops::Var& k) {
    const auto fits = [](const OperandForm::Fact& fact) {
      return fact.value->type.dtype == DType::Bool || (fact.value->lo >= INT32_MIN && fact.value->hi <= INT32_MAX);
    };
    const char* const number = std::ranges::all_of(form.facts, fits) ? "i32" : "i64";
    const std::string_view element = memory_type(operand.value->type.dtype);
    const std::string facts = fmt::format("line_facts<{}, {}, {}>", element, number, form.facts.size());
    text_.line("const auto {}_line = [=](i64 {}) {{", name, expressions_.declare(line));
    std::vector<loops::Expr> roots = {form.of_line};
    for (const OperandForm::Fact& fact : form.facts) roots.push_back(fact.value);
    returned(roots, [&] {
      std::string values;
      for (const OperandForm::Fact& fact : form.facts)
        values += fmt::format("{}{}({})", values.empty() ? "" : ", ", number, expressions_.value(fact.value));
      if (!values.empty()) values = ", {" + values + "}";
      return fmt::format("{}{{{} + {}{}}}", facts, expressions_.declare(operand.value->buffer),
                         expressions_.value(form.of_line), values);
    });
    text_.line("}};");
    text_.line("const auto {0} = prepared{1}({0}_line, [=]({2} known, i64, i64 {3}) {{", name, shape, facts,
               expressions_.declare(k));
    for (size_t i = 0; i < form.facts.size(); ++i) {
      Text::Indent inside(text_);
      text_.line("const {} {} = known.facts[{}];", value_type(form.facts[i].value->type),
                 expressions_.declare(form.facts[i].var), i);
    }
    returned({form.of_k, form.mask}, [&] {
      const std::string at = expressions_.value(form.of_k);
      return fmt::format("source<{}>{{known.at + {}, {}}}", element, at,
                         form.mask ? expressions_.value(form.mask) : std::string("true"));
    });
    text_.line("}});");
  }

  void emit_tapped(const char* name, const std::string& shape, const loops::ProductOperand& operand,
                   const OperandForm& form, const loops::Var& line, const loops::Var& k) {
    const std::string_view element = memory_type(operand.value->type.dtype);
    const int bits = form.bits_of_window();
    const auto each_window = [&](const auto& text) {
      std::string all;
      for (size_t i = 0; i < form.windows.size(); ++i)
        all += (i ? " | " : "") + text(form.windows[i], static_cast<int>(i) * bits);
      return all;
    };
    text_.line("const auto {}_line = [=](i64 {}) {{", name, expressions_.declare(line));
    std::vector<loops::Expr> of_line = {form.of_line, form.mask}, of_k = {form.of_k};
    for (const OperandForm::Window& window : form.windows) {
      of_line.push_back(window.start);
      of_line.push_back(window.end);
      of_k.push_back(window.tap);
    }
    returned(of_line, [&] {
      const std::string at = expressions_.value(form.of_line);
      std::string outside = each_window([&](const OperandForm::Window& window, int first) {
        return fmt::format("taps_outside<{}, {}>({}, {})", first, bits, expressions_.value(window.start),
                           expressions_.value(window.end));
      });
      if (form.mask) outside = fmt::format("{} ? {} : ~0u", expressions_.value(form.mask), outside);
      return fmt::format("line_taps<{}>{{opaque_global({} + {}), {}}}", element,
                         expressions_.declare(operand.value->buffer), at, outside);
    });
    text_.line("}};");
    text_.line("const auto {0} = prepared{1}({0}_line, [=](const line_taps<{2}>& known, i64, i64 {3}) {{", name, shape,
               element, expressions_.declare(k));
    returned(of_k, [&] {
      const std::string at = expressions_.value(form.of_k);
      const std::string taps = each_window([&](const OperandForm::Window& window, int first) {
        return fmt::format("tap<{}>({})", first, expressions_.value(window.tap));
      });
      return fmt::format("source<{}>{{known.at + {}, (known.outside & ({})) == 0}}", element, at, taps);
    });
    text_.line("}});");
  }

  // The body of a function: what `value` needs before it, and its return.
  template <class Value>
  void returned(const std::vector<loops::Expr>& roots, const Value& value) {
    Text::Indent inside(text_);
    expressions_.begin(roots);
    const std::string result = value();
    text_.line("return {};", result);
  }

  const loops::Kernel& kernel_;
  const MappedOperands mapped_;
  Text text_;
  ExpressionPrinter expressions_;
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

std::string kernel_text(const loops::Kernel& kernel, const std::string& name) {
  return KernelEmitter(kernel).run(name);
}

}  // namespace lapidary::codegen::cuda
