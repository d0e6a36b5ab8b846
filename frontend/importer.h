// Private to this folder: the importer's one walk over the bodies of a model.
#pragma once

#include <memory>

#include "frontend/import.h"
#include "frontend/node.h"
#include "frontend/schema_check.h"
#include "frontend/signature.h"
#include "frontend/structure.h"

namespace lapidary::frontend {

constexpr int kMaxBodyDepth = 100;  // of operators' own bodies within each other

// What a name stands for: a value, nothing because an optional operand was left out, or nothing because of a failure.
struct Binding {
  Value* value = nullptr;
  bool failed = false;
};

// A region of the graph being written. What its ops need from outside becomes an operand of the region's owner and an
// argument of the region.
struct RegionWriter {
  RegionWriter(Module& module, Region& region) : build(module, region) {}
  GraphBuilder build;
  std::vector<Value*> captures;   // of the region around it
  std::vector<Value*> arguments;  // what they are inside
};

// The names of one body. Function bodies see no outer scope; graphs inside nodes do.
struct Scope {
  RegionWriter& writer;
  Scope* outer = nullptr;
  std::unordered_map<std::string_view, Binding> values = {};
  std::unordered_map<std::string_view, ConstantId> initializers = {};  // not used so far in this region
  std::unordered_map<std::string_view, const onnx::ValueInfoProto*> declared = {};
};

// What is the same throughout a body and the graphs inside it.
struct Frame {
  const Opsets& opsets;
  Attributes attributes;  // of the call, when the body is a function's
  std::string prefix;     // of node names: "call/"
  int depth = 0;
};

// Thrown inside import_operator when the reason has been reported already, somewhere deeper.
struct Reported {};

class Importer {
 public:
  Importer(const ModelProto& model, const ImportOptions& options, TensorReader tensors, Report& report)
      : model_(model),
        options_(options),
        tensors_(std::move(tensors)),
        report_(report),
        module_(std::make_unique<Module>()),
        signature_(module_->dims, options, report) {}

  std::unique_ptr<Module> run(const std::string& name);

 private:
  // --- import.cpp
  bool check_versions() const;
  void declare_inputs(Function&, Scope&);
  void load_initializers(const GraphProto&, Scope&);
  Binding find(std::string_view name, Scope&);
  std::optional<ConstantId> find_initializer(std::string_view name, const Scope&) const;
  static Value* inside(RegionWriter&, Value* outside);

  void import_body(const Body&, Scope&, const Frame&);
  void import_node(const NodeProto&, Scope&, const Frame&);
  void name_checks(size_t first, Origin origin);
  std::vector<Value*> import_operator(const NodeProto&, const OpSchema&, int opset, Attributes,
                                      std::vector<Value*> inputs, Scope&, const Frame&);
  std::vector<Value*> call(const FunctionProto&, const NodeProto&, const Attributes&, const std::vector<Value*>& inputs,
                           const Opsets&, Scope&, const Frame&);
  static Attributes resolve(const NodeProto&, const Frame&);
  std::vector<Value*> results_of(const Body&, Scope&);
  void note_missing(const NodeProto&, const OpSchema*, int opset);
  void sum_up_missing();

  // --- if.cpp, loop.cpp, scan.cpp
  struct Branch;
  struct LoopBody;
  struct Attempt;
  using Imported = std::vector<Value*>;
  Imported import_graph(const GraphProto&, Scope&, const Frame&);
  Imported import_if(const NodeProto&, const Attributes&, Value* condition, Scope&, const Frame&);
  Branch import_branch(const GraphProto&, Dim condition, Scope&, const Frame&);
  Imported import_loop(const NodeProto&, const Attributes&, const std::vector<Value*>& inputs, Scope&, const Frame&);
  Imported import_scan(const NodeProto&, int opset, const Attributes&, const std::vector<Value*>& inputs, Scope&,
                       const Frame&);
  Imported write_loop(LoopBody&, Scope&, const Frame&);
  Attempt try_body(LoopBody&, Scope&, const Frame&, bool silent);
  Imported finish_loop(LoopBody&, Attempt&, Scope&);

  const ModelProto& model_;
  const ImportOptions& options_;
  TensorReader tensors_;
  Report& report_;
  std::unique_ptr<Module> module_;
  Signature signature_;
  Structure structure_;
  std::map<const FunctionProto*, Opsets> function_opsets_;
  std::map<std::string, int>
      missing_;                  // operators we have no importer for, also where a failure before them hides them
  int attempts_ = 0;             // at bodies of loops
  int64_t attempted_nodes_ = 0;  // in all of them
  std::vector<std::string> attempt_warnings_;  // of the last one
};

}  // namespace lapidary::frontend
