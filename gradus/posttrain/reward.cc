#include "gradus/posttrain/reward.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

namespace gradus::posttrain {
namespace {

constexpr double kRelativeTolerance = 1e-6;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool all_digits(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), is_digit);
}

// Takes a leading sign away and says whether it was a minus.
bool take_sign(std::string_view& s) {
  const bool minus = s.starts_with('-');
  if (minus || s.starts_with('+')) s.remove_prefix(1);
  return minus;
}

// "1,234,567.5" -> "1234567.5"; nothing when the commas are not at every third digit before the point.
std::optional<std::string> without_commas(std::string_view s) {
  if (s.find(',') == std::string_view::npos) return std::string(s);
  std::string plain;
  std::string_view whole = s.substr(0, s.find('.'));
  const std::string_view fraction = s.substr(whole.size());
  for (bool first = true; !whole.empty(); first = false) {
    const std::string_view group = whole.substr(0, whole.find(','));
    const bool last = group.size() == whole.size();
    if (!all_digits(group) || (first ? group.size() > 3 || last : group.size() != 3)) return std::nullopt;
    plain += group;
    whole.remove_prefix(last ? group.size() : group.size() + 1);
    if (!last && whole.empty()) return std::nullopt;  // a comma at the end
  }
  return plain.append(fraction);
}

// A whole number as canonical digits ("-12"), of any size.
std::optional<std::string> parse_whole(std::string_view s) {
  const bool minus = take_sign(s);
  const auto digits = without_commas(s);
  if (!digits || !all_digits(*digits)) return std::nullopt;
  const size_t first = std::min(digits->find_first_not_of('0'), digits->size() - 1);
  const std::string canonical = digits->substr(first);
  return minus && canonical != "0" ? "-" + canonical : canonical;
}

// No sign here: from_chars would take "-", and also "inf" and "nan", which the first character rules out.
std::optional<double> parse_decimal(std::string_view s) {
  const bool minus = take_sign(s);
  const auto plain = without_commas(s);
  if (!plain || plain->empty() || !(is_digit(plain->front()) || plain->front() == '.')) return std::nullopt;
  double value = 0.0;
  const auto [end, error] = std::from_chars(plain->data(), plain->data() + plain->size(), value);
  if (error != std::errc{} || end != plain->data() + plain->size()) return std::nullopt;
  return minus ? -value : value;
}

}  // namespace

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::optional<double> parse_number(std::string_view text) {
  const std::string_view s = trim(text);
  const size_t slash = s.find('/');
  if (slash == std::string_view::npos) return parse_decimal(s);
  const std::string_view upper = trim(s.substr(0, slash));
  const std::string_view lower = trim(s.substr(slash + 1));
  if (!parse_whole(upper) || !parse_whole(lower)) return std::nullopt;
  const auto a = parse_decimal(upper);
  const auto b = parse_decimal(lower);
  if (!a || !b || *b == 0.0) return std::nullopt;
  return *a / *b;
}

bool answers_match(std::string_view given, std::string_view reference) {
  given = trim(given);
  reference = trim(reference);
  if (given == reference) return true;
  const auto whole_given = parse_whole(given);
  const auto whole_reference = parse_whole(reference);
  if (whole_given && whole_reference) return *whole_given == *whole_reference;
  const auto a = parse_number(given);
  const auto b = parse_number(reference);
  return a && b && std::abs(*a - *b) <= kRelativeTolerance * std::max(std::abs(*a), std::abs(*b));
}

std::optional<std::string_view> text_after_mark(std::string_view response, std::string_view mark) {
  if (mark.empty()) return response;
  const size_t last = response.rfind(mark);
  if (last == std::string_view::npos) return std::nullopt;
  return response.substr(last + mark.size());
}

}  // namespace gradus::posttrain
