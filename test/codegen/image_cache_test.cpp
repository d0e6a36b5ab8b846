// Images on disk: what was kept is found as it was, what is damaged is not found, the oldest go first.
#include "codegen/cuda/image_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "codegen/sha256.h"

namespace lapidary::codegen::cuda {
namespace {

namespace fs = std::filesystem;

class ImageCacheTest : public testing::Test {
 protected:
  ImageCacheTest() {
    fs::remove_all(folder_);
    cache_.keep("key", image_);
  }
  ~ImageCacheTest() override { fs::remove_all(folder_); }

  std::string entry() const { return folder_ + "/key"; }
  std::string content() const {
    std::ifstream file(entry(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& content) const { std::ofstream(entry(), std::ios::binary) << content; }

  const std::string folder_ =
      testing::TempDir() + "/image_cache_" + testing::UnitTest::GetInstance()->current_test_info()->name() + "/deep";
  const ImageCache cache_{folder_};
  const Nvrtc::Result image_{{'\x7f', 'E', 'L', 'F', '\0', '\n', '\xff'}, "line\nother line\n", {'.', 'v', '\0'}};
};

TEST_F(ImageCacheTest, FindsWhatWasKept) {
  const auto found = cache_.find("key");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bytes, image_.bytes);
  EXPECT_EQ(found->log, image_.log);
  EXPECT_EQ(found->ptx, image_.ptx);
  EXPECT_FALSE(cache_.find("other"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "no temporary file is left";
}

TEST_F(ImageCacheTest, KeepsEmptyOnes) {
  cache_.keep("empty", {});
  const auto found = cache_.find("empty");
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->bytes.empty());
  EXPECT_EQ(found->log, "");
  EXPECT_TRUE(found->ptx.empty());
}

TEST_F(ImageCacheTest, IgnoresWhatIsDamaged) {
  const std::string good = content();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    write(bad);
    EXPECT_FALSE(cache_.find("key")) << "byte " << i;
    write(good.substr(0, i));
    EXPECT_FALSE(cache_.find("key")) << "cut off at " << i;
  }
  write(good + "x");
  EXPECT_FALSE(cache_.find("key"));
  cache_.keep("key", image_);
  EXPECT_TRUE(cache_.find("key"));
}

TEST_F(ImageCacheTest, IgnoresPartsLongerThanTheEntry) {
  const std::string huge = "fffffffffffffff0\n", none = "0000000000000000\n", one = "0000000000000001\n";
  for (const std::string& sizes : {huge + none, none + huge, huge + huge, one + huge}) {
    const std::string lie = sizes + "log";
    write("lapidary image 2\n" + sha256(lie) + "\n" + lie);
    EXPECT_FALSE(cache_.find("key")) << sizes;
  }
}

TEST_F(ImageCacheTest, EvictsTheOldest) {
  const int64_t each = static_cast<int64_t>(fs::file_size(entry()));
  const ImageCache small(folder_, 4 * each);
  const auto now = fs::file_time_type::clock::now();
  for (int i = 0; i < 5; ++i) {
    small.keep(std::string(1, static_cast<char>('a' + i)), image_);
    fs::last_write_time(folder_ + "/" + static_cast<char>('a' + i), now - std::chrono::hours(10 - i));
  }
  fs::last_write_time(entry(), now - std::chrono::hours(20));
  ASSERT_TRUE(small.find("a")) << "and so is the youngest now";
  small.evict();
  EXPECT_TRUE(small.find("a"));
  EXPECT_FALSE(small.find("key"));
  EXPECT_FALSE(small.find("b"));
  EXPECT_FALSE(small.find("c"));
  EXPECT_TRUE(small.find("d"));
  EXPECT_TRUE(small.find("e"));
  small.evict();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 3);
}

TEST_F(ImageCacheTest, WithoutAFolderKeepsNothing) {
  const ImageCache none("");
  none.keep("key", image_);
  none.evict();
  EXPECT_FALSE(none.find("key"));
}

TEST_F(ImageCacheTest, AFolderThatCannotBeMadeIsNoFailure) {
  const ImageCache under_a_file(entry() + "/folder");
  under_a_file.keep("key", image_);
  under_a_file.evict();
  EXPECT_FALSE(under_a_file.find("key"));
}

TEST(Sha256, OfAKnownText) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace lapidary::codegen::cuda
