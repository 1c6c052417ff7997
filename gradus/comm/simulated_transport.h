// Ranks on a virtual clock: the schedules that run over memory and wires run here on a model of them, up to 1,024 ranks
// in one thread. Memory is address space that nobody touches. Nothing here measures anything; see simulation.h.
//
// The model. A message starts when both ranks have come to it and takes alpha + beta n. Between hosts it also occupies
// the NICs of both, which their ranks share, for beta n. The sender goes on when it has left, the receiver when it has
// arrived and was copied or reduced.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gradus/comm/schedule.h"
#include "gradus/comm/transport.h"

namespace gradus::comm {

// Seconds over bytes: straight lines between points, and the last one's slope beyond. Default: nothing costs anything.
class Curve {
 public:
  struct Point {
    size_t bytes;
    double seconds;
  };

  Curve() : Curve(0, 0) {}
  // fixed + bytes * per_byte
  Curve(double fixed_s, double s_per_byte) : pieces_{{0, fixed_s, s_per_byte}} {}
  // At least two points, of ascending bytes; below the first its seconds. Throws invalid_argument.
  explicit Curve(std::span<const Point> points);

  double operator()(size_t bytes) const {
    size_t i = pieces_.size() - 1;
    while (i > 0 && pieces_[i].bytes > bytes) --i;
    const Piece& p = pieces_[i];
    return p.seconds + static_cast<double>(bytes - p.bytes) * p.slope;
  }

 private:
  struct Piece {
    size_t bytes;
    double seconds, slope;
  };
  std::vector<Piece> pieces_;
};

// What a message costs, alpha + beta n: to a rank that sends in the same exchange, which may keep its processor or its
// link busy; and to one that only receives.
struct Link {
  Curve both_ways{}, one_way{};
};

// What the machines cost that the ranks run on.
struct NetworkModel {
  Link local{}, remote{};  // within a host, and between hosts
  // Of what arrives, nothing for 0 bytes: kappa n, where it is copied into the vector, which other ranks have read, or
  // aside into scratch, or by a rank that only receives; gamma n, where it is reduced. And combine: gamma n of what
  // arrived before, of one of two inputs.
  Curve copy{}, copy_aside{}, copy_one_way{}, reduce{}, combine{};
  double overlap = 0;          // the part of a message's time, 0 to 1, in which its bytes are copied or reduced already
  std::vector<int> host_of{};  // [P]; empty: one host
};

class SimulatedWorld {
 public:
  // element  bytes of what reductions count
  // Throws invalid_argument unless 1 <= size <= 1024 and the model fits.
  SimulatedWorld(int size, size_t element, NetworkModel model);
  ~SimulatedWorld();

  using Body = std::function<void(Transport& transport, Arithmetic& arithmetic)>;
  // body on all ranks at once, in this thread, from second 0 on; returns when the last one ended, in virtual seconds.
  //   aside  what counts as scratch, in the model's sense
  // Memory it names is never touched. Throws what a rank threw, after all others were aborted, and timeout
  // when ranks wait for messages that nobody sends.
  double run(const Body& body, std::span<const std::byte> aside = {});

  // Of the last run.
  const Traffic& traffic(int rank) const;
  uint64_t exchanges() const;

 private:
  struct State;
  friend class SimulatedTransport;
  friend class SimulatedArithmetic;
  size_t element_ = 0;
  std::unique_ptr<State> state_;
};

}  // namespace gradus::comm
