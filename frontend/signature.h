// Types that a model declares: those of its inputs become types of the graph, with symbols for what is not fixed; all
// others are only compared with what was computed, and the computed one wins. Real exporters declare wrongly, so a
// constant against a symbol is a warning; two different constants, ranks or element types are an error.
#pragma once

#include <map>
#include <set>
#include <string>

#include "frontend/binding.h"
#include "frontend/import.h"
#include "frontend/report.h"

namespace lapidary::frontend {

// The tensors that stand for an input of the model: itself, the parts of a sequence, or none for an optional without an
// element.
struct DeclaredInput {
  std::string_view name;
  std::vector<onnx::ValueInfoProto> tensors = {};
  bool sequence = false, optional = false;
  DType dtype = DType::Undefined;  // of a sequence's parts
  bool failed = false;             // after a report
};

std::string part_name(const std::string& sequence, size_t index);  // "x[0]"

class Signature {
 public:
  Signature(DimPool& dims, const ImportOptions& options, Report& report)
      : dims_(dims), options_(options), report_(report) {}

  DeclaredInput declare(const onnx::ValueInfoProto& input);
  // Call for all tensors before type_of: --shape may fix a symbol that other inputs share, and names the model gave go
  // before names we make up.
  void collect(const onnx::ValueInfoProto& input);
  void finish_collecting();
  // An error type after a report.
  Type type_of(const onnx::ValueInfoProto& input);
  void compare(const onnx::ValueInfoProto& declared, const Type& computed);

 private:
  const std::vector<int64_t>* wanted_shape(const std::string& input) const;
  void declare_type(const onnx::TypeProto&, DeclaredInput&);
  void declare_parts(const onnx::TypeProto& part, DeclaredInput&);
  void check_options_of(const onnx::ValueInfoProto&) const;
  bool is_present(const std::string& name) const;
  Dim extent_of(const onnx::ValueInfoProto& input, int axis);
  std::string symbol_name(const std::string& wanted);

  DimPool& dims_;
  const ImportOptions& options_;
  Report& report_;
  std::map<std::string, int64_t> fixed_;        // dim_param → extent, from --shape
  std::map<std::string, std::string> symbols_;  // dim_param → symbol
  std::set<std::string> taken_;                 // symbols in use
  std::map<std::string, int> last_suffix_;      // of those that had to be told apart
  std::set<std::string> inputs_;
  std::map<std::string, std::string> sequence_of_;  // by the part's name
};

}  // namespace lapidary::frontend
