// Private to this folder: the importer's one walk over the bodies of a model.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "frontend/import.h"
#include "frontend/node.h"
#include "frontend/schema_check.h"
#include "frontend/signature.h"
#include "frontend/structure.h"

namespace lapidary::frontend {

constexpr int kMaxBodyDepth = 100;  // of operators' own bodies within each other

// A region of the graph being written. What its ops need from outside becomes an operand of the region's owner and an
// argument of the region.
struct RegionWriter {
  RegionWriter(Module& module, Region& region, RegionWriter* around = nullptr) : build(module, region), outer(around) {}
  GraphBuilder build;
  RegionWriter* outer;            // null: it is a function's
  Value* iteration = nullptr;     // of the loop whose body it is
  Value* step = nullptr;          // see Importer::step_in
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

struct OpEntry;

// Thrown inside import_operator when the reason has been reported already, somewhere deeper.
struct Reported {};

// What a function of training_info gives states.
struct Updates {
  const google::protobuf::RepeatedPtrField<onnx::StringStringEntryProto>& bindings;  // initializer → value
  const char* field;
  bool gives(std::string_view value) const;
};

class Importer {
 public:
  using Bindings = std::vector<Binding>;

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
  void import_function(const std::string& name, const GraphProto&, const Opsets&, TrainingMode*,
                       const Updates* updates = nullptr);
  bool check_versions() const;
  void note_defaults(const GraphProto&, const Scope&);
  void declare_inputs(const GraphProto&, Function&, Scope&);
  void load_initializers(const GraphProto&, Scope&);
  Binding find(std::string_view name, Scope&);
  std::optional<ConstantId> find_initializer(std::string_view name, const Scope&) const;
  static Value* inside(RegionWriter&, Value* outside);
  Bindings import_node_of(const OpEntry*, Node&, const Attributes&, Scope&, const Frame&);

  void import_body(const Body&, Scope&, const Frame&);
  void import_node(const NodeProto&, Scope&, const Frame&);
  void name_checks(size_t first, Origin origin);
  Bindings import_operator(const NodeProto&, const OpSchema&, int opset, Attributes, Bindings inputs, Scope&,
                           const Frame&);
  Bindings call(const FunctionProto&, const NodeProto&, const Attributes&, const Bindings& inputs, const Opsets&,
                Scope&, const Frame&);
  static Attributes resolve(const NodeProto&, const Frame&);
  Bindings results_of(const Body&, Scope&);
  void yield_results(Function&, const Body&, const Bindings& results, GraphBuilder&);
  void note_missing(const NodeProto&, const OpSchema*, int opset);
  void sum_up_missing();

  // --- states.cpp
  struct StateResult {
    int state;  // of the module
    Value* value;
  };
  void find_statistics();
  std::optional<State::Kind> kind_of_state(const std::string& initializer, const Constant&) const;
  void declare_states(const GraphProto&, const Opsets&, Function&, Scope&);
  void declare_step(Function&, Scope&);
  static Value* step_in(RegionWriter&);
  static Value* step_of_iteration(GraphBuilder&, Value* step, Value* iteration);
  std::vector<StateResult> moved_states(const Function&) const;
  static void yield_states(Function&, const std::vector<StateResult>&, const Module&);

  // --- training_info.cpp
  void import_training_info(const Opsets&);
  void import_algorithm(const onnx::TrainingInfoProto&, int number, const Opsets&, TrainingMode&);
  void import_initialization(const onnx::TrainingInfoProto&, int number, const Opsets&);
  void note_states(const GraphProto& algorithm, const Updates&);
  std::vector<StateResult> updated_states(const Updates&, Scope&);

  // --- if.cpp
  struct Branch;
  Bindings import_graph(const GraphProto&, Scope&, const Frame&);
  Bindings graph_results(const GraphProto&, Scope&, const Frame&);
  Bindings import_if(const NodeProto&, const Attributes&, Value* condition, Scope&, const Frame&);
  Branch import_branch(const GraphProto&, Dim condition, Scope&, const Frame&);
  static void check_forms(const Bindings& then, const Bindings& otherwise);

  // --- loop.cpp
  struct LoopBody;
  struct Attempt;
  Bindings import_loop(const NodeProto&, const Attributes&, const Bindings& inputs, Scope&, const Frame&);
  Bindings roll(LoopBody&, Scope&, const Frame&);
  Bindings roll_or_unroll(LoopBody&, int64_t trips, Scope&, const Frame&);
  Attempt try_body(LoopBody&, Scope&, const Frame&, bool silent);
  void bind_arguments(LoopBody&, Attempt&, Scope& inner);
  void take_carried(LoopBody&, Attempt&, size_t index);
  void take_results(LoopBody&, Attempt&, const Bindings& results);
  Bindings finish_loop(LoopBody&, Attempt&, Scope&);
  static Bindings results_after(const LoopBody&, const Attempt&, const std::vector<Value*>& last,
                                const std::vector<Value*>& stacks, GraphBuilder&);

  // --- scan.cpp
  Bindings import_scan(const NodeProto&, int opset, const Attributes&, const Bindings& inputs, Scope&, const Frame&);

  // --- unroll.cpp
  std::optional<Bindings> unroll(const LoopBody&, int64_t trips, Scope&, const Frame&);
  Bindings import_sequence_map(const NodeProto&, const Attributes&, const Bindings& inputs, Scope&, const Frame&);
  Bindings map_stacks(const GraphProto&, const Bindings& inputs, Scope&, const Frame&);
  Bindings map_parts(const GraphProto&, const Bindings& inputs, Scope&, const Frame&);
  void count_unrolled(const GraphProto&);
  Bindings unrolled_results(const GraphProto&, int64_t k, Scope&, const Frame&);

  // --- gradient.cpp
  Bindings import_gradient(const NodeProto&, const Attributes&, const Bindings& inputs, Scope&);
  Value* named_here(const std::string& name, Scope&);

  // --- flex_attention.cpp
  Bindings import_flex_attention(Node&, const Attributes&, Scope&, const Frame&);
  Value* modified(Node&, const Attributes&, const char* modifier, Value* x, Scope&, const Frame&);

  const ModelProto& model_;
  const ImportOptions& options_;
  TensorReader tensors_;
  Report& report_;
  std::unique_ptr<Module> module_;
  Signature signature_;
  Structure structure_;
  TrainingMode* training_ = nullptr;  // of the function that is being imported
  // Of training_info: the initializers that it updates, which are the states; else those that can be trained are.
  std::optional<std::map<std::string, State::Kind>> own_states_;
  std::set<std::string_view> statistics_;  // with training: initializers that are running means and variances
  int step_state_ = -1;                    // of the module; -1: none yet
  std::list<GraphProto> combined_;         // the model's graph with an algorithm
  std::map<const FunctionProto*, Opsets> function_opsets_;
  std::map<std::string, int>
      missing_;                  // operators we have no importer for, also where a failure before them hides them
  int64_t all_nodes_ = 0;        // of the model
  int64_t attempted_nodes_ = 0;  // in attempts at bodies of loops
  int64_t unrolled_nodes_ = 0;
  uint32_t grown_ = 0;                         // loops' sequences that grow, so far
  std::vector<std::string> attempt_warnings_;  // of the last one
};

}  // namespace lapidary::frontend
