#include "gradus/core/pickle.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "gradus/core/error.h"
#include "gradus/core/json.h"

namespace gradus {

namespace {

constexpr size_t kMaxPickleBytes = size_t{16} << 20;  // a state dict of ten thousand tensors takes 1 or 2 MB
constexpr size_t kMaxValues = 1'000'000;
constexpr size_t kMaxStack = 100'000;  // Python's pickler has at most 1,000 entries of a dict there at once

using Id = uint32_t;  // of a value, its place in the machine's list

struct Value {
  enum class Kind : uint8_t { none, boolean, integer, text, tuple, dict, function, storage_class, storage, tensor };
  Kind kind = Kind::none;
  DType dtype = DType::f32;    // of a storage class
  int64_t number = 0;          // an integer; the place of a tensor in the machine's list of tensors
  std::string_view text = {};  // a text; a function's name
  std::vector<Id> items = {};  // of a tuple, of a dict (key, value, key, value ...), of a storage (its id's tuple)
};
using Kind = Value::Kind;

constexpr std::string_view kOrderedDict = "collections.OrderedDict", kRebuild = "torch._utils._rebuild_tensor_v2";

struct StorageClass {
  std::string_view name;
  DType dtype;
};
constexpr StorageClass kStorageClasses[] = {
    {"DoubleStorage", DType::f64}, {"FloatStorage", DType::f32}, {"BFloat16Storage", DType::bf16},
    {"HalfStorage", DType::f16},   {"LongStorage", DType::i64},  {"IntStorage", DType::i32},
    {"ByteStorage", DType::u8},
};

enum Op : uint8_t {
  kProto = 0x80,
  kFrame = 0x95,
  kStop = '.',
  kMark = '(',
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinUnicode = 'X',
  kShortBinUnicode = 0x8c,
  kEmptyTuple = ')',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTuple = 't',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kMemoize = 0x94,
  kBinGet = 'h',
  kLongBinGet = 'j',
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
};

class Machine {
 public:
  Machine(std::span<const std::byte> pickle, std::string_view origin)
      : pickle_(reinterpret_cast<const char*>(pickle.data()), pickle.size()), origin_(origin) {}

  std::vector<PickledTensor> run() {
    if (pickle_.size() > kMaxPickleBytes) {
      fail(ErrorCode::unsupported, "unsupported: {} has a pickle of {} bytes, over the limit of {}", origin_,
           pickle_.size(), kMaxPickleBytes);
    }
    if (pickle_.empty() || static_cast<uint8_t>(pickle_[0]) != kProto)
      fail(ErrorCode::corrupt, "{}: is not a pickle of protocol 2 or later", origin_);
    while (step(static_cast<uint8_t>(take(1)[0]))) {
    }
    if (at_ != pickle_.size())
      fail(ErrorCode::corrupt, "{}: {} bytes follow the pickle's end", origin_, pickle_.size() - at_);
    if (stack_.size() != 1 || !marks_.empty()) broken("ends with a stack that is not its result alone");
    return tensors_of(value(stack_.front()));
  }

 private:
  [[noreturn]] void broken(std::string_view fact) const {
    fail(ErrorCode::corrupt, "{}: the pickle {} (byte {})", origin_, fact, at_);
  }

  // The bytes.
  std::string_view take(size_t n) {
    if (n > pickle_.size() - at_) {
      fail(ErrorCode::corrupt, "{}: the pickle is cut off: {} bytes at byte {} are not all there", origin_, n, at_);
    }
    at_ += n;
    return pickle_.substr(at_ - n, n);
  }
  uint64_t number(size_t bytes) {
    uint64_t x = 0;
    const std::string_view field = take(bytes);
    for (size_t i = bytes; i-- > 0;) x = x << 8 | static_cast<uint8_t>(field[i]);
    return x;
  }
  std::string_view line() {
    const size_t end = pickle_.find('\n', at_);
    if (end == pickle_.npos) fail(ErrorCode::corrupt, "{}: the pickle is cut off in a name", origin_);
    const std::string_view text = take(end - at_);
    take(1);
    return text;
  }

  // The values and the stack. A mark hides what is below it.
  Value& value(Id id) { return values_[id]; }
  void push(Id id) {
    if (stack_.size() >= kMaxStack)
      fail(ErrorCode::unsupported, "unsupported: {} has a pickle with more than {} values on its stack", origin_,
           kMaxStack);
    stack_.push_back(id);
  }
  void push(Value v) {
    if (values_.size() >= kMaxValues) {
      fail(ErrorCode::unsupported, "unsupported: {} has a pickle of more than {} values", origin_, kMaxValues);
    }
    values_.push_back(std::move(v));
    push(static_cast<Id>(values_.size() - 1));
  }
  size_t height() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  Id pop() {
    if (height() == 0) broken("takes a value from an empty stack");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id top() const {
    if (height() == 0) broken("uses a value of an empty stack");
    return stack_.back();
  }
  std::vector<Id> pop_many(size_t n) {
    if (height() < n) broken("takes more values than are on its stack");
    std::vector<Id> out(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return out;
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) broken("takes values down to a mark that is not there");
    std::vector<Id> out = pop_many(height());
    marks_.pop_back();
    return out;
  }

  void push_tuple(std::vector<Id> items) { push({.kind = Kind::tuple, .items = std::move(items)}); }
  void push_integer(int64_t x) { push({.kind = Kind::integer, .number = x}); }
  void push_text(std::string_view text) { push({.kind = Kind::text, .text = text}); }

  // False at the end.
  bool step(uint8_t op) {
    switch (op) {
      case kProto:
        if (const uint64_t protocol = number(1); protocol < 2 || protocol > 5) {
          fail(ErrorCode::unsupported, "unsupported: {} has a pickle of protocol {}; 2 to 5 can be read", origin_,
               protocol);
        }
        return true;
      case kFrame:
        if (number(8) > pickle_.size() - at_) broken("has a frame that is longer than itself");
        return true;
      case kStop:
        return false;
      case kMark:
        if (marks_.size() >= kMaxStack)
          fail(ErrorCode::unsupported, "unsupported: {} has a pickle with more than {} marks", origin_, kMaxStack);
        marks_.push_back(stack_.size());
        return true;
      case kNone:
        push(Value{});
        return true;
      case kNewTrue:
      case kNewFalse:
        push({.kind = Kind::boolean, .number = op == kNewTrue});
        return true;
      case kBinInt:
        push_integer(static_cast<int32_t>(static_cast<uint32_t>(number(4))));
        return true;
      case kBinInt1:
        push_integer(static_cast<int64_t>(number(1)));
        return true;
      case kBinInt2:
        push_integer(static_cast<int64_t>(number(2)));
        return true;
      case kLong1:
        push_long(number(1));
        return true;
      case kBinUnicode:
        push_text(take(number(4)));
        return true;
      case kShortBinUnicode:
        push_text(take(number(1)));
        return true;
      case kEmptyTuple:
        push_tuple({});
        return true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push_tuple(pop_many(op - size_t{kTuple1} + 1));
        return true;
      case kTuple:
        push_tuple(pop_to_mark());
        return true;
      case kEmptyDict:
        push({.kind = Kind::dict});
        return true;
      case kSetItem:
        set_items(pop_many(2));
        return true;
      case kSetItems:
        set_items(pop_to_mark());
        return true;
      case kBinPut:
        memo_[number(1)] = top();
        return true;
      case kLongBinPut:
        memo_[number(4)] = top();
        return true;
      case kMemoize: {
        const size_t next = memo_.size();
        memo_[next] = top();
        return true;
      }
      case kBinGet:
        recall(number(1));
        return true;
      case kLongBinGet:
        recall(number(4));
        return true;
      case kGlobal: {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case kStackGlobal: {
        const std::string_view name = text_of(pop()), module = text_of(pop());
        push_global(module, name);
        return true;
      }
      case kReduce:
        reduce();
        return true;
      case kBuild:
        // A state dict's attributes (_metadata: the versions of modules) say nothing of its tensors.
        if (value(pop()).kind != Kind::dict || value(top()).kind != Kind::dict)
          broken("sets attributes of something that is no dict");
        return true;
      case kBinPersId:
        push_storage(pop());
        return true;
      default:
        fail(ErrorCode::unsupported,
             "unsupported: {} has the pickle instruction 0x{:02x} at byte {}, which a state dict of tensors does not "
             "need; nothing of it was run. Save the heads' state dict alone, or as safetensors",
             origin_, op, at_ - 1);
    }
  }

  // Two's complement, little-endian, as few bytes as it takes.
  void push_long(uint64_t bytes) {
    if (bytes > 8) broken("has a whole number of more than 64 bits");
    uint64_t x = number(bytes);
    if (bytes > 0 && bytes < 8 && (x >> (8 * bytes - 1)) != 0) x |= ~uint64_t{0} << (8 * bytes);
    push_integer(static_cast<int64_t>(x));
  }

  void recall(uint64_t key) {
    const auto it = memo_.find(key);
    if (it == memo_.end()) broken("recalls a value that it did not keep");
    push(it->second);
  }

  std::string_view text_of(Id id) {
    if (value(id).kind != Kind::text) broken("has something else where a text belongs");
    return value(id).text;
  }

  void push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    for (const std::string_view function : {kOrderedDict, kRebuild}) {
      if (full == function) return push({.kind = Kind::function, .text = function});
    }
    if (module == "torch") {
      for (const StorageClass& c : kStorageClasses) {
        if (name == c.name) return push({.kind = Kind::storage_class, .dtype = c.dtype});
      }
    }
    fail(ErrorCode::unsupported,
         "unsupported: {} has a pickle that asks for {}, which a state dict of tensors does not need and which may run "
         "code; nothing of it was run. Save the heads as safetensors where you trust them",
         origin_, quote_text(full));
  }

  void set_items(std::vector<Id> items) {
    Value& dict = value(top());
    if (dict.kind != Kind::dict) broken("sets items of something that is no dict");
    if (items.size() % 2 != 0) broken("has a key without a value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  // ("storage", class, key, device, numel)
  void push_storage(Id id) {
    const Value tuple = value(id);
    if (tuple.kind != Kind::tuple || tuple.items.size() != 5 || text_of(tuple.items[0]) != "storage" ||
        value(tuple.items[1]).kind != Kind::storage_class || value(tuple.items[2]).kind != Kind::text ||
        value(tuple.items[4]).kind != Kind::integer) {
      broken("names a storage in another way than torch does");
    }
    push({.kind = Kind::storage, .items = tuple.items});
  }

  void reduce() {
    const Value arguments = value(pop()), function = value(pop());
    if (function.kind != Kind::function || arguments.kind != Kind::tuple) broken("calls what is no function");
    if (function.text == kRebuild) return push_tensor(arguments.items);
    if (!arguments.items.empty()) broken("gives an OrderedDict arguments");
    push({.kind = Kind::dict});
  }

  // (storage, offset, sizes, strides, requires_grad, hooks), and perhaps metadata, which no plain tensor has.
  void push_tensor(const std::vector<Id>& a) {
    if (a.size() < 6 || a.size() > 7 || value(a[0]).kind != Kind::storage || value(a[1]).kind != Kind::integer ||
        value(a[2]).kind != Kind::tuple || value(a[3]).kind != Kind::tuple ||
        value(a[2]).items.size() != value(a[3]).items.size()) {
      broken("builds a tensor in another way than torch does");
    }
    const std::vector<Id>&storage = value(a[0]).items, &dims = value(a[2]).items, &strides = value(a[3]).items;
    PickledTensor t{.name = {},
                    .dtype = value(storage[1]).dtype,
                    .storage = value(storage[2]).text,
                    .storage_numel = value(storage[4]).number,
                    .offset = value(a[1]).number,
                    .rank = dims.size()};
    if (t.rank > PickledTensor::kMaxRank) {
      fail(ErrorCode::unsupported, "unsupported: {} has a tensor of {} dimensions; at most {} can be read", origin_,
           t.rank, PickledTensor::kMaxRank);
    }
    for (size_t i = 0; i < t.rank; ++i) {
      if (value(dims[i]).kind != Kind::integer || value(strides[i]).kind != Kind::integer)
        broken("has a size that is no whole number");
      t.dims[i] = value(dims[i]).number;
      t.strides[i] = value(strides[i]).number;
    }
    tensors_.push_back(std::move(t));
    push({.kind = Kind::tensor, .number = static_cast<int64_t>(tensors_.size()) - 1});
  }

  std::vector<PickledTensor> tensors_of(const Value& dict) {
    if (dict.kind != Kind::dict) {
      fail(ErrorCode::unsupported, "unsupported: {} does not hold a dict of tensors; save a state dict", origin_);
    }
    std::vector<PickledTensor> out;
    std::set<std::string_view> names;
    for (size_t i = 0; i < dict.items.size(); i += 2) {
      const Value &key = value(dict.items[i]), &entry = value(dict.items[i + 1]);
      if (key.kind != Kind::text || entry.kind != Kind::tensor) {
        fail(ErrorCode::unsupported, "unsupported: {} holds {}, which is no tensor; save a state dict alone", origin_,
             key.kind == Kind::text ? quote_text(key.text) : fmt::format("entry {} without a name", i / 2));
      }
      if (!names.insert(key.text).second)
        fail(ErrorCode::corrupt, "{}: two entries are named {}", origin_, quote_text(key.text));
      out.push_back(tensors_[static_cast<size_t>(entry.number)]);
      out.back().name = key.text;
    }
    return out;
  }

  std::string_view pickle_;
  std::string_view origin_;
  size_t at_ = 0;
  std::vector<Value> values_;
  std::vector<PickledTensor> tensors_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, Id> memo_;
};

}  // namespace

std::vector<PickledTensor> read_state_dict_pickle(std::span<const std::byte> pickle, std::string_view origin) {
  return Machine(pickle, origin).run();
}

}  // namespace gradus
