#include "passes/lower/gather_rooms.h"

#include <gtest/gtest.h>

#include "passes/lower/plan_memory.h"

namespace lapidary {
namespace {

BufferRef in_register(uint32_t index) { return {BufferRef::Base::Register, index}; }

Step kernel(std::vector<BufferRef> buffers) { return {.kind = StepKind::Kernel, .buffers = std::move(buffers)}; }
Step reserve(DimPool& dims, uint32_t index) {
  return {.kind = StepKind::Reserve, .buffers = {in_register(index)}, .amount = dims.constant(8)};
}

std::string kinds(const EntryPoint& entry) {
  std::string text;
  for (const Step& step : entry.steps) text += std::string(text.empty() ? "" : " ") + std::string(name_of(step.kind));
  return text;
}

// 0 and 2 never live together, 1 meets both.
TEST(GatherRooms, RoomIsMadeBeforeARegionAndStillShared) {
  DimPool dims;
  EntryPoint entry;
  entry.steps = {reserve(dims, 0), kernel({in_register(0)}),
                 reserve(dims, 1), kernel({in_register(0), in_register(1)}),
                 reserve(dims, 2), kernel({in_register(1), in_register(2)})};
  entry.registers = {{0, 3, 0}, {2, 5, 0}, {4, 5, 0}};
  lowering::gather_rooms(entry);
  lowering::plan_memory(dims, entry);
  lowering::keep_what_lives(entry);
  EXPECT_EQ(kinds(entry), "reserve reserve reserve step step step");
  EXPECT_EQ(entry.registers[0].slot, entry.registers[2].slot);
  EXPECT_NE(entry.registers[0].slot, entry.registers[1].slot);
  for (const Step& step : entry.steps) EXPECT_FALSE(step.keep);
}

// Register 0 still lives when room is made for 1, which takes over its memory later in the region.
TEST(GatherRooms, RoomMadeEarlyKeepsWhatLives) {
  DimPool dims;
  EntryPoint entry;
  entry.steps = {reserve(dims, 0),         kernel({in_register(0)}), {.kind = StepKind::Elements},
                 kernel({in_register(0)}), reserve(dims, 1),         kernel({in_register(1)})};
  entry.registers = {{0, 3, 0}, {4, 5, 0}};
  lowering::gather_rooms(entry);
  lowering::plan_memory(dims, entry);
  lowering::keep_what_lives(entry);
  EXPECT_EQ(kinds(entry), "reserve step elements reserve step step");
  EXPECT_EQ(entry.registers[0].slot, entry.registers[1].slot);
  EXPECT_FALSE(entry.steps[0].keep);
  EXPECT_TRUE(entry.steps[3].keep);
}

// A jump may come back to between the two kernels: what is reserved there stays behind it.
TEST(GatherRooms, NothingCrossesATarget) {
  DimPool dims;
  EntryPoint entry;
  entry.steps = {kernel({}), reserve(dims, 0), kernel({in_register(0)}), {.kind = StepKind::Branch, .target = 1}};
  entry.registers = {{1, 2, 0}};
  lowering::gather_rooms(entry);
  EXPECT_EQ(kinds(entry), "step reserve step branch");
}

}  // namespace
}  // namespace lapidary
