// The contract of kernels. Checked here:
//   shape       the body is a block of Lets and then one Task loop from 0 in steps of 1; no Task loop lies anywhere
//   else parameters  buffers are Global or Stage, of elements with one lane, each listed once; integers are i64 scalars
//   scopes      a variable is a parameter, or defined by an enclosing For or an earlier Let of an enclosing block; a
//               buffer is a parameter or of an enclosing Alloc; nothing is defined again within its own scope
//   loops       steps are positive constants; an Unrolled loop has constant bounds and at most kMaxUnrolled rounds;
//               bounds that are constant agree with the interval and divisor its variable claims
//   lets        variable and value have one type; a variable with the default interval holds no unbounded data
//   threads     Thread loops are over [0, threads) by 1, directly in a task, not in each other. Outside of them nothing
//               is stored, and neither Shared nor Fragment read; Barrier, Combine and Product stand only there
//   stores      go to Stage, Local, or a Global that is `written`; what a kernel both loads and stores says so
//               (`reads_own_writes`)
//   locals      constant size, at most kMaxLocalBytes; accesses affine in variables of known intervals are in bounds
//
// Not checked: types inside expressions (they hold by construction, loops_nodes.cpp); bounds of other accesses, reading
// what was not written, and races between tasks (loops_interpreter.cpp finds those when it runs the kernel).
#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "ir/error.h"
#include "ir/fragment.h"
#include "ir/loops_nodes.h"
#include "ir/verifier.h"

namespace lapidary {
namespace loops {
namespace {

constexpr int64_t kMaxUnrolled = 4096;
constexpr int64_t kMaxLocalBytes = 1 << 20;

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel) {}

  std::vector<std::string> run() {
    parameters();
    if (!kernel_.body || kernel_.body->kind != StmtKind::Block) {
      report("the body is not a block");
      return std::move(violations_);
    }
    top_level(kernel_.body->body);
    loads_of_written_buffers();
    return std::move(violations_);
  }

 private:
  template <class... Args>
  void report(fmt::format_string<Args...> format, Args&&... args) {
    violations_.push_back(
        fmt::format("kernel '{}': {}", kernel_.family, fmt::format(format, std::forward<Args>(args)...)));
  }

  // --- scopes ------------------------------------------------------------------------------------------------
  void define(const Var& var) {
    if (!in_scope_.insert(var.get()).second) report("'{}' is defined again within its scope", var->name);
    scope_.push_back(var.get());
  }
  void define(const Buffer& buffer) {
    if (!in_scope_.insert(buffer.get()).second) report("%{} is defined again within its scope", buffer->name);
    scope_.push_back(buffer.get());
  }
  void leave(size_t depth) {
    for (; scope_.size() > depth; scope_.pop_back()) in_scope_.erase(scope_.back());
  }
  void use(const Buffer& buffer) {
    if (!in_scope_.count(buffer.get())) report("%{} is used outside its scope", buffer->name);
  }

  void parameters() {
    for (const Buffer& buffer : kernel_.buffers) {
      define(buffer);
      if (buffer->space != Space::Global && buffer->space != Space::Stage)
        report("parameter %{} is local", buffer->name);
      if (buffer->element.lanes != 1) report("parameter %{} holds vectors", buffer->name);
    }
    for (const Var& var : kernel_.integers) {
      define(var);
      if (!(var->type == ExprType{})) report("parameter '{}' is not an i64", var->name);
    }
  }

  // --- statements --------------------------------------------------------------------------------------------
  void top_level(const std::vector<Stmt>& stmts) {
    size_t tasks = 0;
    for (const Stmt& stmt : stmts) {
      bool task = stmt->kind == StmtKind::For && stmt->loop == LoopKind::Task;
      tasks += task;
      if (task) {
        bool plain = value_of(stmt->begin) == 0 && value_of(stmt->step) == 1;
        if (!plain) report("the task loop '{}' does not count from 0 by 1", stmt->var->name);
      } else if (stmt->kind != StmtKind::Let || tasks > 0) {
        report("beside the task loop there is more than Lets in front of it");
      }
    }
    if (tasks != 1) report("{} task loops at the top", tasks);
    at_top_ = true;
    for (const Stmt& stmt : stmts) visit(*stmt);
  }

  void body(const std::vector<Stmt>& stmts) {
    size_t depth = scope_.size();
    for (const Stmt& stmt : stmts) visit(*stmt);
    leave(depth);
  }

  void visit(const StmtNode& s) {
    switch (s.kind) {
      case StmtKind::Block:
        return body(s.body);
      case StmtKind::For:
        return for_loop(s);
      case StmtKind::Let:
        return let(s);
      case StmtKind::If:
        return if_then(s);
      case StmtKind::Store:
        return store(s);
      case StmtKind::Alloc:
        return alloc(s);
      case StmtKind::Barrier:
        return of_block("barrier");
      case StmtKind::Combine:
        use(s.buffer);
        if (s.group > kernel_.threads) report("%{} is combined over {} threads", s.buffer->name, s.group);
        return of_block("combine");
      case StmtKind::Product:
        return product(s);
      case StmtKind::Attend:
        return attend(s);
    }
  }

  // What a collective computes for one thread or another.
  void in_terms_of(const std::vector<Var>& vars, const Expr& value) {
    const size_t depth = scope_.size();
    for (const Var& var : vars) define(var);
    in_thread_ = true;
    expression(value);
    in_thread_ = false;
    leave(depth);
  }

  void accumulator(const StmtNode& s, const TileLayout& tile, const char* what) {
    of_block(what);
    use(s.buffer);
    expression(s.begin);
    expression(s.end);
    const bool plain = tile.atom == Atom::Fma;
    if (tile.threads() != kernel_.threads) report("{} by {} threads of {}", what, tile.threads(), kernel_.threads);
    if (tile.rows < 1 || tile.columns < 1 || tile.rows % (tile.warp_rows * (plain ? 1 : 16)) != 0 ||
        tile.columns % (tile.warp_columns * (plain ? 1 : 8)) != 0)
      return report("{} of {}x{} over {}x{}", what, tile.rows, tile.columns, tile.warp_rows, tile.warp_columns);
    const int log_sums = s.attend && s.attend->log_sums ? rows_held(tile) : 0;
    if (s.buffer->size != tile.elements() + log_sums) report("%{} is no accumulator of its {}", s.buffer->name, what);
  }

  void attend(const StmtNode& s) {
    const AttendNode& a = *s.attend;
    accumulator(s, tile_layout(a), "attend");
    if (a.warpgroups && (a.warps % 4 != 0 || a.queries != 16 * a.warps))
      report("warpgroups of {} warps for {} queries", a.warps, a.queries);
    if (a.keys < 1 || a.depth < 1 || a.stages < 1) report("attend of {} keys, {} deep", a.keys, a.depth);
    in_terms_of({a.query, a.inner}, a.q.value);
    in_terms_of({a.key, a.inner}, a.k.value);
    in_terms_of({a.key, a.column}, a.v.value);
    in_terms_of({a.query, a.key, a.score}, a.scored);
  }

  void of_block(const char* what) {
    if (kernel_.threads == 0 || in_thread_) report("{} outside of a block of threads, or inside one of them", what);
  }

  void product(const StmtNode& s) {
    const ProductNode& p = *s.product;
    accumulator(s, tile_layout(p), "product");
    if (p.warpgroups && (p.warp_columns != 1 || p.warp_rows % 4 != 0 || p.rows % (16 * p.warp_rows) != 0))
      report("warpgroups of {}x{} warps", p.warp_rows, p.warp_columns);
    if (p.depth < 1 || p.stages < 1) report("product of depth {}, {} stages", p.depth, p.stages);
    in_terms_of({p.k, p.row}, p.a.value);
    in_terms_of({p.k, p.column}, p.b.value);
  }

  void thread_loop(const StmtNode& s) {
    const bool all = value_of(s.begin) == 0 && value_of(s.end) == kernel_.threads && value_of(s.step) == 1;
    if (!all || kernel_.threads == 0)
      report("thread loop '{}' is not over the {} threads", s.var->name, kernel_.threads);
    if (in_thread_) report("thread loop '{}' inside another", s.var->name);
  }

  void for_loop(const StmtNode& s) {
    if (s.loop == LoopKind::Thread) thread_loop(s);
    if (s.loop == LoopKind::Task && !at_top_) report("task loop '{}' inside another statement", s.var->name);
    at_top_ = false;
    expression(s.begin);
    expression(s.end);
    auto begin = value_of(s.begin), end = value_of(s.end), step = value_of(s.step);
    if (!step || *step < 1) return report("loop '{}': the step is not a positive constant", s.var->name);
    if (s.loop == LoopKind::Unrolled && (!begin || !end))
      report("unrolled loop '{}' has bounds known only at run time", s.var->name);
    if (begin && end) constant_loop(s, *begin, *end, *step);
    int64_t last = s.end->hi - 1;
    if (begin && end && *end > *begin) last = *begin + (*end - 1 - *begin) / *step * *step;
    ranges_[s.var.get()] = {std::max(s.var->lo, s.begin->lo), std::min(s.var->hi, std::max(last, s.begin->lo))};
    size_t depth = scope_.size();
    const bool outside = in_thread_;
    in_thread_ |= s.loop == LoopKind::Thread;
    define(s.var);
    body(s.body);
    leave(depth);
    in_thread_ = outside;
  }

  void constant_loop(const StmtNode& s, int64_t begin, int64_t end, int64_t step) {
    if (begin >= end) return;
    int64_t rounds = (end - begin + step - 1) / step, last = begin + (rounds - 1) * step;
    if (s.loop == LoopKind::Unrolled && rounds > kMaxUnrolled)
      report("unrolled loop '{}' has {} rounds", s.var->name, rounds);
    if (begin < s.var->lo || last > s.var->hi) {
      report("loop '{}' runs from {} to {}, its variable claims [{}, {}]", s.var->name, begin, last, s.var->lo,
             s.var->hi);
    }
    if (begin % s.var->multiple != 0 || (rounds > 1 && step % s.var->multiple != 0)) {
      report("loop '{}' counts from {} by {}, its variable claims a multiple of {}", s.var->name, begin, step,
             s.var->multiple);
    }
  }

  void let(const StmtNode& s) {
    expression(s.value);
    if (!(s.var->type == s.value->type)) return report("'{}' and its value differ in type", s.var->name);
    bool claims = s.var->lo == nodes::kIndexMin && s.var->hi == nodes::kIndexMax;
    if (nodes::is_i64_scalar(s.value)) {
      if (claims && !nodes::is_index(s.value))
        report("'{}' holds data but claims the interval of an index", s.var->name);
      Bounds range = range_of(s.value);
      ranges_[s.var.get()] = {std::max(range.lo, s.var->lo), std::min(range.hi, s.var->hi)};
    }
    define(s.var);
  }

  void if_then(const StmtNode& s) {
    expression(s.value);
    guards_++;
    body(s.body);
    body(s.otherwise);
    guards_--;
  }

  void store(const StmtNode& s) {
    expression(s.index);
    expression(s.value);
    if (s.mask) expression(s.mask);
    use(s.buffer);
    stored_.insert(s.buffer.get());
    if (s.buffer->space == Space::Global && !s.buffer->written)
      report("store to %{}, which is not written", s.buffer->name);
    if (kernel_.threads > 0 && !in_thread_) report("store to %{} by all threads", s.buffer->name);
    access("store to", s.buffer, s.index, s.value->type.lanes, s.mask != nullptr);
  }

  void alloc(const StmtNode& s) {
    const BufferNode& buffer = *s.buffer;
    const bool local = buffer.space == Space::Local;
    if (buffer.space == Space::Global || buffer.space == Space::Stage)
      report("alloc of %{}, which is a parameter", buffer.name);
    if (kernel_.threads > 0 && local != in_thread_)
      report("{} is allocated {} a thread", buffer.name, in_thread_ ? "inside" : "outside of");
    if (kernel_.threads == 0 && !local) report("%{} without a block of threads", buffer.name);
    int64_t lanes = buffer.element.lanes,
            limit = kMaxLocalBytes * 8 / std::max(1, bit_width(buffer.element.dtype)) / lanes;
    if (buffer.size < 1 || buffer.size > limit) report("local %{} has {} elements", buffer.name, buffer.size);
    size_t depth = scope_.size();
    define(s.buffer);
    guards_of_[s.buffer.get()] = guards_;
    body(s.body);
    leave(depth);
  }

  // --- expressions -------------------------------------------------------------------------------------------

  // Each node once for a statement: what is in scope does not change inside one.
  void expression(const Expr& root) {
    std::unordered_set<const ExprNode*> seen;
    std::vector<Expr> todo = {root};
    while (!todo.empty()) {
      Expr e = std::move(todo.back());
      todo.pop_back();
      if (!seen.insert(e.get()).second) continue;
      if (e->kind == ExprKind::Variable && !in_scope_.count(e->var.get()))
        report("'{}' is used outside its scope", e->var->name);
      if (e->kind == ExprKind::Load) {
        use(e->buffer);
        loaded_.insert(e->buffer.get());
        const bool of_block = e->buffer->space == Space::Shared || e->buffer->space == Space::Fragment;
        if (of_block && !in_thread_) report("load of %{} by all threads", e->buffer->name);
        access("load of", e->buffer, e->args[0], e->type.lanes, e->args.size() > 1);
      }
      todo.insert(todo.end(), e->args.begin(), e->args.end());
    }
  }

  void access(const char* what, const Buffer& buffer, const Expr& index, int lanes, bool masked) {
    if (buffer->space == Space::Global || buffer->space == Space::Stage || index->type.lanes > 1) return;
    int budget = 256;
    auto range = affine_range(index, budget);
    if (!range) return;
    int64_t last = buffer->size - (buffer->element.lanes > 1 || masked ? 1 : lanes);
    bool guarded = masked || guards_ > guards_of_[buffer.get()];
    bool outside = guarded ? range->hi < 0 || range->lo > last : range->lo < 0 || range->hi > last;
    if (outside) report("{} %{} of {} elements at [{}, {}]", what, buffer->name, buffer->size, range->lo, range->hi);
  }

  // The interval of a sum of multiples of variables with known intervals; nothing of anything else, or larger.
  std::optional<Bounds> affine_range(const Expr& e, int& budget) {
    constexpr int64_t kKnown = INT64_C(1) << 40;
    if (--budget < 0) return std::nullopt;
    if (e->kind == ExprKind::Const) return Bounds{e->lo, e->hi};
    if (e->kind == ExprKind::Variable) {
      Bounds range = range_of(e);
      return range.lo > -kKnown && range.hi < kKnown ? std::optional(range) : std::nullopt;
    }
    if (e->kind != ExprKind::Apply || (e->op != ScalarOp::Add && e->op != ScalarOp::Sub && e->op != ScalarOp::Mul))
      return std::nullopt;
    auto a = affine_range(e->args[0], budget), b = affine_range(e->args[1], budget);
    if (!a || !b) return std::nullopt;
    if (e->op == ScalarOp::Add) return Bounds{a->lo + b->lo, a->hi + b->hi};
    if (e->op == ScalarOp::Sub) return Bounds{a->lo - b->hi, a->hi - b->lo};
    if (b->lo != b->hi) return std::nullopt;
    Bounds product;
    bool overflow =
        __builtin_mul_overflow(a->lo, b->lo, &product.lo) || __builtin_mul_overflow(a->hi, b->lo, &product.hi);
    if (product.lo > product.hi) std::swap(product.lo, product.hi);
    return overflow ? std::nullopt : std::optional(product);
  }

  // As bounds(), but with what the loops around say of their variables.
  Bounds range_of(const Expr& e) const {
    auto found = e->kind == ExprKind::Variable ? ranges_.find(e->var.get()) : ranges_.end();
    return found == ranges_.end() ? bounds(e) : found->second;
  }

  void loads_of_written_buffers() {
    for (const Buffer& buffer : kernel_.buffers) {
      if (buffer->flag && loaded_.count(buffer.get())) report("the flag %{} is loaded", buffer->name);
      bool both = loaded_.count(buffer.get()) && stored_.count(buffer.get());
      if (buffer->space == Space::Global && both && !buffer->reads_own_writes) {
        report("%{} is loaded and stored, but not marked reads_own_writes", buffer->name);
      }
    }
  }

  const Kernel& kernel_;
  std::vector<std::string> violations_;
  std::unordered_set<const void*> in_scope_;
  std::vector<const void*> scope_;
  std::unordered_map<const VarNode*, Bounds> ranges_;
  std::unordered_set<const BufferNode*> loaded_, stored_;
  std::unordered_map<const BufferNode*, int> guards_of_;  // Ifs around the Alloc
  int guards_ = 0;                                        // Ifs around the statement
  bool at_top_ = false, in_thread_ = false;
};

}  // namespace
}  // namespace loops

std::vector<std::string> verify(const loops::Kernel& kernel) { return loops::Verifier(kernel).run(); }

}  // namespace lapidary
