// The tables and curves of the textbooks, computed again: what stands behind `gradus bench textbook`. One file per
// group of tables. Zhao = Shiyu Zhao, Mathematical Foundations of Reinforcement Learning (2025); S&B = Sutton & Barto,
// Reinforcement Learning: An Introduction, 2nd edition (2018).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/bench.h"

namespace gradus::bench {

// One printed number beside ours.
struct TextbookCell {
  std::string table;  // "Zhao 3.4a"
  std::string about;  // what the table shows, the same for all its cells
  std::string cell;   // "(1, 1)"
  double book = 0, ours = 0;
  double allowed = 0;       // the largest difference that passes: half a printed digit, or three standard errors
  std::string remark = "";  // why this cell may differ
  bool at_least = false;    // the book's number is a bound: ours may be greater by any amount
  bool passes() const;
};
using TextbookSink = std::function<void(const TextbookCell&)>;

// Each passes its cells to `sink`, table by table.
void textbook_dynamic_programming(const TextbookOptions& options, const TextbookSink& sink);  // Zhao, chapters 3, 5, 8
void textbook_control(const TextbookOptions& options, const TextbookSink& sink);              // Zhao, chapter 7
void textbook_prediction(const TextbookOptions& options, const TextbookSink& sink);  // Zhao 5, 6; S&B 6.2 and 7.2
void textbook_games(const TextbookOptions& options, const TextbookSink& sink);       // S&B 5 and 6, Gymnasium
void textbook_linear(const TextbookOptions& options, const TextbookSink& sink);      // Zhao 8, S&B 10
void textbook_networks(const TextbookOptions& options, const TextbookSink& sink);    // Zhao 8

}  // namespace gradus::bench
