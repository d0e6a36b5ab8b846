// lapidary operators: the operators there are, as the table docs/operators.md. Test: test/docs/operators.test.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "frontend/operator_list.h"
#include "tools/commands.h"

namespace lapidary::tools {

namespace {

using frontend::ListedOperator;
using frontend::Support;

std::string supported(const ListedOperator& one) {
  if (one.support == Support::None) return "no";
  std::string text = one.support == Support::Direct ? "yes" : "yes, as ONNX defines it";
  if (!one.other_types.empty()) text += fmt::format("; not of {}", fmt::join(one.other_types, ", "));
  return text;
}

std::string versions(const ListedOperator& one) {
  return fmt::format("{}{}", fmt::join(one.versions, ", "),
                     one.removed_in ? fmt::format("; removed in {}", one.removed_in) : "");
}

int run() {
  fmt::print(
      "# Operators\n\n"
      "`lapidary operators` writes this page: every operator ONNX has, the opsets that introduced its forms, and "
      "whether\nit is supported. A form that is not is refused by name when a model is compiled; "
      "test/conformance/unsupported.txt\nlists those that ONNX's own tests have.\n");
  std::string domain = "none";
  for (const ListedOperator& one : frontend::all_operators()) {
    if (one.domain != domain) {
      domain = one.domain;
      fmt::print("\n## {}\n\n| operator | opsets | supported |\n|---|---|---|\n", domain.empty() ? "ai.onnx" : domain);
    }
    fmt::print("| {} | {} | {} |\n", one.name, versions(one), supported(one));
  }
  return 0;
}

}  // namespace

void add_operators_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("operators", "Lists the operators of all domains, as Markdown");
  command->callback([&action] { action = run; });
}

}  // namespace lapidary::tools
