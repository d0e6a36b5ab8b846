// Interprets a kernel. Each statement's expressions are first laid out as a tape: the nodes of their DAG, each once and
// after what it uses, with a place for its lanes; running a statement walks its tape. Both arms of a select are
// evaluated, as a machine does; memory is guarded by masks and Ifs alone.
//
// Arithmetic is scalar.h's, so float32 operations round once to float32 (computing +, -, *, /, sqrt in float64 and
// rounding the result is exact), and fma is a true one. Maths functions are float64's, rounded.
// Tests: test/ir/loops_interpreter_test.cpp.
#include "ir/loops_interpreter.h"

#include <cmath>
#include <unordered_map>

#include "ir/error.h"
#include "ir/fragment.h"
#include "ir/loops_memory.h"

namespace lapidary::loops {
namespace {

struct Instruction {
  const ExprNode* node;
  size_t at;                 // place of its first lane
  std::vector<size_t> args;  // places of its arguments'
};

struct Code {
  const StmtNode* stmt;
  std::vector<Instruction> tape;
  struct Tape {
    std::vector<Instruction> instructions;
    size_t result = 0;
  };
  std::vector<Tape> tapes;  // of what a collective evaluates for each of its elements
  size_t var = 0, begin = 0, end = 0, value = 0, index = 0, mask = 0;  // places, where the statement has them
  std::vector<Code> body, otherwise;
};

// Lays statements out as code; places are numbers into one array of lanes.
class Compiler {
 public:
  size_t place_of(const Var& var) {
    auto [entry, is_new] = variables_.emplace(var.get(), lanes_);
    if (is_new) lanes_ += var->type.lanes;
    return entry->second;
  }

  std::vector<Code> compile(const std::vector<Stmt>& stmts) {
    std::vector<Code> code;
    for (const Stmt& stmt : stmts) code.push_back(compile(*stmt));
    return code;
  }

  size_t lanes() const { return lanes_; }

 private:
  Code compile(const StmtNode& s) {
    Code code;
    code.stmt = &s;
    places_.clear();
    auto place = [&](const Expr& e) { return e ? append(code.tape, e) : 0; };
    if (const ProductNode* p = s.product.get())
      compile_tapes(code, {p->row, p->column, p->k}, {p->a.value, p->b.value});
    if (const AttendNode* a = s.attend.get())
      compile_tapes(code, {a->query, a->key, a->inner, a->column, a->score},
                    {a->q.value, a->k.value, a->v.value, a->scored});
    if (s.begin) {
      code.begin = place(s.begin);
      code.end = place(s.end);
    }
    code.index = place(s.index);
    code.mask = place(s.mask);
    code.value = place(s.value);
    if (s.var) code.var = place_of(s.var);
    code.body = compile(s.body);
    code.otherwise = compile(s.otherwise);
    return code;
  }

  void compile_tapes(Code& code, const std::vector<Var>& vars, const std::vector<Expr>& values) {
    for (const Var& var : vars) place_of(var);
    for (const Expr& value : values) {
      Code::Tape& tape = code.tapes.emplace_back();
      tape.result = append(tape.instructions, value);
      places_.clear();
    }
  }

  size_t append(std::vector<Instruction>& tape, const Expr& e) {
    if (e->kind == ExprKind::Variable) return place_of(e->var);
    auto found = places_.find(e.get());
    if (found != places_.end()) return found->second;
    Instruction instruction{e.get(), 0, {}};
    for (const Expr& arg : e->args) instruction.args.push_back(append(tape, arg));
    size_t at = lanes_;
    instruction.at = at;
    lanes_ += e->type.lanes;
    places_.emplace(e.get(), at);
    tape.push_back(std::move(instruction));
    return at;
  }

  size_t lanes_ = 0;
  std::unordered_map<const VarNode*, size_t> variables_;
  std::unordered_map<const ExprNode*, size_t> places_;  // of the statement being compiled
};

class Machine {
 public:
  Machine(const Kernel& kernel, const std::vector<BoundBuffer>& buffers, int64_t task_begin, int64_t task_end)
      : kernel_(kernel), memory_(kernel, buffers), task_begin_(task_begin), task_end_(task_end) {}

  void run(const std::vector<int64_t>& integers) {
    LPD_CHECK(integers.size() == kernel_.integers.size(), "kernel '{}' takes {} integers, given {}", kernel_.family,
              kernel_.integers.size(), integers.size());
    Compiler compiler;
    std::vector<size_t> places;
    for (const Var& var : kernel_.integers) places.push_back(compiler.place_of(var));
    std::vector<Code> code = compiler.compile({kernel_.body});
    compiler_ = &compiler;
    values_.resize(compiler.lanes());
    for (size_t i = 0; i < integers.size(); i++) bind(*kernel_.integers[i], places[i], integers[i]);
    run(code);
  }

 private:
  // --- statements --------------------------------------------------------------------------------------------
  void run(const std::vector<Code>& codes) {
    for (const Code& code : codes) run(code);
  }

  void run(const Code& code) {
    for (const Instruction& instruction : code.tape) evaluate(instruction);
    const StmtNode& s = *code.stmt;
    switch (s.kind) {
      case StmtKind::Block:
        return run(code.body);
      case StmtKind::For:
        return loop(code);
      case StmtKind::Let:
        return let(code);
      case StmtKind::If:
        return run(values_[code.value].integer ? code.body : code.otherwise);
      case StmtKind::Store:
        return store(code);
      case StmtKind::Alloc:
        memory_.allocate(s.buffer);
        return run(code.body);
      case StmtKind::Barrier:
        return memory_.barrier();
      case StmtKind::Combine:
        return combine(s);
      case StmtKind::Product:
        return product(code);
      case StmtKind::Attend:
        return attend(code);
    }
  }

  // Pairwise, as reduce() goes over lanes.
  void combine(const StmtNode& s) {
    for (int64_t i = 0; i < s.buffer->size; i++)
      for (int64_t first = 0; first < kernel_.threads; first += s.group) {
        std::vector<Scalar> partial;
        for (int64_t t = first; t < first + s.group; t++) partial.push_back(of_thread(t, s.buffer, i));
        for (size_t half = partial.size() / 2; half > 0; half /= 2)
          for (size_t j = 0; j < half; j++) partial[j] = binary(s.op, partial[j], partial[j + half]);
        for (int64_t t = first; t < first + s.group; t++) {
          memory_.begin_thread(t);
          memory_.store(s.buffer, i, 0, partial[0]);
        }
      }
    memory_.end_threads();
  }

  Scalar of_thread(int64_t thread, const Buffer& fragment, int64_t index) {
    memory_.begin_thread(thread);
    return memory_.load(fragment, index, 0);
  }

  // Summed in float64 or i64 and rounded once.
  void product(const Code& code) {
    const StmtNode& s = *code.stmt;
    const ProductNode& p = *s.product;
    const bool whole = !is_float(s.buffer->element.dtype);
    const int64_t begin = values_[code.begin].integer, end = values_[code.end].integer;
    std::vector<double> sums(static_cast<size_t>(p.rows * p.columns));
    std::vector<int64_t> counts(sums.size());
    std::vector<Scalar> a(static_cast<size_t>(p.rows)), b(static_cast<size_t>(p.columns));
    for (int64_t k = begin; k < end; k++) {
      set(p.k, k);
      for (int64_t i = 0; i < p.rows; i++) set(p.row, i), a[static_cast<size_t>(i)] = evaluated(code.tapes[0]);
      for (int64_t j = 0; j < p.columns; j++) set(p.column, j), b[static_cast<size_t>(j)] = evaluated(code.tapes[1]);
      for (size_t i = 0; i < a.size(); i++)
        for (size_t j = 0; j < b.size(); j++) {
          if (whole)
            counts[i * b.size() + j] += a[i].integer * b[j].integer;
          else
            sums[i * b.size() + j] += a[i].number * b[j].number;
        }
    }
    const DType dtype = s.buffer->element.dtype;
    for_each_held(s.buffer, tile_layout(p), [&](int64_t t, int64_t e, int64_t row, int64_t column) {
      const auto at = static_cast<size_t>(row * p.columns + column);
      const Scalar before = of_thread(t, s.buffer, e);
      return whole ? lapidary::convert(Scalar::of_integer(DType::I64, before.integer + counts[at]), dtype)
                   : lapidary::convert(Scalar::of_float(DType::F64, before.number + sums[at]), dtype);
    });
  }

  // Stores value(thread, element, row, column) in every element of the tile in the accumulator.
  template <class Value>
  void for_each_held(const Buffer& accumulator, const TileLayout& tile, Value value) {
    for (int64_t t = 0; t < kernel_.threads; t++)
      for (int64_t e = 0; e < tile.elements(); e++) {
        const FragmentPlace place = fragment_place(tile, integer(t), integer(e));
        const Scalar stored = value(t, e, *value_of(place.row), *value_of(place.column));
        memory_.begin_thread(t);
        memory_.store(accumulator, e, 0, stored);
      }
    memory_.end_threads();
  }

  // In float64.
  void attend(const Code& code) {
    const StmtNode& s = *code.stmt;
    const AttendNode& a = *s.attend;
    const int64_t begin = values_[code.begin].integer, end = values_[code.end].integer;
    std::vector<double> result(static_cast<size_t>(a.queries * a.columns)), log_sums;
    for (int64_t i = 0; i < a.queries; i++) {
      set(a.query, i);
      std::vector<double> scores;
      double most = -INFINITY, sum = 0;
      for (int64_t j = begin; j < end; j++) {
        set(a.key, j);
        double dot = 0;
        for (int64_t d = 0; d < a.depth; d++) {
          set(a.inner, d);
          dot += evaluated(code.tapes[0]).number * evaluated(code.tapes[1]).number;
        }
        values_[compiler_->place_of(a.score)] = lapidary::convert(Scalar::of_float(DType::F64, dot), DType::F32);
        scores.push_back(evaluated(code.tapes[3]).number);
        most = scores.back() > most || std::isnan(scores.back()) ? scores.back() : most;
      }
      for (double& score : scores) sum += score = std::exp(score - most);
      log_sums.push_back(most + std::log(sum));
      for (int64_t j = begin; j < end; j++)
        for (int64_t e = 0; e < a.columns; e++) {
          set(a.key, j), set(a.column, e);
          result[static_cast<size_t>(i * a.columns + e)] +=
              scores[static_cast<size_t>(j - begin)] / sum * evaluated(code.tapes[2]).number;
        }
    }
    for_each_held(s.buffer, tile_layout(a), [&](int64_t, int64_t, int64_t row, int64_t column) {
      return lapidary::convert(Scalar::of_float(DType::F64, result[static_cast<size_t>(row * a.columns + column)]),
                               s.buffer->element.dtype);
    });
    const TileLayout tile = tile_layout(a);
    for (int64_t t = 0; a.log_sums && t < kernel_.threads; t++)
      for (int i = 0; i < rows_held(tile); i++) {
        const auto row = static_cast<size_t>(*value_of(row_held(tile, integer(t), i)));
        memory_.begin_thread(t);
        memory_.store(s.buffer, tile.elements() + i, 0,
                      lapidary::convert(Scalar::of_float(DType::F64, log_sums[row]), s.buffer->element.dtype));
      }
    memory_.end_threads();
  }

  void set(const Var& var, int64_t value) { bind(*var, compiler_->place_of(var), value); }

  const Scalar& evaluated(const Code::Tape& tape) {
    for (const Instruction& instruction : tape.instructions) evaluate(instruction);
    return values_[tape.result];
  }

  void loop(const Code& code) {
    const StmtNode& s = *code.stmt;
    int64_t begin = values_[code.begin].integer, end = values_[code.end].integer, step = *value_of(s.step);
    const bool tasks = s.loop == LoopKind::Task, threads = s.loop == LoopKind::Thread;
    if (tasks) {
      LPD_CHECK(begin <= task_begin_ && task_end_ <= end, "kernel '{}': tasks {} to {} of [{}, {})", kernel_.family,
                task_begin_, task_end_, begin, end);
      begin = task_begin_;
      end = task_end_;
    }
    for (int64_t i = begin; i < end; i += step) {
      if (tasks) memory_.begin_task(i);
      if (threads) memory_.begin_thread(i);
      bind(*s.var, code.var, i);
      run(code.body);
    }
    if (threads) memory_.end_threads();
  }

  void let(const Code& code) {
    const VarNode& var = *code.stmt->var;
    if (var.type == ExprType{}) return bind(var, code.var, values_[code.value].integer);
    for (size_t lane = 0; lane < var.type.lanes; lane++) values_[code.var + lane] = values_[code.value + lane];
  }

  // The simplifier trusts what a variable claims of its values.
  void bind(const VarNode& var, size_t place, int64_t value) {
    LPD_CHECK(var.lo <= value && value <= var.hi && value % var.multiple == 0,
              "kernel '{}': '{}' is {}, claimed in [{}, {}], a multiple of {}", kernel_.family, var.name, value, var.lo,
              var.hi, var.multiple);
    values_[place] = Scalar::of_integer(DType::I64, value);
  }

  void store(const Code& code) {
    const StmtNode& s = *code.stmt;
    int lanes = s.value->type.lanes;
    for (int lane = 0; lane < lanes; lane++) {
      auto offset = static_cast<size_t>(lane);
      if (s.mask && !values_[code.mask + offset].integer) continue;
      auto [index, inner] = place_of_lane(s.buffer, s.index->type, code.index, lane);
      memory_.store(s.buffer, index, inner, values_[code.value + offset]);
    }
  }

  // Where a lane of an access lies: an element, and a lane inside it when elements are vectors.
  std::pair<int64_t, int> place_of_lane(const Buffer& buffer, ExprType index_type, size_t index, int lane) const {
    if (index_type.lanes > 1) return {values_[index + static_cast<size_t>(lane)].integer, 0};
    int64_t first = values_[index].integer;
    return buffer->element.lanes > 1 ? std::pair(first, lane) : std::pair(first + lane, 0);
  }

  // --- expressions -------------------------------------------------------------------------------------------
  void evaluate(const Instruction& instruction) {
    const ExprNode& e = *instruction.node;
    switch (e.kind) {
      case ExprKind::Variable:
        return;  // has a place of its own
      case ExprKind::Load:
        return load(instruction);
      case ExprKind::Reduce:
        return reduce(instruction);
      case ExprKind::Shuffle:
        return shuffle(instruction);
      case ExprKind::Const:
      case ExprKind::Apply:
      case ExprKind::Fma:
      case ExprKind::Dot:
      case ExprKind::Convert:
      case ExprKind::Splat:
      case ExprKind::Ramp:
        break;
    }
    for (size_t lane = 0; lane < e.type.lanes; lane++) values_[instruction.at + lane] = lane_of(instruction, lane);
  }

  Scalar lane_of(const Instruction& instruction, size_t lane) const {
    const ExprNode& e = *instruction.node;
    auto arg = [&](size_t i) -> const Scalar& { return values_[instruction.args[i] + lane]; };
    switch (e.kind) {
      case ExprKind::Const:
        return e.constant;
      case ExprKind::Apply:
        return apply(e, instruction.args, lane);
      case ExprKind::Fma:
        return fma(arg(0), arg(1), arg(2));
      case ExprKind::Dot:
        return dot(e, instruction.args, lane);
      case ExprKind::Convert:
        return lapidary::convert(arg(0), e.type.dtype);
      case ExprKind::Splat:
        return values_[instruction.args[0]];
      case ExprKind::Ramp: {
        Scalar number = Scalar::of_integer(e.type.dtype, static_cast<int64_t>(lane));
        return binary(ScalarOp::Add, values_[instruction.args[0]],
                      binary(ScalarOp::Mul, number, values_[instruction.args[1]]));
      }
      case ExprKind::Variable:
      case ExprKind::Load:
      case ExprKind::Reduce:
      case ExprKind::Shuffle:
        break;
    }
    LPD_UNREACHABLE();
  }

  static Scalar binary(ScalarOp op, const Scalar& a, const Scalar& b) {
    Scalar operands[] = {a, b};
    return lapidary::evaluate(op, operands);
  }

  Scalar apply(const ExprNode& e, const std::vector<size_t>& args, size_t lane) const {
    Scalar operands[3];
    for (size_t i = 0; i < args.size(); i++) operands[i] = values_[args[i] + lane];
    return lapidary::evaluate(e.op, std::span<const Scalar>(operands, args.size()));
  }

  Scalar dot(const ExprNode& e, const std::vector<size_t>& args, size_t lane) const {
    const size_t group = e.args[1]->type.lanes / e.type.lanes;
    const size_t own = e.args[0]->type.lanes == e.args[1]->type.lanes ? lane * group : 0;
    int64_t sum = values_[args[2] + lane].integer;
    for (size_t j = 0; j < group; j++)
      sum += values_[args[0] + own + j].integer * values_[args[1] + lane * group + j].integer;
    return lapidary::convert(Scalar::of_integer(DType::I64, sum), e.type.dtype);
  }

  static Scalar fma(const Scalar& a, const Scalar& b, const Scalar& c) {
    if (a.dtype == DType::F64) return Scalar::of_float(DType::F64, std::fma(a.number, b.number, c.number));
    if (a.dtype != DType::F32) return binary(ScalarOp::Add, binary(ScalarOp::Mul, a, b), c);
    float exact = std::fma(static_cast<float>(a.number), static_cast<float>(b.number), static_cast<float>(c.number));
    return Scalar::of_float(DType::F32, exact);
  }

  void load(const Instruction& instruction) {
    const ExprNode& e = *instruction.node;
    Scalar zero = lapidary::convert(Scalar::of_integer(DType::I64, 0), e.type.dtype);
    for (int lane = 0; lane < e.type.lanes; lane++) {
      auto offset = static_cast<size_t>(lane);
      bool on = e.args.size() < 2 || values_[instruction.args[1] + offset].integer;
      auto [index, inner] = place_of_lane(e.buffer, e.args[0]->type, instruction.args[0], lane);
      values_[instruction.at + offset] = on ? memory_.load(e.buffer, index, inner) : zero;
    }
  }

  void reduce(const Instruction& instruction) {
    const ExprNode& e = *instruction.node;
    size_t lanes = e.args[0]->type.lanes, from = instruction.args[0];
    auto begin = values_.begin() + static_cast<std::ptrdiff_t>(from);
    std::vector<Scalar> partial(begin, begin + static_cast<std::ptrdiff_t>(lanes));
    for (size_t half = lanes / 2; half > 0; half /= 2) {
      for (size_t i = 0; i < half; i++) partial[i] = binary(e.op, partial[i], partial[i + half]);
    }
    values_[instruction.at] = partial[0];
  }

  void shuffle(const Instruction& instruction) {
    const ExprNode& e = *instruction.node;
    int each = e.args[0]->type.lanes;
    for (size_t lane = 0; lane < e.lanes_from.size(); lane++) {
      int from = e.lanes_from[lane];
      values_[instruction.at + lane] =
          from < 0 ? lapidary::convert(Scalar::of_integer(DType::I64, 0), e.type.dtype)
                   : values_[instruction.args[static_cast<size_t>(from / each)] + static_cast<size_t>(from % each)];
    }
  }

  const Kernel& kernel_;
  CheckedMemory memory_;
  Compiler* compiler_ = nullptr;  // where variables lie
  int64_t task_begin_, task_end_;
  std::vector<Scalar> values_;
};

}  // namespace

void interpret(const Kernel& kernel, std::vector<BoundBuffer> buffers, const std::vector<int64_t>& integers,
               int64_t task_begin, int64_t task_end) {
  Machine(kernel, buffers, task_begin, task_end).run(integers);
}

}  // namespace lapidary::loops
