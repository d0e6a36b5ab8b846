// Zip archives, as NumPy writes them (.npz): entries stored or deflated, ZIP64 too; and gzip. Sizes are those the
// archive tells, each checked against what is there and against what deflate can reach. Test: test/train/data_files.py.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace lapidary::tools {

struct ZipEntry {
  std::string name;
  std::vector<std::byte> bytes;
};

// Both throw Error{Fault::Input} naming the file and what is wrong with it: truncated, damaged, …
std::vector<ZipEntry> read_zip(const std::string& path, std::span<const std::byte> file);
std::vector<std::byte> read_gzip(const std::string& path, std::span<const std::byte> file);

}  // namespace lapidary::tools
