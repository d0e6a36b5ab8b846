// Every message of an import goes through a Report, which puts the file's name in front and the node's, if any, after.
#pragma once

#include <string>
#include <utility>

#include "frontend/onnx_proto.h"
#include "ir/error.h"

namespace lapidary::frontend {

// The node's name, or that of its first output when it has none.
std::string label_of(const NodeProto&);
// "node 'conv1' (Conv, opset 22)"; opset 0: not known. Of a node in a function the name is "call/conv1".
std::string describe(const NodeProto&, int opset, const std::string& call = "");

class Report {
 public:
  Report(Diagnostics& diagnostics, std::string file) : diagnostics_(&diagnostics), prefix_(printable(file) + ": ") {}

  void error(const std::string& what, Fault fault = Fault::Input) { diagnostics_->error(fault, prefix_ + cut(what)); }
  void error(const NodeProto& node, int opset, const std::string& what, Fault fault = Fault::Input) {
    error(describe(node, opset, call_) + ": " + what, fault);
  }
  void warning(const std::string& what) { diagnostics_->warning(prefix_ + what); }
  void set_call(const std::string& prefix) { call_ = prefix; }  // of the nodes reported from now on: "call/"
  // What follows goes there; returns where it went before.
  Diagnostics* redirect(Diagnostics* to) { return std::exchange(diagnostics_, to); }
  // What went elsewhere.
  void repeat_warning(const std::string& message) { diagnostics_->warning(message); }
  void repeat(const Diagnostics& all) {
    for (const Diagnostic& error : all.errors()) diagnostics_->error(error.fault, error.message);
    for (const Diagnostic& warning : all.warnings()) repeat_warning(warning.message);
  }
  bool failed() const { return diagnostics_->failed(); }

 private:
  static std::string cut(const std::string& what) {  // formulas of extents know no end
    constexpr size_t kMost = 1000;
    return what.size() <= kMost ? what : what.substr(0, kMost / 2) + " … " + what.substr(what.size() - kMost / 2);
  }

  Diagnostics* diagnostics_;
  std::string prefix_, call_;
};

}  // namespace lapidary::frontend
