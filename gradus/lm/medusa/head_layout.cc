#include "gradus/lm/medusa/head_layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>

#include "gradus/core/error.h"
#include "gradus/core/json.h"
#include "gradus/lm/medusa/heads.h"

namespace gradus::lm {

namespace {

constexpr std::array<std::pair<HeadLayout, std::string_view>, 4> kNames = {{
    {HeadLayout::v1, "v1"},
    {HeadLayout::v2, "v2"},
    {HeadLayout::full_model, "full-model"},
    {HeadLayout::vllm, "vllm"},
}};
constexpr std::string_view kInModel = "medusa_head.", kVllmPrefix = "medusa_heads.";

// The place of the first character after "medusa_head." at the name's start or after a dot.
std::optional<size_t> end_of_prefix(std::string_view name) {
  for (size_t at = name.find(kInModel); at != name.npos; at = name.find(kInModel, at + 1)) {
    if (at == 0 || name[at - 1] == '.') return at + kInModel.size();
  }
  return std::nullopt;
}

std::vector<std::string_view> split(std::string_view name) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = std::min(name.find('.', begin), name.size());
    parts.push_back(name.substr(begin, end - begin));
    if (end == name.size()) return parts;
    begin = end + 1;
  }
}

// A number of a head or a layer: digits without a zero before them.
std::optional<int64_t> index_of(std::string_view text) {
  constexpr size_t kMaxDigits = 4;
  int64_t x = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), x);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || x < 0 || text.size() > kMaxDigits || (text.size() > 1 && text[0] == '0') || text[0] == '-')
    return std::nullopt;
  return x;
}

class Sorter {
 public:
  Sorter(bool one_output, std::string_view origin) : one_output_(one_output), origin_(origin) {}

  HeadTensors sort(const NamedTensors& tensors) {
    in_model_ = std::ranges::any_of(tensors, [](const auto& t) { return is_head_in_model(t.first); });
    for (const auto& [name, tensor] : tensors) {
      const auto begin = end_of_prefix(name);
      if (in_model_ && !begin) continue;  // the model's
      std::string_view bare = std::string_view(name).substr(begin.value_or(0));
      if (!in_model_ && bare.starts_with(kVllmPrefix)) bare.remove_prefix(kVllmPrefix.size());
      if (!place(bare, {name, tensor})) {
        fail(ErrorCode::corrupt,
             "{}: tensor {} belongs to no known layout of Medusa heads, such as 0.0.linear.weight or "
             "blocks.0.layers.0.weight; these are other heads, or another model's",
             origin_, quote_text(name));
      }
    }
    if (blocks_.empty() && outputs_.empty()) {
      fail(ErrorCode::not_found, "{}: no tensor of a Medusa head is there", origin_);
    }
    HeadTensors out;
    out.layout = is_vllm_           ? HeadLayout::vllm
                 : in_model_        ? HeadLayout::full_model
                 : outputs_.empty() ? HeadLayout::v2
                                    : HeadLayout::v1;
    count();
    for (int64_t h = 0; h < n_heads_; ++h) out.blocks.push_back(layers_of(h));
    check_biases(out);
    out.tokens = tokens();
    out.outputs = outputs();
    out.token_map = std::move(token_map_);
    return out;
  }

 private:
  using Block = HeadTensors::Block;
  struct Output {
    int64_t after;  // so many layers; vLLM's do not say
    HeadTensor tensor;
  };

  // False where the name is none of any layout, or of another than the names before.
  bool place(std::string_view bare, HeadTensor tensor) {
    const std::vector<std::string_view> p = split(bare);
    const auto number = [&](size_t i) { return i < p.size() ? index_of(p[i]) : std::nullopt; };
    const bool is_weight = p.back() == "weight", is_bias = p.back() == "bias";
    if (bare == "token_map") return put(token_map_, std::move(tensor));
    if (bare == "lm_head.weight" && !in_model_) return is_of(true) && put(output_of_all_, std::move(tensor));
    if (p.size() == 3 && p[0] == "lm_heads" && number(1) && is_weight)
      return is_of(true) && put(outputs_[*number(1)].tensor, std::move(tensor));
    if (p.size() == 5 && p[0] == "blocks" && number(1) && p[2] == "layers" && number(3) && (is_weight || is_bias)) {
      Block& block = blocks_[{*number(1), *number(3)}];
      return is_of(true) && put(is_bias ? block.bias : block.weight, std::move(tensor));
    }
    if (p.size() == 4 && number(0) && number(1) && p[2] == "linear" && (is_weight || is_bias)) {
      Block& block = blocks_[{*number(0), *number(1)}];
      return is_of(false) && put(is_bias ? block.bias : block.weight, std::move(tensor));
    }
    if (p.size() == 3 && number(0) && p[1] == "token" && is_weight)
      return is_of(false) && put(tokens_[*number(0)], std::move(tensor));
    if (p.size() == 3 && number(0) && number(1) && is_weight) {
      Output& output = outputs_[*number(0)];
      output.after = *number(1);
      return is_of(false) && put(output.tensor, std::move(tensor));
    }
    return false;
  }

  bool is_of(bool vllm) {
    if (!known_) is_vllm_ = vllm;
    known_ = true;
    return is_vllm_ == vllm;
  }

  bool put(HeadTensor& place, HeadTensor tensor) {
    if (place.values.defined()) {
      fail(ErrorCode::corrupt, "{}: tensors {} and {} have one place in the heads", origin_, quote_text(place.name),
           quote_text(tensor.name));
    }
    place = std::move(tensor);
    return true;
  }

  [[noreturn]] void missing(const std::string& name) const {
    fail(ErrorCode::corrupt, "{}: tensor {} is missing, though there are {} heads of {} layers", origin_, name,
         n_heads_, n_layers_);
  }

  std::string block_name(int64_t head, int64_t layer, std::string_view what) const {
    return is_vllm_ ? fmt::format("blocks.{}.layers.{}.{}", head, layer, what)
                    : fmt::format("{}.{}.linear.{}", head, layer, what);
  }
  std::string output_name(int64_t head) const {
    return is_vllm_ ? fmt::format("lm_heads.{}.weight", head) : fmt::format("{}.{}.weight", head, n_layers_);
  }

  void count() {
    for (const auto& [at, block] : blocks_) {
      n_heads_ = std::max(n_heads_, at.first + 1);
      n_layers_ = std::max(n_layers_, at.second + 1);
    }
    for (const auto& [head, output] : outputs_) n_heads_ = std::max(n_heads_, head + 1);
    if (!is_vllm_ && !outputs_.empty()) n_layers_ = outputs_.begin()->second.after;
    try {
      MedusaConfig{.heads = n_heads_, .layers = n_layers_}.check();
    } catch (const Error& e) {
      fail(ErrorCode::unsupported, "unsupported: {}: {}", origin_, e.what());
    }
    for (const auto& [at, block] : blocks_) {
      if (at.second >= n_layers_) left_over(block.weight.values.defined() ? block.weight : block.bias);
    }
  }

  [[noreturn]] void left_over(const HeadTensor& tensor) const {
    fail(ErrorCode::corrupt, "{}: tensor {} is left over beside {} heads of {} layers", origin_,
         quote_text(tensor.name), n_heads_, n_layers_);
  }

  std::vector<Block> layers_of(int64_t head) {
    std::vector<Block> layers;
    for (int64_t l = 0; l < n_layers_; ++l) {
      const auto found = blocks_.find({head, l});
      if (l > 0 && is_one_module()) {
        layers.push_back(layers.front());
        continue;
      }
      if (found == blocks_.end() || !found->second.weight.values.defined()) missing(block_name(head, l, "weight"));
      layers.push_back(found->second);
    }
    return layers;
  }

  // No head has more than its first layer.
  bool is_one_module() const {
    return std::ranges::all_of(blocks_, [](const auto& b) { return b.first.second == 0; });
  }

  void check_biases(const HeadTensors& heads) const {
    const bool all =
        !is_vllm_ || std::ranges::any_of(blocks_, [](const auto& b) { return b.second.bias.values.defined(); });
    if (!all) return;
    for (size_t h = 0; h < heads.blocks.size(); ++h) {
      for (size_t l = 0; l < heads.blocks[h].size(); ++l) {
        if (!heads.blocks[h][l].bias.values.defined())
          missing(block_name(static_cast<int64_t>(h), static_cast<int64_t>(l), "bias"));
      }
    }
  }

  std::vector<HeadTensor> tokens() {
    if (tokens_.empty()) return {};
    if (tokens_.rbegin()->first >= n_heads_) left_over(tokens_.rbegin()->second);
    std::vector<HeadTensor> out;
    for (int64_t h = 0; h < n_heads_; ++h) {
      const auto found = tokens_.find(h);
      if (found == tokens_.end()) missing(fmt::format("{}.token.weight", h));
      out.push_back(found->second);
    }
    return out;
  }

  std::vector<HeadTensor> outputs() {
    if (output_of_all_.values.defined()) {
      if (!outputs_.empty()) left_over(outputs_.begin()->second.tensor);
      return {output_of_all_};
    }
    if (outputs_.empty()) return {};
    if (is_vllm_ && one_output_) {
      if (outputs_.count(0) == 0) missing(output_name(0));
      if (outputs_.size() > 1) left_over(std::next(outputs_.begin())->second.tensor);
    }
    std::vector<HeadTensor> out;
    for (int64_t h = 0; h < (is_vllm_ && one_output_ ? 1 : n_heads_); ++h) {
      const auto found = outputs_.find(h);
      if (found == outputs_.end()) missing(output_name(h));
      if (!is_vllm_ && found->second.after != n_layers_) left_over(found->second.tensor);
      out.push_back(found->second.tensor);
    }
    return out;
  }

  bool one_output_;
  std::string_view origin_;
  bool in_model_ = false, known_ = false, is_vllm_ = false;
  int64_t n_heads_ = 0, n_layers_ = 0;
  std::map<std::pair<int64_t, int64_t>, Block> blocks_;  // [head, layer]
  std::map<int64_t, HeadTensor> tokens_;
  std::map<int64_t, Output> outputs_;
  HeadTensor output_of_all_, token_map_;
};

}  // namespace

std::string_view name(HeadLayout layout) {
  return kNames[static_cast<size_t>(layout)].second;
}

HeadLayout head_layout_from_name(std::string_view text) {
  for (const auto& [layout, layout_name] : kNames) {
    if (layout_name == text) return layout;
  }
  fail(ErrorCode::invalid_argument, "layout of heads: {} is none of v1, v2, full-model, vllm", quote_text(text));
}

bool is_head_in_model(std::string_view tensor_name) {
  return end_of_prefix(tensor_name).has_value();
}

HeadTensors sort_head_tensors(const NamedTensors& tensors, bool one_output, std::string_view origin) {
  return Sorter(one_output, origin).sort(tensors);
}

}  // namespace gradus::lm
