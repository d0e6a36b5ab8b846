// Statements and the kernel around them.
//
// Each kernel is two functions. The one that is exported unpacks the frame and calls the other, whose parameters are
// the buffers, the task range and the integers: only as parameters can pointers carry noalias, without which no load
// leaves a loop. (Inlined into one, the same facts would be scope metadata on every load and store: slower to compile.)
// Buffers of one kernel are disjoint or equal; equal ones are read and written element for element, where a load that
// feeds a store is before it by its data.
//
// Serial loops are emitted bottom-tested with a guard, the form LLVM's loop passes bring loops to anyway. Unrolled
// loops are repeated here, with the variable a constant, so that indices of local arrays are constants and SROA makes
// registers of them.
#include "codegen/cpu/emitter.h"

#include <llvm/IR/Function.h>

#include "codegen/cpu/expressions.h"
#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;
using loops::Buffer;
using loops::LoopKind;
using loops::Space;
using loops::StmtKind;
using loops::StmtNode;

bool is_parameter_written(const Buffer& buffer) { return buffer->space == Space::Stage || buffer->written; }

class KernelEmitter {
 public:
  KernelEmitter(llvm::Module& module, const loops::Kernel& kernel, const Target& target, bool strict_math)
      : module_(module),
        kernel_(kernel),
        target_(target),
        build_(module.getContext(), llvm::InstSimplifyFolder(module.getDataLayout())),
        expressions_(Emission{build_, target, strict_math}) {}

  void run(const std::string& symbol) {
    llvm::Function* body = declare_body(symbol + "_body");
    emit_entry(symbol, body);
    emit_body(body);
  }

 private:
  llvm::Type* pointer() { return build_.getPtrTy(); }
  llvm::BasicBlock* new_block(const char* name) {
    return llvm::BasicBlock::Create(build_.getContext(), name, build_.GetInsertBlock()->getParent());
  }

  void set_attributes(llvm::Function*);
  llvm::Function* declare_body(const std::string& name);
  void emit_entry(const std::string& symbol, llvm::Function* body);
  void emit_body(llvm::Function*);

  void emit_all(const std::vector<loops::Stmt>&);
  void emit(const StmtNode&);
  void emit_for(const StmtNode&);
  void emit_unrolled(const StmtNode&);
  void emit_loop(const StmtNode&, Value* begin, Value* end, bool known_nonempty);
  void emit_if(const StmtNode&);
  void emit_alloc(const StmtNode&);

  llvm::Module& module_;
  const loops::Kernel& kernel_;
  const Target& target_;
  Builder build_;
  ExpressionEmitter expressions_;
  Value* task_begin_ = nullptr;
  Value* task_end_ = nullptr;
  int depth_ = 1;  // of loops around the insertion point; constants and parameters are at 0
};

void KernelEmitter::set_attributes(llvm::Function* function) {
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("target-cpu", target_.cpu);
  if (!target_.features.empty()) function->addFnAttr("target-features", target_.features);
  // Without these, tunings that prefer 256-bit vectors split our 512-bit ones.
  const std::string width = std::to_string(8 * target_.vector_bytes);
  function->addFnAttr("prefer-vector-width", width);
  function->addFnAttr("min-legal-vector-width", width);
}

// (buffers…, task_begin, task_end, integers…)
llvm::Function* KernelEmitter::declare_body(const std::string& name) {
  llvm::SmallVector<llvm::Type*, 16> parameters(kernel_.buffers.size(), pointer());
  parameters.append(2 + kernel_.integers.size(), build_.getInt64Ty());
  auto* function = llvm::Function::Create(llvm::FunctionType::get(build_.getVoidTy(), parameters, false),
                                          llvm::Function::InternalLinkage, name, module_);
  function->setCallingConv(llvm::CallingConv::Fast);
  set_attributes(function);
  function->addFnAttr(llvm::Attribute::NoInline);
  unsigned next = 0;
  for (const Buffer& buffer : kernel_.buffers) {
    llvm::Argument* argument = function->getArg(next++);
    argument->setName(buffer->name);
    argument->addAttr(llvm::Attribute::NoAlias);
    argument->addAttr(llvm::Attribute::NoUndef);
    argument->addAttr(
        llvm::Attribute::getWithAlignment(build_.getContext(), llvm::Align(bytes_of(buffer->element.dtype))));
    if (!is_parameter_written(buffer)) argument->addAttr(llvm::Attribute::ReadOnly);
    expressions_.bind(buffer, argument);
  }
  task_begin_ = function->getArg(next++);
  task_end_ = function->getArg(next++);
  for (const loops::Var& integer : kernel_.integers) {
    function->getArg(next)->setName(integer->name);
    expressions_.bind(integer, function->getArg(next++), 0);
  }
  return function;
}

// void symbol(const lpd_frame* {buffers, integers}, i64 task_begin, i64 task_end, void* stage)
void KernelEmitter::emit_entry(const std::string& symbol, llvm::Function* body) {
  llvm::Type* i64 = build_.getInt64Ty();
  auto* type = llvm::FunctionType::get(build_.getVoidTy(), {pointer(), i64, i64, pointer()}, false);
  auto* entry = llvm::Function::Create(type, llvm::Function::ExternalLinkage, symbol, module_);
  entry->setVisibility(llvm::GlobalValue::HiddenVisibility);
  entry->setDSOLocal(true);
  set_attributes(entry);
  build_.SetInsertPoint(llvm::BasicBlock::Create(build_.getContext(), "entry", entry));
  Value* frame = entry->getArg(0);
  Value* buffers = build_.CreateLoad(pointer(), frame);
  Value* integers = build_.CreateLoad(pointer(), build_.CreateConstGEP1_64(pointer(), frame, 1));
  llvm::SmallVector<Value*, 16> args;
  for (size_t i = 0; i < kernel_.buffers.size(); i++) {
    const bool stage = kernel_.buffers[i]->space == Space::Stage;
    Value* slot = build_.CreateConstGEP1_64(pointer(), buffers, i);
    Value* stored = build_.CreateLoad(stage ? i64 : pointer(), slot);
    args.push_back(stage ? build_.CreatePtrAdd(entry->getArg(3), stored) : stored);
  }
  args.push_back(entry->getArg(1));
  args.push_back(entry->getArg(2));
  for (size_t i = 0; i < kernel_.integers.size(); i++)
    args.push_back(build_.CreateLoad(i64, build_.CreateConstGEP1_64(i64, integers, i)));
  build_.CreateCall(body, args)->setCallingConv(llvm::CallingConv::Fast);
  build_.CreateRetVoid();
}

void KernelEmitter::emit_body(llvm::Function* function) {
  build_.SetInsertPoint(llvm::BasicBlock::Create(build_.getContext(), "entry", function));
  emit(*kernel_.body);
  build_.CreateRetVoid();
}

// --- statements ------------------------------------------------------------------------------------------------

void KernelEmitter::emit_all(const std::vector<loops::Stmt>& statements) {
  for (const loops::Stmt& statement : statements) emit(*statement);
}

void KernelEmitter::emit(const StmtNode& statement) {
  expressions_.begin_statement();
  switch (statement.kind) {
    case StmtKind::Block:
      return emit_all(statement.body);
    case StmtKind::For:
      return emit_for(statement);
    case StmtKind::Let:
      return expressions_.bind(statement.var, expressions_.value(statement.value), depth_);
    case StmtKind::If:
      return emit_if(statement);
    case StmtKind::Store:
      return expressions_.store(statement.buffer, statement.index, statement.value, statement.mask);
    case StmtKind::Alloc:
      return emit_alloc(statement);
    case StmtKind::Barrier:
    case StmtKind::Combine:
    case StmtKind::Product:
    case StmtKind::Attend:
      break;
  }
  LPD_UNREACHABLE("a block of threads on a CPU");
}

void KernelEmitter::emit_for(const StmtNode& loop) {
  switch (loop.loop) {
    case LoopKind::Unrolled:
      return emit_unrolled(loop);
    case LoopKind::Task:
      return emit_loop(loop, task_begin_, task_end_, false);
    case LoopKind::Serial:
    case LoopKind::Thread:
      break;
  }
  Value* begin = expressions_.value(loop.begin);
  Value* end = expressions_.value(loop.end);
  emit_loop(loop, begin, end, loop.begin->hi < loop.end->lo);
}

void KernelEmitter::emit_unrolled(const StmtNode& loop) {
  auto* begin = llvm::dyn_cast<llvm::ConstantInt>(expressions_.value(loop.begin));
  auto* end = llvm::dyn_cast<llvm::ConstantInt>(expressions_.value(loop.end));
  const auto step = loops::value_of(loop.step);
  LPD_CHECK(begin && end && step, "unrolled loop over '{}' has no constant bounds", loop.var->name);
  for (int64_t i = begin->getSExtValue(); i < end->getSExtValue(); i += *step) {
    expressions_.bind(loop.var, build_.getInt64(i), 0);
    emit_all(loop.body);
  }
}

void KernelEmitter::emit_loop(const StmtNode& loop, Value* begin, Value* end, bool known_nonempty) {
  const auto step = loops::value_of(loop.step);
  LPD_CHECK(step && *step > 0, "step of the loop over '{}' is no positive constant", loop.var->name);
  llvm::Function* function = build_.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = build_.GetInsertBlock();
  llvm::BasicBlock* body = new_block(loop.var->name.c_str());
  llvm::BasicBlock* latch = new_block("latch");
  llvm::BasicBlock* after = llvm::BasicBlock::Create(build_.getContext(), "after");
  if (known_nonempty)
    build_.CreateBr(body);
  else
    build_.CreateCondBr(build_.CreateICmpSLT(begin, end), body, after);
  // Phi and latch are complete before anything uses the phi: the folding builder analyses what it is given.
  build_.SetInsertPoint(body);
  llvm::PHINode* variable = build_.CreatePHI(build_.getInt64Ty(), 2, loop.var->name);
  llvm::Instruction* next = llvm::BinaryOperator::CreateNSWAdd(variable, build_.getInt64(*step));
  next->setHasNoUnsignedWrap(loop.begin->lo >= 0);
  variable->addIncoming(begin, before);
  variable->addIncoming(next, latch);
  build_.SetInsertPoint(latch);
  build_.Insert(next);
  build_.CreateCondBr(new llvm::ICmpInst(latch, llvm::CmpInst::ICMP_SLT, next, end), body, after);
  build_.SetInsertPoint(body);
  expressions_.bind(loop.var, variable, ++depth_);
  emit_all(loop.body);
  depth_--;
  build_.CreateBr(latch);
  latch->moveAfter(build_.GetInsertBlock());
  after->insertInto(function);
  build_.SetInsertPoint(after);
}

void KernelEmitter::emit_if(const StmtNode& choice) {
  Value* condition = expressions_.value(choice.value);
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(condition))
    return emit_all(known->isOne() ? choice.body : choice.otherwise);
  llvm::BasicBlock* then = new_block("then");
  llvm::BasicBlock* otherwise = new_block("else");
  llvm::BasicBlock* after = new_block("after");
  build_.CreateCondBr(condition, then, otherwise);
  build_.SetInsertPoint(then);
  emit_all(choice.body);
  build_.CreateBr(after);
  build_.SetInsertPoint(otherwise);
  emit_all(choice.otherwise);
  build_.CreateBr(after);
  build_.SetInsertPoint(after);
}

// On the stack, at the function's entry; 64-byte aligned so that vectors of it never straddle lines.
void KernelEmitter::emit_alloc(const StmtNode& statement) {
  const loops::BufferNode& buffer = *statement.buffer;
  llvm::Type* element = buffer.element.lanes > 1
                            ? vector_of(value_type(build_.getContext(), buffer.element.dtype), buffer.element.lanes)
                            : memory_type(build_.getContext(), buffer.element.dtype);
  llvm::BasicBlock& entry = build_.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> at_entry(&entry, entry.begin());
  llvm::AllocaInst* array = at_entry.CreateAlloca(llvm::ArrayType::get(element, buffer.size), nullptr, buffer.name);
  array->setAlignment(llvm::Align(64));
  expressions_.bind(statement.buffer, array);
  emit_all(statement.body);
}

}  // namespace

void emit_kernel(llvm::Module& module, const loops::Kernel& kernel, const std::string& symbol, const Target& target,
                 bool strict_math) {
  KernelEmitter(module, kernel, target, strict_math).run(symbol);
}

}  // namespace lapidary::codegen::cpu
