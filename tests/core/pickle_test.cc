#include "gradus/core/pickle.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/core/expect_error.h"
#include "tests/core/temporary_folder.h"
#include "tests/core/torch_archive.h"

namespace gradus {
namespace {

using testing::little;
using testing::pickled;
using testing::pickled_dict;
using testing::pickled_global;
using testing::pickled_program;
using testing::pickled_tensor;
using testing::TemporaryFolder;

std::vector<PickledTensor> read(const std::string& pickle) {
  return read_state_dict_pickle(std::as_bytes(std::span(pickle)), "weights.pt");
}

void expect_corrupt(const std::string& instructions, const std::string& part) {
  SCOPED_TRACE(instructions);
  EXPECT_GRADUS_ERROR(read(pickled_program(instructions)), corrupt, part);
}
void expect_unsupported(const std::string& instructions, const std::string& part) {
  SCOPED_TRACE(instructions);
  EXPECT_GRADUS_ERROR(read(pickled_program(instructions)), unsupported, part);
}

TEST(Pickle, GivesTheTensorsOfADictInItsOrder) {
  const std::string pickle = pickled_program(pickled_dict({
      {"b", pickled_tensor({.storage_class = "BFloat16Storage", .key = "7", .offset = 2, .dims = {4}, .strides = {1}})},
      {"a", pickled_tensor({.storage_class = "LongStorage", .dims = {}, .strides = {}})},
  }));
  const std::vector<PickledTensor> tensors = read(pickle);
  ASSERT_EQ(tensors.size(), 2u);
  const PickledTensor& b = tensors[0];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DType::bf16);
  EXPECT_EQ(b.storage, "7");
  EXPECT_EQ(b.storage_numel, 6);
  EXPECT_EQ(b.offset, 2);
  EXPECT_EQ(b.rank, 1u);
  EXPECT_EQ(b.dims[0], 4);
  EXPECT_EQ(b.strides[0], 1);
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[1].dtype, DType::i64);
  EXPECT_EQ(tensors[1].rank, 0u);
}

TEST(Pickle, WholeNumbersOfEveryLengthAreRead) {
  const auto offset_of = [](const std::string& number) {
    std::string tensor = pickled_tensor({.offset = 99});
    tensor.replace(tensor.find(pickled(99)), pickled(99).size(), number);
    return read(pickled_program(pickled_dict({{"a", tensor}}))).front().offset;
  };
  EXPECT_EQ(offset_of("K\xff"), 255);
  EXPECT_EQ(offset_of("M\xff\xff"), 65535);
  EXPECT_EQ(offset_of("J" + little(0xfffffffe, 4)), -2);
  EXPECT_EQ(offset_of(std::string("\x8a\x00", 2)), 0);
  EXPECT_EQ(offset_of("\x8a\x01\xff"), -1);
  EXPECT_EQ(offset_of("\x8a\x05" + little(0x1234567890, 5)), 0x1234567890);
  EXPECT_EQ(offset_of("\x8a\x05" + little(0x9234567890, 5)), 0x9234567890 - (int64_t{1} << 40));
  EXPECT_EQ(offset_of("\x8a\x08" + little(0x8000000000000000, 8)), INT64_MIN);
}

TEST(Pickle, AttributesOfADictAreOfNoConsequence) {
  const std::string dict = pickled_global("collections", "OrderedDict") + ")R";
  EXPECT_TRUE(read(pickled_program(dict + "}" + pickled("_metadata") + dict + "sb")).empty());
}

TEST(Pickle, CodeIsRefusedByItsNameAndNotRun) {
  const TemporaryFolder folder;
  const std::string command = "touch " + (folder / "was-run").string();
  const auto call = [&](const std::string& module, const std::string& name) {
    return pickled_global(module, name) + pickled(command) + "\x85R";
  };
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"posix", "system"},
                                                        {"os", "system"},
                                                        {"subprocess", "Popen"},
                                                        {"builtins", "eval"},
                                                        {"builtins", "getattr"},
                                                        {"torch.storage", "_load_from_bytes"},
                                                        {"torch", "load"},
                                                        {"torch._utils", "_rebuild_tensor"},
                                                        {"torch", "FloatStorage.__reduce__"},
                                                        {"collections", "OrderedDict.fromkeys"},
                                                        {"collections.OrderedDict", ""},
                                                        {"torch.nn.modules.linear", "Linear"}}) {
    const std::string full = "\"" + module + "." + name + "\"";
    // At once, as a value of a dict, by way of the stack, and where it is only named.
    expect_unsupported(call(module, name), full);
    expect_unsupported(pickled_dict({{"a", pickled_tensor({})}, {"b", call(module, name)}}), full);
    expect_unsupported(pickled(module) + pickled(name) + "\x93" + pickled(command) + "\x85R", full);
    expect_unsupported(pickled_global(module, name), full);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "was-run"));
}

TEST(Pickle, InstructionsThatAStateDictDoesNotNeedAreRefused) {
  // i, o, \x81 and \x92 make objects of classes, \x82 to \x84 name what was registered, P names something outside,
  // 0, 1 and 2 move the stack, ] and a make lists, G is a float, C and B are bytes, \x97 is memory that is elsewhere.
  for (const std::string& instruction :
       std::vector<std::string>{"iposix\nsystem\n", "(o", "})\x81", "}})\x92", "\x82\x01", "P0\n", "}0", "]", "2",
                                "G12345678", "C\x01x", "I1\n", "S'x'\n", "\x97"}) {
    expect_unsupported(instruction, "which a state dict of tensors does not need");
  }
}

TEST(Pickle, CallsOfWhatIsAllowedAreOfOneForm) {
  const std::string rebuild = pickled_global("torch._utils", "_rebuild_tensor_v2");
  const std::string storage_class = pickled_global("torch", "FloatStorage");
  const std::string tensor = pickled_tensor({});
  expect_corrupt(pickled_global("collections", "OrderedDict") + pickled(1) + "\x85R", "OrderedDict arguments");
  expect_corrupt(storage_class + pickled(1000) + "\x85R", "calls what is no function");
  expect_corrupt(pickled("text") + ")R", "calls what is no function");
  expect_corrupt(rebuild + "}R", "calls what is no function");
  expect_corrupt(rebuild + ")R", "builds a tensor in another way");
  for (const std::string& argument : {pickled(0), pickled("0"), std::string("}"), std::string("N"), rebuild, tensor})
    expect_corrupt(rebuild + "((" + argument + "KKKKKKtR", "");
  expect_corrupt(pickled("storage") + "Q", "names a storage");
  expect_corrupt("(" + pickled("module") + storage_class + pickled("0") + pickled("cpu") + pickled(1) + "tQ",
                 "names a storage");
  expect_corrupt("(" + pickled("storage") + rebuild + pickled("0") + pickled("cpu") + pickled(1) + "tQ",
                 "names a storage");
  expect_corrupt(tensor + "}b", "attributes");
  expect_corrupt("}" + pickled("x") + "b", "attributes");
  expect_unsupported(pickled_tensor({.dims = {1, 1, 1, 1, 1}, .strides = {1, 1, 1, 1, 1}}), "5 dimensions");
  expect_unsupported(pickled_tensor({.storage_class = "BoolStorage"}), "\"torch.BoolStorage\"");
}

TEST(Pickle, MistakesOfTheStackAreCorrupt) {
  for (const std::string& instructions :
       std::vector<std::string>{"",  "}}", "s",   "}u", "u", "t", "\x85", "q\x01", "}h\x05", "}j" + little(7, 4),
                                "(", "}(", "})s", "(}", "R", "b", "Q",    "\x93",  "}\x93",  "))\x93"}) {
    expect_corrupt(instructions, "weights.pt: the pickle");
  }
  // What lies below a mark is out of reach.
  expect_corrupt("}" + pickled("a") + "(" + pickled_tensor({}) + "s", "more values than are on its stack");
  expect_corrupt("}(" + pickled("a") + "u", "a key without a value");
}

TEST(Pickle, OnlyADictOfTensorsIsAResult) {
  const std::string tensor = pickled_tensor({});
  expect_unsupported(tensor, "does not hold a dict");
  expect_unsupported("N", "does not hold a dict");
  expect_unsupported(pickled_dict({{"epoch", pickled(3)}}), "\"epoch\", which is no tensor");
  expect_unsupported(pickled_dict({{"model", pickled_dict({{"a", tensor}})}}), "\"model\", which is no tensor");
  expect_unsupported("}(" + pickled(0) + tensor + "u", "entry 0 without a name");
  expect_corrupt(pickled_dict({{"a", tensor}, {"a", tensor}}), "two entries are named \"a\"");
}

TEST(Pickle, OtherProtocolsAndOtherFilesAreRefused) {
  EXPECT_GRADUS_ERROR(read(""), corrupt, "not a pickle");
  EXPECT_GRADUS_ERROR(read("(dp0\n."), corrupt, "not a pickle");
  EXPECT_GRADUS_ERROR(read(std::string("\x80\x01}.", 4)), unsupported, "protocol 1");
  EXPECT_GRADUS_ERROR(read(std::string("\x80\x09}.", 4)), unsupported, "protocol 9");
  EXPECT_GRADUS_ERROR(read(pickled_program("}") + "}"), corrupt, "1 bytes follow");
  expect_corrupt("\x95" + little(1000, 8) + "}", "frame");
}

TEST(Pickle, EveryBeginningOfAPickleIsAnError) {
  const std::string pickle =
      pickled_program("\x95" + little(1, 8) + pickled_dict({{"a", pickled_tensor({})}, {"b", pickled_tensor({})}}));
  for (size_t n = 0; n < pickle.size(); ++n) EXPECT_GRADUS_ERROR(read(pickle.substr(0, n)), corrupt, "weights.pt");
}

TEST(Pickle, LengthsAreBelievedOnlyAsFarAsThereAreBytes) {
  expect_corrupt("X" + little(0xffffffff, 4) + "abc", "cut off");
  expect_corrupt("\x8a\xff" + std::string(255, '\x7f'), "more than 64 bits");
  EXPECT_TRUE(read(pickled_program("}r" + little(0xffffffff, 4))).empty());  // the place of a memo is no size
}

TEST(Pickle, MemoryHasABound) {
  expect_unsupported(std::string(200'000, ')'), "values on its stack");
  expect_unsupported(std::string(200'000, '('), "marks");
  std::string dicts = "}";
  for (int i = 0; i < 20; ++i) dicts += "(" + std::string(60'000, 'N') + "u";  // pairs that are no entries
  expect_unsupported(dicts, "more than 1000000 values");
  EXPECT_GRADUS_ERROR(read(std::string((16 << 20) + 1, '\x80')), unsupported, "over the limit");
}

}  // namespace
}  // namespace gradus
