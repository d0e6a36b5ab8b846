// Arrays to train with, out of files: an .npz, a folder of .npy files, one .npy, IDX as MNIST comes (compressed by gzip
// too), and CSV. What a file is shows its content, not its name. Test: test/train/data_files.py.
#pragma once

#include <string>
#include <vector>

#include "tools/loaded_model.h"

namespace lapidary::tools {

struct NamedArray {
  std::string name;  // "" where the file gives none: of a .npy, an IDX or a CSV file alone
  HostTensor values;
};

struct DataFiles {
  std::string data;          // a file or folder
  std::string labels;        // a file with the labels alone, or ""
  std::string label_column;  // of CSV: a name in its first line, or a number from 1; "": the last
};

// `label_name` is what the labels are called. Throws Error naming the file and what is wrong with it.
std::vector<NamedArray> read_arrays(const DataFiles&, const std::string& label_name);

}  // namespace lapidary::tools
