#include "bench/textbook.h"

#include <cmath>

#include "bench/bench.h"

namespace gradus::bench {

bool TextbookCell::passes() const {
  return (at_least && ours >= book) || std::abs(ours - book) <= allowed;
}

bool textbook(const TextbookOptions& options, const Sink& sink) {
  bool all = true;
  const auto row = [&](const TextbookCell& c) {
    all = all && c.passes();
    sink({{"table", c.table},
          {"cell", c.cell},
          {"book", c.book},
          {"ours", c.ours},
          {"difference", c.ours - c.book},
          {"allowed", c.allowed},
          {"pass", c.passes()},
          {"about", c.about},
          {"remark", c.remark}});
  };
  textbook_dynamic_programming(options, row);
  textbook_control(options, row);
  textbook_prediction(options, row);
  textbook_games(options, row);
  textbook_linear(options, row);
  textbook_networks(options, row);
  return all;
}

}  // namespace gradus::bench
