// Imports models and runs them in the Graph interpreter: the tool behind node_tests.py. Each argument is a folder with
// model.onnx, `inputs` (a name on each line) and input_0, input_1, …: a line "dtype extent extent …", then the bytes;
// of strings, the length of each in eight bytes before it. And `forms`, of inputs that are no tensors: "length 3 x",
// "shape 2x3 x[0]" or "optional absent y" on each line. Writes `outputs`, output_0, … in the same form and prints a
// line for each folder: ok, unsupported or error, and the message.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "frontend/import.h"
#include "ir/interpreter.h"
#include "ir/verifier.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

Tensor strings_from(std::string_view bytes, std::vector<int64_t> shape, StringPool& pool) {
  Tensor tensor = Tensor::zeros(DType::String, std::move(shape));
  for (int64_t& number : tensor.integers) {
    uint64_t length;
    std::memcpy(&length, bytes.data(), sizeof length);
    number = pool.number_of(bytes.substr(sizeof length, length));
    bytes.remove_prefix(sizeof length + length);
  }
  return tensor;
}

std::vector<std::byte> bytes_of(const Tensor& tensor, const StringPool& pool) {
  if (tensor.dtype != DType::String) return tensor.to_bytes();
  std::vector<std::byte> bytes;
  for (int64_t number : tensor.integers) {
    const uint64_t length = pool[number].size();
    std::ranges::copy(std::as_bytes(std::span(&length, 1)), std::back_inserter(bytes));
    std::ranges::copy(std::as_bytes(std::span(pool[number])), std::back_inserter(bytes));
  }
  return bytes;
}

Tensor read_tensor(const fs::path& path, StringPool& pool) {
  std::ifstream file(path, std::ios::binary);
  std::string header;
  std::getline(file, header);
  std::istringstream words(header);
  int dtype;
  words >> dtype;
  std::vector<int64_t> shape;
  for (int64_t extent; words >> extent;) shape.push_back(extent);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (static_cast<DType>(dtype) == DType::String) return strings_from(bytes, shape, pool);
  return Tensor::from_bytes(static_cast<DType>(dtype), shape, std::as_bytes(std::span(bytes)));
}

void write_tensor(const fs::path& path, const Tensor& tensor, const StringPool& pool) {
  std::ofstream file(path, std::ios::binary);
  file << static_cast<int>(tensor.dtype);
  for (int64_t extent : tensor.shape) file << ' ' << extent;
  std::vector<std::byte> bytes = bytes_of(tensor, pool);
  file << '\n';
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

frontend::ImportOptions read_forms(const fs::path& path) {
  frontend::ImportOptions options;
  std::ifstream file(path);
  std::string what, name;
  for (std::string told; file >> what >> told && std::getline(file >> std::ws, name);) {
    if (what == "length") options.lengths[name] = std::stoll(told);
    if (what == "optional") options.present[name] = told == "present";
    if (what != "shape") continue;
    std::istringstream extents(told);
    for (std::string extent; std::getline(extents, extent, 'x');) options.shapes[name].push_back(std::stoll(extent));
  }
  return options;
}

void run_case(const fs::path& folder) {
  Diagnostics diagnostics;
  auto module = frontend::import_model(folder / "model.onnx", read_forms(folder / "forms"), diagnostics);
  if (!module) throw Error(diagnostics.errors()[0].fault, diagnostics.errors()[0].message);
  std::vector<std::string> problems = verify(*module);
  LPD_CHECK(problems.empty(), "{}", problems[0]);
  std::map<std::string, int> place;
  std::ifstream names(folder / "inputs");
  for (std::string name; std::getline(names, name);) place.emplace(name, static_cast<int>(place.size()));
  const Function& function = *module->functions[0];
  StringPool& pool = *module->constants.strings;
  std::vector<Tensor> inputs;
  for (const std::string& name : function.argument_names)
    inputs.push_back(read_tensor(folder / fmt::format("input_{}", place.at(name)), pool));
  std::vector<Tensor> outputs = interpret(*module, function, inputs);
  std::ofstream result_names(folder / "outputs");
  for (const std::string& name : function.result_names) result_names << name << '\n';
  for (size_t i = 0; i < outputs.size(); ++i) write_tensor(folder / fmt::format("output_{}", i), outputs[i], pool);
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  using namespace lapidary;
  for (int i = 1; i < argc; ++i) {
    fs::path folder = argv[i];
    std::string verdict = "ok";
    try {
      run_case(folder);
    } catch (const Error& error) {
      verdict = fmt::format("{} {}", error.fault == Fault::Unsupported ? "unsupported" : "error", error.what());
    } catch (const std::exception& error) { verdict = fmt::format("error {}", error.what()); }
    std::replace(verdict.begin(), verdict.end(), '\n', ' ');
    printf("%s %s\n", folder.filename().c_str(), verdict.c_str());
  }
}
