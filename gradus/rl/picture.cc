#include "gradus/rl/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>

namespace gradus::rl {

namespace {

using env::FiniteMdp;
using env::GridPicture;
using Cell = GridPicture::Cell;

int64_t best_action(const Table& Q, int64_t s) {
  return std::ranges::max_element(Q[s]) - Q[s].begin();
}

bool has_policy(const FiniteMdp& mdp, const Table& Q, int64_t s) {
  return Q.n_states() > 0 && s >= 0 && !mdp.is_terminal(s);
}

// As many decimals as tell the values apart.
int decimals_of(const std::vector<double>& V) {
  double largest = 0;
  for (const double v : V) largest = std::max(largest, std::abs(v));
  return largest >= 1000 ? 0 : largest >= 100 ? 1 : 2;
}

std::string grid_text(const FiniteMdp& mdp, const GridPicture& p, const std::vector<double>& V, const Table& Q) {
  const int decimals = decimals_of(V);
  std::string out;
  for (int64_t row = 0; row < p.rows; ++row) {
    std::string values, arrows;
    for (int64_t column = 0; column < p.columns; ++column) {
      const auto at = static_cast<size_t>(row * p.columns + column);
      const int32_t s = p.state_of[at];
      values += s < 0 ? fmt::format("{:>8}", "") : fmt::format("{:>8.{}f}", V[static_cast<size_t>(s)], decimals);
      const char cell = static_cast<char>(p.cells[at]);
      const bool shows_cell = p.cells[at] == Cell::wall || s < 0 || !has_policy(mdp, Q, s);
      std::string arrow = shows_cell ? std::string(1, cell) : p.arrows[static_cast<size_t>(best_action(Q, s))];
      // What is special about the cell stands behind its arrow.
      const bool marked = !shows_cell && p.cells[at] != Cell::plain;
      arrows += ' ' + arrow + (marked ? std::string(1, cell) : " ");
    }
    out += values + (Q.n_states() > 0 ? "    " + arrows : "") + '\n';
  }
  return out;
}

std::string list_text(const FiniteMdp& mdp, const std::vector<double>& V, const Table& Q) {
  constexpr int64_t kShown = 24;
  const int64_t n = mdp.n_states();
  size_t width = 0;
  for (int64_t s = 0; s < n; ++s) width = std::max(width, mdp.state_name(s).size());
  std::string out;
  for (int64_t s = 0; s < n; ++s) {
    if (n > kShown && s == kShown / 2) {
      out += fmt::format("  ... {} more ...\n", n - kShown);
      s = n - kShown / 2;
    }
    out += fmt::format("  {:<{}}  {:>9.4f}", mdp.state_name(s), width, V[static_cast<size_t>(s)]);
    if (has_policy(mdp, Q, s)) out += "  " + mdp.action_name(best_action(Q, s));
    out += '\n';
  }
  return out;
}

struct Colour {
  int red, green, blue;
};

// White for 0, blue for the best values and vermilion for the worst (Okabe and Ito, 2008), by sign and size.
Colour colour_of(double v, double largest) {
  const double share = largest > 0 ? std::min(1.0, std::abs(v) / largest) : 0;
  const Colour end = v >= 0 ? Colour{86, 180, 233} : Colour{233, 150, 110};
  const auto mix = [&](int c) { return static_cast<int>(std::lround(255 + share * (c - 255))); };
  return {mix(end.red), mix(end.green), mix(end.blue)};
}

class GridDrawing {
 public:
  GridDrawing(const FiniteMdp& mdp, const std::vector<double>& V, const Table& Q)
      : mdp_(mdp), p_(*mdp.picture()), V_(V), Q_(Q), decimals_(decimals_of(V)) {
    for (const double v : V) largest_ = std::max(largest_, std::abs(v));
  }

  std::string draw(const std::string& title) {
    const double width = 2 * kEdge + static_cast<double>(p_.columns) * kSize;
    const double height = 2 * kEdge + kTitle + static_cast<double>(p_.rows) * kSize;
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" "
        "font-family=\"system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif\">\n"
        "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" rx=\"8\" fill=\"#ffffff\"/>\n"
        "<text x=\"{3}\" y=\"{4}\" font-size=\"17\" font-weight=\"600\" fill=\"#1b1f24\">{2}</text>\n",
        width, height, title, kEdge, kEdge + 14);
    for (int64_t row = 0; row < p_.rows; ++row) {
      for (int64_t column = 0; column < p_.columns; ++column) cell(row, column);
    }
    path();
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  static constexpr double kEdge = 24, kTitle = 28, kSize = 72;

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  static double x_of(int64_t column) { return kEdge + static_cast<double>(column) * kSize; }
  static double y_of(int64_t row) { return kEdge + kTitle + static_cast<double>(row) * kSize; }

  void cell(int64_t row, int64_t column) {
    const auto at = static_cast<size_t>(row * p_.columns + column);
    const int32_t s = p_.state_of[at];
    const double x = x_of(column), y = y_of(row);
    const bool solid = s < 0 || p_.cells[at] == Cell::wall;
    const Colour c = solid ? Colour{90, 96, 104} : colour_of(V_[static_cast<size_t>(s)], largest_);
    add("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"rgb({},{},{})\" stroke=\"#d0d7de\"/>\n", x, y, kSize,
        kSize, c.red, c.green, c.blue);
    if (solid) return;
    if (p_.cells[at] == Cell::forbidden) frame(x, y, "#b35900", "5 3");
    if (p_.cells[at] == Cell::target) frame(x, y, "#0072b2", "none");
    if (p_.cells[at] == Cell::start) frame(x, y, "#009e73", "none");
    add("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"13\" fill=\"#1b1f24\">{:.{}f}</text>\n",
        x + kSize / 2, y + kSize - 10, V_[static_cast<size_t>(s)], decimals_);
    if (has_policy(mdp_, Q_, s)) arrow(x + kSize / 2, y + kSize / 2 - 8, best_action(Q_, s));
  }

  void frame(double x, double y, const char* colour, const char* dashes) {
    add("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\" "
        "stroke-dasharray=\"{}\"/>\n",
        x + 2.5, y + 2.5, kSize - 5, kSize - 5, colour, dashes);
  }

  void arrow(double x, double y, int64_t action) {
    const auto [right, down] = p_.directions[static_cast<size_t>(action)];
    const double length = std::hypot(right, down);
    if (length == 0) {
      add("<circle cx=\"{}\" cy=\"{}\" r=\"6\" fill=\"none\" stroke=\"#1b1f24\" stroke-width=\"2\"/>\n", x, y);
      return;
    }
    const double dx = right / length, dy = down / length;
    add("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}\" fill=\"none\" "
        "stroke=\"#1b1f24\" stroke-width=\"2\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\n",
        x - 13 * dx, y - 13 * dy, x + 13 * dx, y + 13 * dy, x + 5 * dx - 7 * dy, y + 5 * dy + 7 * dx, x + 13 * dx,
        y + 13 * dy, x + 5 * dx + 7 * dy, y + 5 * dy - 7 * dx);
  }

  // The way that the greedy policy goes, under the arrows' heads.
  void path() {
    if (Q_.n_states() == 0) return;
    std::string d;
    for (const int32_t s : greedy_path(mdp_, Q_)) {
      const auto at = std::ranges::find(p_.state_of, s) - p_.state_of.begin();
      if (at == p_.rows * p_.columns) continue;
      fmt::format_to(std::back_inserter(d), "{}{} {}", d.empty() ? 'M' : 'L', x_of(at % p_.columns) + kSize / 2,
                     y_of(at / p_.columns) + kSize / 2 - 8);
    }
    add("<path d=\"{}\" fill=\"none\" stroke=\"#009e73\" stroke-opacity=\"0.45\" stroke-width=\"7\" "
        "stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\n",
        d);
  }

  const FiniteMdp& mdp_;
  const GridPicture& p_;
  const std::vector<double>& V_;
  const Table& Q_;
  int decimals_;
  double largest_ = 0;
  std::string out_;
};

}  // namespace

std::string values_text(const FiniteMdp& mdp, const std::vector<double>& V, const Table& Q) {
  constexpr int64_t kWidest = 16;
  const auto& picture = mdp.picture();
  return picture && picture->columns <= kWidest ? grid_text(mdp, *picture, V, Q) : list_text(mdp, V, Q);
}

std::string values_svg(const FiniteMdp& mdp, const std::vector<double>& V, const Table& Q, const std::string& title) {
  return mdp.picture() ? GridDrawing(mdp, V, Q).draw(title) : "";
}

std::vector<int32_t> greedy_path(const FiniteMdp& mdp, const Table& Q, int64_t most) {
  std::vector<int32_t> path;
  std::set<int32_t> seen;
  auto s = static_cast<int32_t>(std::ranges::max_element(mdp.start()) - mdp.start().begin());
  while (static_cast<int64_t>(path.size()) < most) {
    path.push_back(s);
    if (!seen.insert(s).second || mdp.is_terminal(s)) break;
    const auto outcomes = mdp.outcomes(s, best_action(Q, s));
    const auto likeliest = std::ranges::max_element(outcomes, {}, &env::Outcome::probability);
    s = likeliest->next;
    if (likeliest->terminated) {
      path.push_back(s);
      break;
    }
  }
  return path;
}

}  // namespace gradus::rl
