// Built-in verdicts on the text of an answer: equal as text, or equal as numbers.
#pragma once

#include <optional>
#include <string_view>

namespace gradus::posttrain {

// Without spaces, tabs and line ends at both ends.
std::string_view trim(std::string_view text);

// A number that fills the whole text: 7  -7  +7  007  1,000 (groups of three)  0.5  .5  5.  1e-3  1/2 (whole numbers,
// the lower one not 0). Not: "", "7 apples", 0x7, inf, nan, 1,00. Nothing when it is none of these, or too large for a
// double.
std::optional<double> parse_number(std::string_view text);

// Equal after trimming, or both numbers and equal: two whole numbers digit by digit, whatever their size; others up to
// 1e-6 of the larger one.
bool answers_match(std::string_view given, std::string_view reference);

// What follows the last `mark`, not trimmed; all of it when the mark is empty; nothing when it is absent.
std::optional<std::string_view> text_after_mark(std::string_view response, std::string_view mark);

}  // namespace gradus::posttrain
