// Types that a model declares: those of its inputs become types of the graph, with symbols for what is not fixed; all
// others are only compared with what was computed, and the computed one wins. Real exporters declare wrongly, so a
// constant against a symbol is a warning; two different constants, ranks or element types are an error.
#pragma once

#include <map>
#include <set>
#include <string>

#include "frontend/import.h"
#include "frontend/report.h"

namespace lapidary::frontend {

class Signature {
 public:
  Signature(DimPool& dims, const ImportOptions& options, Report& report)
      : dims_(dims), options_(options), report_(report) {}

  // Call for all inputs before type_of: --shape may fix a symbol that other inputs share, and names the model gave go
  // before names we make up.
  void collect(const onnx::ValueInfoProto& input);
  void finish_collecting();
  // An error type after a report.
  Type type_of(const onnx::ValueInfoProto& input);
  void compare(const onnx::ValueInfoProto& declared, const Type& computed);

 private:
  const std::vector<int64_t>* wanted_shape(const std::string& input) const;
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
};

}  // namespace lapidary::frontend
