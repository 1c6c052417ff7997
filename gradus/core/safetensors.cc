#include "gradus/core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "gradus/core/error.h"
#include "gradus/core/file.h"
#include "gradus/core/json.h"

namespace gradus {

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian and tensors are copied as they are");

namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr std::string_view kMetadata = "__metadata__";
constexpr int kHeaderDepth = 3;  // header, entry, shape

// One tensor of the header, already checked against the size of the data area.
struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin, end;  // bytes in the data area
};

std::optional<DType> find_dtype(std::string_view text) {
  for (DType d : {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
    if (safetensors_name(d) == text) return d;
  }
  return std::nullopt;
}

// Bytes of a tensor, or nothing when the product of its dimensions (zeros left out) is beyond 2^63.
std::optional<uint64_t> checked_bytes(std::span<const int64_t> dims, DType dtype) {
  int64_t product = static_cast<int64_t>(size_of(dtype));
  bool any_zero = false;
  for (int64_t d : dims) {
    if (d == 0) {
      any_zero = true;
    } else if (__builtin_mul_overflow(product, d, &product)) {
      return std::nullopt;
    }
  }
  return any_zero ? 0 : static_cast<uint64_t>(product);
}

class HeaderReader {
 public:
  HeaderReader(std::string_view origin, uint64_t data_bytes) : origin_(origin), data_bytes_(data_bytes) {}

  Entry entry(const std::string& name, const json& value) const {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      fail(ErrorCode::corrupt, "{}: tensor {} does not have exactly the fields dtype, shape, data_offsets", origin_,
           quote_text(name));
    }
    const DType type = dtype(name, value["dtype"]);
    const std::vector<int64_t> dims = naturals(name, "shape", value["shape"]);
    const std::vector<int64_t> offsets = naturals(name, "data_offsets", value["data_offsets"]);
    if (dims.size() > Shape::kMaxRank) {
      fail(ErrorCode::corrupt, "{}: tensor {} has {} dimensions, but at most {} can be read", origin_, quote_text(name),
           dims.size(), Shape::kMaxRank);
    }
    const std::optional<uint64_t> bytes = checked_bytes(dims, type);
    if (!bytes)
      fail(ErrorCode::corrupt, "{}: tensor {} has a shape of more than 2^63 bytes", origin_, quote_text(name));
    if (offsets.size() != 2 || offsets[0] > offsets[1] || static_cast<uint64_t>(offsets[1]) > data_bytes_) {
      fail(ErrorCode::corrupt, "{}: tensor {} has data_offsets that are not a range inside the {} bytes of data",
           origin_, quote_text(name), data_bytes_);
    }
    Entry e{name, type, Shape(dims), static_cast<uint64_t>(offsets[0]), static_cast<uint64_t>(offsets[1])};
    if (e.end - e.begin != *bytes) {
      fail(ErrorCode::corrupt, "{}: tensor {} has {} bytes of data, but {} {} takes {}", origin_, quote_text(name),
           e.end - e.begin, safetensors_name(type), to_string(e.shape), *bytes);
    }
    return e;
  }

  std::map<std::string, std::string> metadata(const json& value) const {
    std::map<std::string, std::string> out;
    if (!value.is_object()) fail(ErrorCode::corrupt, "{}: {} is not an object", origin_, kMetadata);
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail(ErrorCode::corrupt, "{}: {} {} is not a string", origin_, kMetadata, quote_text(key));
      out.emplace(key, text.get<std::string>());
    }
    return out;
  }

 private:
  DType dtype(const std::string& name, const json& value) const {
    if (!value.is_string())
      fail(ErrorCode::corrupt, "{}: tensor {} has a dtype that is not a string", origin_, quote_text(name));
    const auto& text = value.get_ref<const std::string&>();
    const std::optional<DType> found = find_dtype(text);
    if (!found) {
      fail(ErrorCode::corrupt, "{}: tensor {} has the dtype {}, but only F64, F32, BF16, F16, I64, I32, U8 can be read",
           origin_, quote_text(name), quote_text(text));
    }
    return *found;
  }

  std::vector<int64_t> naturals(const std::string& name, std::string_view field, const json& value) const {
    std::vector<int64_t> out;
    bool ok = value.is_array();
    for (std::size_t i = 0; ok && i < value.size(); ++i) {
      ok = value[i].is_number_unsigned() && value[i].get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
      if (ok) out.push_back(value[i].get<int64_t>());
    }
    if (!ok)
      fail(ErrorCode::corrupt, "{}: tensor {} has a {} that is not a list of whole numbers", origin_, quote_text(name),
           field);
    return out;
  }

  std::string_view origin_;
  uint64_t data_bytes_;
};

// The data area must be filled exactly: no byte in two tensors, none in no tensor.
void check_tiling(const std::vector<Entry>& sorted, uint64_t data_bytes, std::string_view origin) {
  uint64_t end = 0;
  for (const Entry& e : sorted) {
    if (e.begin < end) fail(ErrorCode::corrupt, "{}: tensor {} overlaps the one before it", origin, quote_text(e.name));
    if (e.begin > end) {
      fail(ErrorCode::corrupt, "{}: {} bytes before tensor {} belong to no tensor", origin, e.begin - end,
           quote_text(e.name));
    }
    end = e.end;
  }
  if (end != data_bytes)
    fail(ErrorCode::corrupt, "{}: {} bytes at the end belong to no tensor", origin, data_bytes - end);
}

std::string header_text(const std::vector<const std::pair<std::string, Tensor>*>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (const auto* named : tensors) {
    const auto& [name, tensor] = *named;
    require(name != kMetadata, "safetensors: a tensor must not be named {}", kMetadata);
    require(names.insert(name).second, "safetensors: two tensors are named {}", quote_text(name));
    require(tensor.defined() && tensor.device() == Device{},
            "safetensors: tensor {} is not a tensor in memory of the CPU", quote_text(name));
    std::vector<int64_t> dims;
    for (int i = 0; i < tensor.rank(); ++i) dims.push_back(tensor.dim(i));
    // push_back: ordered_json looks for an equal key from the start at each [], and uniqueness is already checked.
    header.get_ref<nlohmann::ordered_json::object_t&>().push_back(
        {name,
         {{"dtype", safetensors_name(tensor.dtype())},
          {"shape", dims},
          {"data_offsets", {offset, offset + tensor.bytes()}}}});
    offset += tensor.bytes();
  }
  try {
    std::string text = header.dump();
    text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
    require(text.size() <= kMaxHeaderBytes, "safetensors: a header of {} bytes is over the limit of {}", text.size(),
            kMaxHeaderBytes);
    return text;
  } catch (const json::type_error&) {
    fail(ErrorCode::invalid_argument, "safetensors: a tensor's name or a metadata text is not valid UTF-8");
  }
}

}  // namespace

const Tensor* SafetensorsFile::find(std::string_view name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const auto& named) { return named.first == name; });
  return it == tensors.end() ? nullptr : &it->second;
}

namespace {

struct Header {
  std::vector<Entry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // in the file
};

Header read_header(std::span<const std::byte> bytes, std::string_view origin) {
  if (bytes.size() < kLengthBytes) {
    fail(ErrorCode::corrupt, "{}: {} bytes are too few for a safetensors file", origin, bytes.size());
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const uint64_t after_length = bytes.size() - kLengthBytes;
  if (header_bytes > kMaxHeaderBytes) {
    fail(ErrorCode::corrupt, "{}: a header of {} bytes is over the limit of {}; is this a safetensors file?", origin,
         header_bytes, kMaxHeaderBytes);
  }
  if (header_bytes > after_length) {
    fail(ErrorCode::corrupt, "{}: truncated: the header has {} bytes, but {} are there", origin, header_bytes,
         after_length);
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  if (!text.starts_with('{'))
    fail(ErrorCode::corrupt, "{}: the header does not begin with {{; is this a safetensors file?", origin);
  const json document = parse_json(text, origin, kHeaderDepth);

  Header header;
  header.data_begin = kLengthBytes + header_bytes;
  const uint64_t data_bytes = bytes.size() - header.data_begin;
  const HeaderReader reader(origin, data_bytes);
  for (const auto& [name, value] : document.items()) {
    if (name == kMetadata) {
      header.metadata = reader.metadata(value);
    } else {
      header.entries.push_back(reader.entry(name, value));
    }
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_tiling(header.entries, data_bytes, origin);
  return header;
}

Tensor copy_of(const Entry& e, const std::byte* data) {
  Tensor t = Tensor::empty(e.shape, e.dtype);
  if (e.end > e.begin) std::memcpy(t.raw(), data, e.end - e.begin);
  return t;
}

}  // namespace

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view origin) {
  Header header = read_header(bytes, origin);
  SafetensorsFile out{.tensors = {}, .metadata = std::move(header.metadata)};
  for (Entry& e : header.entries) {
    Tensor t = copy_of(e, bytes.data() + header.data_begin + e.begin);
    out.tensors.emplace_back(std::move(e.name), std::move(t));
  }
  return out;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_safetensors(file.bytes(), path.string());
}

SafetensorsFile map_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  Header header = read_header(file->bytes(), path.string());
  SafetensorsFile out{.tensors = {}, .metadata = std::move(header.metadata)};
  for (Entry& e : header.entries) {
    std::byte* data = file->writable().data() + header.data_begin + e.begin;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % size_of(e.dtype) == 0;
    Tensor t = aligned ? Tensor::over(data, e.shape, e.dtype, file) : copy_of(e, data);
    out.tensors.emplace_back(std::move(e.name), std::move(t));
  }
  return out;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensors::value_type*> order;
  for (const auto& named : tensors) order.push_back(&named);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  const std::string header = header_text(order, metadata);
  const uint64_t header_bytes = header.size();
  write_file_atomically(path, [&](const Append& append) {
    append(&header_bytes, kLengthBytes);
    append(header.data(), header.size());
    for (const auto* named : order) append(named->second.raw(), named->second.bytes());
  });
}

}  // namespace gradus
