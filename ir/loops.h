// Level two: Loops, the only kernel level. A kernel is a nest of loops over buffers with explicit vectors; what a
// target must decide (loop kinds, buffer spaces) is data on the nodes, and an emitter only prints.
//
// Nodes are immutable and shared. Build them with the functions below, which fold constants and simplify integer
// arithmetic; text form in text.h (print_kernel, parse_kernel), meaning in loops_interpreter.h, what holds of a
// well-formed kernel in loops_verifier.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/scalar.h"

namespace lapidary::loops {

// --- types -----------------------------------------------------------------------------------------------------
// Arithmetic happens in bool, i8…i64, u8…u64, f32, f64. f16, bf16 and the 8-bit floats are storage types: Load gives
// them, Convert takes them away. Indices, extents and loop variables are I64, one lane.
struct ExprType {
  DType dtype = DType::I64;
  uint16_t lanes = 1;
  bool operator==(const ExprType&) const = default;
};

// --- buffers ---------------------------------------------------------------------------------------------------
enum class Space : uint8_t {
  Global,  // a parameter: arena, weights, the caller's tensors
  Stage,   // a parameter: packed scratch, private to a thread (cpu); size given by the step
  Local,   // an Alloc inside the kernel of constant size: registers when all its indices are constants after
           // unrolling, else the stack
  // Of kernels whose tasks are done by a block of threads each: an Alloc around Thread loops, of constant size.
  Shared,    // one for the block
  Fragment,  // `size` elements for each thread, which sees its own
};
struct BufferNode {
  std::string name;
  ExprType element;  // lanes > 1 only for Local: an array of vectors
  Space space = Space::Global;
  bool written = false;           // Global: the kernel stores to it. What one writes no other reads, unless equal.
  bool reads_own_writes = false;  // Global: may be loaded after the kernel stored to it
  bool flag = false;  // Global: an i32 that any task may set to 1 and none reads: what went wrong with the data
  int64_t size = 0;   // Local, Shared, Fragment: elements
};
using Buffer = std::shared_ptr<const BufferNode>;

// --- expressions -----------------------------------------------------------------------------------------------
struct VarNode {
  std::string name;
  ExprType type;
  int64_t lo = INT64_MIN / 4, hi = INT64_MAX / 4;  // interval of an I64 scalar, for simplification; inclusive
  int64_t multiple = 1;                            // a known divisor of its value
};
using Var = std::shared_ptr<const VarNode>;

enum class ExprKind : uint8_t {
  Const,     // every lane the same; `constant`
  Variable,  // `var`: a loop variable, a Let, or an integer parameter
  Load,      // `buffer`; args[0]: index. A scalar index with lanes > 1 loads that many adjacent elements; a vector
             // index gathers. args[1], when present: a bool mask of the same lanes; masked-off lanes give 0 and
             // touch no memory
  Apply,     // `op` on args, lanewise
  Fma,       // args[0] * args[1] + args[2], rounded once
  Dot,       // lane l: args[2][l] + Σ args[0][j or G·l + j] · args[1][G·l + j], j < G; u8 and i8 in i32, wrapping
  Convert,   // args[0] to the type's dtype, by scalar.h's convert
  Splat,     // args[0] (one lane) in every lane
  Ramp,      // args[0] + lane * args[1] (both I64 or I32 scalars)
  Reduce,    // `op` (Add, Mul, Min, Max) over the lanes of args[0], pairwise: lanes i and i + half, halving
  Shuffle,   // lanes `lanes_from` of the concatenation of args (all of one type); -1 gives 0
};

struct ExprNode;
using Expr = std::shared_ptr<const ExprNode>;
struct ExprNode {
  ExprKind kind;
  ExprType type;
  ScalarOp op = ScalarOp::Add;  // Apply, Reduce
  Scalar constant;              // Const
  Var var;                      // Variable
  Buffer buffer;                // Load
  std::vector<Expr> args;
  std::vector<int> lanes_from;  // Shuffle
  // Filled in by the builders. Of an I64 scalar: an interval and a divisor of its value; of all: a hash of the
  // structure.
  int64_t lo = INT64_MIN, hi = INT64_MAX, multiple = 1;
  uint64_t hash = 0;
};

// Builders: check types (internal errors), fold constants, and on I64 scalars keep a normal form in which
// (16*a + b) floordiv 16 == a when 0 <= b < 16 by the variables' intervals, likewise mod.
Expr constant(Scalar value, int lanes = 1);
Expr integer(int64_t value);            // I64
Expr real(float value, int lanes = 1);  // F32
Expr variable(const Var&);
Expr load(const Buffer&, Expr index, int lanes = 1, Expr mask = nullptr);
Expr apply(ScalarOp, std::vector<Expr> args);
Expr fma(Expr a, Expr b, Expr c);
Expr dot(Expr a, Expr b, Expr c);  // the same G numbers of a for every lane of c, or each its own
Expr convert(Expr, DType to);
Expr splat(Expr, int lanes);
Expr ramp(Expr start, Expr step, int lanes);
Expr reduce(ScalarOp, Expr);
Expr shuffle(std::vector<Expr> sources, std::vector<int> lanes_from);
// Lane i is true when i < count: the mask of a tail. count is I64.
Expr first_lanes(Expr count, int lanes);

Expr add(Expr, Expr);
Expr sub(Expr, Expr);
Expr mul(Expr, Expr);
Expr floordiv(Expr, Expr);  // I64 scalars, divisor > 0
Expr mod(Expr, Expr);       // I64 scalars, divisor > 0; result in [0, divisor)
Expr min(Expr, Expr);
Expr max(Expr, Expr);
Expr select(Expr condition, Expr then, Expr otherwise);
Expr less(Expr, Expr);
Expr equal(Expr, Expr);

std::optional<int64_t> value_of(const Expr&);  // of a constant integer
struct Bounds {
  int64_t lo, hi;
};
Bounds bounds(const Expr&);           // of an I64 scalar, by its variables' intervals
int64_t known_multiple(const Expr&);  // largest known divisor of an I64 scalar, at least 1; of 0: 2^32
bool same(const Expr&, const Expr&);  // provably equal by structure; false means unknown

// --- statements ------------------------------------------------------------------------------------------------
enum class LoopKind : uint8_t {
  Serial,
  Unrolled,  // begin, end, step constant: the emitter repeats the body; indices of Local buffers become constants
  Task,      // the outermost loop of a kernel, once: over [task_begin, task_end), which the team splits
  Thread,    // over the block of threads that does a task, [0, Kernel::threads), an iteration each, in any order or at
             // once. What is outside of Thread loops all threads do alike
};

enum class StmtKind : uint8_t {
  Block,
  For,
  Let,
  If,
  Store,
  Alloc,
  // A block's threads together, outside of Thread loops:
  Barrier,  // what a thread wrote before, to Shared or Global, the others see behind it
  Combine,  // each element of a Fragment by `op` over `group` adjacent threads; all of them get the result
  Product,  // see ProductNode
  Attend,   // see AttendNode
};

// acc[i, j] += Σ a(i, k) · b(k, j) over k in [begin, end) of the statement; i and j count within a tile. The
// accumulator is a Fragment; which elements a thread holds, ir/fragment.h says. Operands are scalar expressions of the
// variables, 0 (by masks) where there is nothing; what they read of Shared was written before a Barrier.
enum class Atom : uint8_t {
  Fma,  // f32, f64; i32 of bytes
  F16,  // tensor cores, f32 of 16-bit floats
  BF16,
  TF32,    // f32 rounded to 10 bits of mantissa
  TF32x3,  // f32 as sums of two of those: nearly exact
  I8,      // i32 of bytes
};
struct ProductOperand;
struct ProductNode;
struct AttendNode;

struct StmtNode;
using Stmt = std::shared_ptr<const StmtNode>;
struct StmtNode {
  StmtKind kind;
  std::vector<Stmt> body;            // Block: in order. For, If's then, Alloc: body
  std::vector<Stmt> otherwise;       // If's else
  Var var;                           // For, Let (Let's scope: the rest of the enclosing block)
  LoopKind loop = LoopKind::Serial;  // For
  Expr begin, end, step;             // For: begin <= i < end in steps of `step` (a positive constant). Product: of k;
                                     // Attend: of keys
  Expr value;                        // Let: its value. If: condition (bool scalar). Store: what is stored
  Buffer buffer;                     // Store, Alloc; Combine, Product: the Fragment
  ScalarOp op = ScalarOp::Add;       // Combine: Add, Mul, Min or Max
  int group = 1;                     // Combine: a power of two
  std::shared_ptr<const ProductNode> product;
  std::shared_ptr<const AttendNode> attend;
  Expr index;  // Store: as in Load; a scalar index with a vector value stores adjacent elements
  Expr mask;   // Store: null, or bool of the value's lanes
};

struct ProductOperand {
  Expr value;           // of one element, of the type it is multiplied in: f32, f64, i8, u8, or a load of f16 or bf16
  bool along_k = true;  // elements that are adjacent in memory follow k; else the tile's own axis
  int vector = 1;       // so many of them, from a multiple of it on, are adjacent, aligned, and masked alike
};
struct ProductNode {
  Atom atom = Atom::Fma;
  int rows = 0, columns = 0, depth = 0;  // of the tile; of k at a time
  int warp_rows = 1, warp_columns = 1;   // warps over the tile; of Fma only their number counts
  int stages = 1;                        // pieces of k in flight
  // Of a block that does nothing else than zero, multiply and store: 64 rows for every four warps, multiplied by
  // wgmma out of what four more warps bring (sm_90a).
  bool warpgroups = false;
  Var row, column, k;
  ProductOperand a, b;
};

// acc[i, e] = Σ p(i, j) · v(j, e) / Σ p(i, j) over keys j in [begin, end), p(i, j) = exp(s(i, j) - max s(i, ·)), where
// s(i, j) is `scored` of Σ q(i, d) · k(j, d); scores are never stored. The accumulator lies as a Product's of one
// column of warps. With log_sums it has an element more for each row that a thread has part of (ir/fragment.h):
// log Σ exp(s(i, j)), -infinity over no keys.
struct AttendNode {
  Atom atom = Atom::Fma;
  int queries = 0, keys = 0, depth = 0, columns = 0;  // of the tile; keys at a time; d and e there are, padded
  int warps = 1, stages = 1;
  bool warpgroups = false;  // as in ProductNode, of a block that does nothing else than attend and store
  bool log_sums = false;
  Var query, key, inner, column, score;  // i, j, d, e; the sum, an f32
  ProductOperand q, k, v;                // along_k: along the query or key, else along d or the column
  Expr scored;
};

Stmt block(std::vector<Stmt>);
Stmt for_loop(const Var&, Expr begin, Expr end, int64_t step, LoopKind, std::vector<Stmt> body);
Stmt let(const Var&, Expr value);
Stmt if_then(Expr condition, std::vector<Stmt> then, std::vector<Stmt> otherwise = {});
Stmt store(const Buffer&, Expr index, Expr value, Expr mask = nullptr);
Stmt alloc(const Buffer&, std::vector<Stmt> body);
Stmt barrier();
Stmt combine(const Buffer& fragment, ScalarOp, int group);
Stmt product(const Buffer& accumulator, ProductNode, Expr begin, Expr end);
Stmt attend(const Buffer& accumulator, AttendNode, Expr begin, Expr end);

Var make_var(std::string name, ExprType = {}, int64_t lo = INT64_MIN / 4, int64_t hi = INT64_MAX / 4,
             int64_t multiple = 1);
Buffer make_local(std::string name, ExprType element, int64_t size);
Buffer make_global(std::string name, DType, bool written, bool reads_own_writes = false);
Buffer make_flag(std::string name);
Buffer make_stage(std::string name, DType);
Buffer make_shared_memory(std::string name, DType, int64_t size);
Buffer make_fragment(std::string name, DType, int64_t size);

// --- kernels ---------------------------------------------------------------------------------------------------
// Parameters are positional: a step binds buffers[i] and integers[i]. Kernels carry no node names; two are one when
// their text is equal after renaming (canonical_text).
struct Kernel {
  std::string family;           // "contraction", "elementwise", …: for reports
  std::string schedule;         // the schedule record's text form: for reports
  std::vector<Buffer> buffers;  // Global and Stage
  std::vector<Var> integers;    // I64: extents, strides, offsets; read-only
  Stmt body;                    // a Block that holds one For of kind Task, maybe after Lets
  int threads = 0;              // of the block that does a task; 0: a task is one thread's
};
std::string canonical_text(const Kernel&);
// "product fma 128x64x8", as reports and profiles name it.
std::string report_name(const Kernel&);
// On a GPU, by that name: no schedule for GPUs made it, but one for a CPU, whose tasks are a thread's each.
inline constexpr std::string_view kPlain = "plain";
bool is_plain(std::string_view report_name);
// Of a program for a GPU: the kernel is the host's.
inline constexpr std::string_view kOnHost = "host";
bool is_on_host(std::string_view report_name);
bool is_on_host(const Kernel&);

}  // namespace lapidary::loops
