// A matrix product by oneDNN alone, whatever its summation order: the peer that our own kernel is measured against. It
// is used at its best: weights in oneDNN's own layout, primitives made beforehand, one oneDNN thread for each of our
// pool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace gradus::bench {

struct ProductShape {
  int64_t m, n, k;
  bool transpose_a = false;  // A is stored [K, M]
  bool transpose_b = false;  // B is stored [N, K]

  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

class OnednnProduct {
 public:
  // For pool().size() threads. Throws unsupported when oneDNN cannot make it here.
  explicit OnednnProduct(const ProductShape& shape);
  ~OnednnProduct();

  void pack(const float* b);                 // B into oneDNN's layout
  void run(const float* a, float* c) const;  // C [m, n] = op(A) B, with the B of the last pack

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string onednn_version();  // "2.6.3"

}  // namespace gradus::bench
